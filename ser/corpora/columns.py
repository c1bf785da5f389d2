"""Recognise the columns of a user's table by name, in English, Portuguese, German, French, Spanish and Italian."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ser.common import InputError
from ser.corpora.table import column_key, parse_part, strip_accents

# Column of the preparer csv -> its names in tables.
COLUMNS = {
    "path": "path file filename file_name filepath file_path audio wav recording arquivo audio_arquivo datei dateiname "
    "fichier chemin archivo fichero ruta percorso audio_filepath",
    "speaker": "speaker speaker_id spk subject actor participant falante locutor orador sprecher sprecherin "
    "sprecher_id locuteur locutrice hablante parlante",
    "emotion": "emotion label class emotion_label emocao sentimento rotulo gefuhl gefuehl emotionen stimmung klasse "
    "emotion_annotee etiquette classe emocion etiqueta emozione etichetta",
    "gender": "gender sex genero sexo geschlecht genre sexe genere sesso",
    "text_id": "text_id text sentence sentence_id transcript frase texto satz transkript phrase texte testo",
    "start": "start start_time starttime start_offset begin begin_time begintime onset tmin xmin from inicio beginn "
    "anfang startzeit anfangszeit debut inizio",
    "end": "end end_time endtime end_offset stop stop_time stoptime tmax xmax to fim ende endzeit fin fine",
    "duration": "duration dur duracao dauer duree duracion durata",
    "channel": "channel canal kanal canale",
    "language": "language lang idioma lingua sprache langue lengua",
    "split": "split part subset partition particao teil aufteilung partie particion partizione",
}
NEEDED = ("path", "speaker", "emotion")
TIMES = ("start", "end", "duration")
# Units at the end of a column's name.
SECONDS = re.compile(r"_(in_)?(s|secs?|seconds?|ss_msec|sek|sekunden|seg|segundos|secondes?|secondi)$")
OTHER_UNIT = re.compile(r"(_|start|begin|end|stop|time|set)(ms|msecs?|milli\w*|mili\w*|samples?|frames?)$")
# Names of starts and ends. A duration without a start is that of the file.
TIME_NAME = re.compile(
    r"(^|_)(start|begin|onset|offset|time|tmin|tmax|endtime|endzeit|inicio|anfang|debut|inizio|zeit)"
    r"|(^|_)(end|ende|stop|fim|fin|fine)(_|$)|(end|stop)ms$"
)
TIME = re.compile(r"-?(\d+:){0,2}\d+([.,]\d*)?(e[+-]?\d+)?", re.IGNORECASE)


def recognise_columns(
    table: Path, header: Sequence[str], cells: Mapping[str, Sequence[str]], by_hand: Mapping[str, str]
) -> dict[str, str]:
    """Recognise the columns of a table.

    Args:
        table: file of the table, for messages.
        header: its columns.
        cells: column -> its cells.
        by_hand: column of the preparer csv -> name in the table, or "" if it has none, given by hand.

    Returns:
        Column of the preparer csv -> name in the table.

    Raises:
        InputError: columns are missing, or it is not certain which ones are the times.
    """
    keys = {name: _key(name) for name in header}
    timed = {name for name in header if any(TIME.fullmatch(cell) for cell in cells[name])}
    column_of = {column: name for column, name in by_hand.items() if name}
    whole_files = by_hand.get("start") == ""
    for column, names in COLUMNS.items():
        if column in by_hand or (whole_files and column in TIMES):
            continue
        words, is_time = {*names.split()}, column in TIMES
        matches = [
            name
            for name in header
            if name not in column_of.values()
            and words & {column_key(strip_accents(name)), keys[name], SECONDS.sub("", keys[name]) if is_time else ""}
            and (not is_time or name in timed or column_key(name) == column)
        ]
        if matches:
            column_of[column] = min(matches, key=lambda name: column_key(name) != column)
    offset = next(
        (name for name in header if name in timed - {*column_of.values()} and SECONDS.sub("", keys[name]) == "offset"),
        None,
    )
    for column, beside, without in (("end", "start", "duration"), ("start", "duration", "end")):
        if offset and beside in column_of and not {column, without} & {*column_of, *by_hand}:
            column_of[column], offset = offset, None
    split = column_of.get("split")
    if split and "split" not in by_hand and not any(map(parse_part, cells[split])):
        del column_of["split"]  # the column of that name means something else
    _check_needed(table, header, column_of, by_hand)
    _check_times(table, header, timed, column_of, by_hand)
    for name in header:
        column = column_key(name)
        used = name in column_of.values() or (column == "duration" and "start" not in column_of)
        if column in COLUMNS and not used:
            raise InputError(f"the column {name} is not used as {column}, but has its name", table, "rename it")
    if "start" not in column_of:
        column_of.pop("duration", None)
    return column_of


def _key(name: str) -> str:
    """Normalise a column's name: "Start (s)" and "startS" become start_s."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", strip_accents(name))
    return "_".join(re.findall(r"[a-z0-9]+", spaced.casefold()))


def _has_other_unit(name: str) -> bool:
    return OTHER_UNIT.search(SECONDS.sub("", _key(name))) is not None


def _check_needed(table: Path, header: Sequence[str], column_of: Mapping[str, str], by_hand: Mapping[str, str]) -> None:
    """Refuse columns given by hand that the table lacks, and needed columns that were not found."""
    problems = [
        f"--column {column}={name}: it has no such column"
        for column, name in by_hand.items()
        if name and name not in header
    ]
    needed = [column for column in NEEDED if column not in column_of]
    problems += [f"no column for {column} was found" for column in needed]
    if problems:
        fix = "name each: " + " ".join(f"--column {column}=..." for column in needed) if needed else "correct the name"
        raise InputError(f"{', '.join(problems)} (columns in its first line: {', '.join(header)})", table, fix)


def _check_times(
    table: Path, header: Sequence[str], timed: set[str], column_of: Mapping[str, str], by_hand: Mapping[str, str]
) -> None:
    """Refuse times in other units, and a table of which not both the starts and the ends are known."""
    divide = "divide these times in the table, so that they are in seconds"
    for column in TIMES:
        if column in column_of and _has_other_unit(column_of[column]):
            raise InputError(f"the column {column_of[column]} is not in seconds", table, divide)
    ends = {"end", "duration"}
    if "start" in column_of and not ends & {*column_of, *by_hand}:
        what = f"{column_of['start']} is the start, but no column for the end was found"
        fix = "give --column end=... or duration=..., or --column end= if utterances last to the end of the file"
        raise InputError(f"{what} (its columns: {', '.join(header)})", table, fix)
    unused = [
        name
        for name in header
        if name == column_of.get("end")
        or (name in timed and name not in column_of.values() and TIME_NAME.search(_key(name)))
    ]
    if unused and not {"start"} & {*column_of, *by_hand}:
        units = any(_has_other_unit(name) for name in unused)
        what = f"no column for the start of utterances was found, but times: {', '.join(unused)}"
        fix = (
            "give --column start=... and end=... or duration=..., or --column start= if each utterance is a whole file"
        )
        if named := [name for name in unused if column_key(name) in COLUMNS]:
            fix += f" (and rename the column {named[0]})"
        raise InputError(what, table, f"{divide}, and {fix}" if units else fix)
