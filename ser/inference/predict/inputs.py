"""The inputs of predict: files, folders, wav.scp, cut manifests, tables, standard input, as one list of sources."""

from __future__ import annotations

import math
import os
import shutil
import sys
import tempfile
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ser.audio import AUDIO_SUFFIXES, Audio
from ser.common import InputError, check_regular
from ser.common.json_lines import read_json_lines
from ser.corpora.columns import COLUMNS
from ser.corpora.data_dir import (
    Line,
    command_of,
    read_segment,
    read_speaker,
    read_tables,
    recording_file,
    recording_line,
    run_command,
)
from ser.corpora.issues import Issue
from ser.corpora.table import existing_file, parse_segment, read_lines
from ser.corpora.utterance import files_below, is_hidden
from ser.inference.predict.sheets import SPEAKER_COLUMNS, TABLES, columns_named, read_rows

PIPES = "if you trust every command of the list, have them run with --allow-pipes true"
STDIN = "-"
LISTS = (".txt", ".lst", ".list")
MANIFESTS = (".jsonl", ".jsonl.gz")
SCRATCH_PREFIX = "ser-audio-"  # of temporary folders


@dataclass(frozen=True)
class Source:
    """A recording, or a segment of one.

    Attributes:
        id: of the prediction.
        path: the file; None: the audio comes from `audio` or `command`.
        start, end: seconds; end None: to the end of the file.
        channels: from 0, that the list names; they are mixed.
        side: of a call, if the list names that instead.
        num_channels: of the file, if the list has it.
        speaker: "" if none is named.
        command: writes the audio to its standard output, run by bash.
        folder: working directory of the command; None: the current one.
        audio: samples that are given.
        problem: why it cannot be read.
        left_out: whether it is a file of a folder that is no audio; `problem` is the reason.
        columns: of the row of a table that names it.
        path_column: the column of its path.
    """

    id: str
    path: Path | None = None
    start: float = 0.0
    end: float | None = None
    channels: tuple[int, ...] = ()
    side: Line | None = None
    num_channels: int | None = None
    speaker: str = ""
    command: str = ""
    folder: Path | None = None
    audio: Audio | None = None
    problem: str = ""
    left_out: bool = False
    columns: Mapping[str, Any] = field(default_factory=dict)
    path_column: str = ""


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder for audio from pipes."""
    with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX) as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", f".*{SCRATCH_PREFIX}.* gives no size")  # a pipe has no size
        yield Path(folder)


def sources_of(name: str, folder: Path, allow_pipes: bool = False, path_column: str | None = None) -> list[Source]:
    """The sources that an argument names, in their order.

    Args:
        name: an audio file, a folder, a wav.scp, a cut manifest, a table (.csv, .tsv, .xlsx), or "-".
        folder: of `scratch`, which must exist as long as the sources are used.
        allow_pipes: run the commands in lists.
        path_column: of a table; None: the one that `sheets.read_rows` finds.

    Raises:
        InputError: a list that cannot be read or is empty, or a folder without audio.
    """
    path = Path(name)
    if name == STDIN:
        if sys.stdin is None:
            raise InputError("standard input is closed", "input -", "send audio there, or give files")
        received = Path(tempfile.mkdtemp(dir=folder), "audio")  # most formats cannot be read from a stream
        with received.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        return [Source(STDIN, received)]
    if not name:
        raise InputError("an empty name", "input ''", "give a file, a folder or a list")
    if os.path.isfile(path / "wav.scp"):  # Path.is_file raises in a folder that cannot be entered
        return _kaldi(path / "wav.scp", allow_pipes)
    if os.path.isdir(path):
        return read_folder(path)
    if path.suffix == ".scp":
        return _kaldi(path, allow_pipes)
    if name.endswith(MANIFESTS):
        return list(_cuts(path, allow_pipes))
    if path.suffix.lower() in TABLES:
        return _table(path, path_column)
    if path.suffix.lower() in LISTS:
        what = "a list of files is a table (.csv, .tsv, .xlsx), whose first line is `path`, or a wav.scp"
        return [_file(path, f"{path}: {what}. Make it one")]
    return [_file(path)]


def _table(table: Path, path_column: str | None) -> list[Source]:
    """A source for each row, whose id is the path there, relative to the table or the working directory.

    Its speaker is that of the one column of speakers, if there is one; its segment and channel are those of the columns
    start, end (or duration) and channel.
    """
    column, rows, comma = read_rows(table, path_column)
    speakers = _cells(rows, SPEAKER_COLUMNS)
    segments = _segments(table, rows, comma)
    sources = []
    for number, (row, speaker, segment) in enumerate(zip(rows, speakers, segments, strict=True), 1):
        name = _text(row[column])
        if name:
            source = replace(_file(Path(name)), id=name)
            if not source.problem:
                near = existing_file(table.parent / name) or existing_file(table.parent / name.replace("\\", "/"))
                source = replace(source, path=near or source.path)
        else:
            source = Source(name, problem=f"{table}: {column} is empty in row {number} below the header")
        if not source.problem:
            source = replace(source, **segment)
        sources.append(replace(source, speaker=speaker, columns={**row, column: name}, path_column=column))
    return sources


def _segments(table: Path, rows: Sequence[Mapping[str, Any]], comma: bool) -> list[dict[str, Any]]:
    """Start, end and channels of the source of each row, or a problem.

    A column without any number of seconds (or of a channel, from 0) has another meaning and is not used, with a
    warning, and neither is a column with another name of a start or end.
    """
    others = {*COLUMNS["start"].split(), *COLUMNS["end"].split()} - {"start", "end"}
    unused = [
        column
        for column in columns_named(rows[0], others)
        if any(_text(row[column]) and not _issue({"start": _text(row[column])}, table, comma) for row in rows)
    ]
    if unused:
        fix = "if they are those of segments, in seconds, call them start and end"
        warnings.warn(f"{table}: {', '.join(unused)}: not used as times; {fix}", stacklevel=4)
    columns: dict[str, list[str]] = {}
    for name in ("start", "end", "duration", "channel"):
        cells = _cells(rows, (name,))
        issues = [_issue({"start": "", name: cell}, table, comma) for cell in cells if cell]
        if issues and all(issues):
            warnings.warn(f"{table}: the column {name} is not used ({issues[0]})", stacklevel=4)
        elif issues:
            columns[name] = cells
    segments: list[dict[str, Any]] = []
    for number in range(len(rows)):
        try:
            start, end, channel = parse_segment({n: cells[number] for n, cells in columns.items()}, str(table), comma)
        except Issue as issue:
            segments.append({"problem": f"{table}: row {number + 1} below the header: {issue.what}. Fix it"})
        else:
            segments.append({"start": start, "end": end, "channels": () if channel is None else (channel,)})
    return segments


def _issue(row: Mapping[str, str], table: Path, comma: bool) -> str:
    """Why a cell of a row is no number of seconds, or no channel; "": it is one."""
    try:
        parse_segment(row, str(table), comma)
    except Issue as issue:
        return issue.what if issue.kind == "table" else ""  # else an end that is not after the start
    return ""


def _cells(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """The cells of the one column with one of the names; empty ones where there is none, or several."""
    columns = columns_named(rows[0], names)
    return [_text(row[columns[0]]) if len(columns) == 1 else "" for row in rows]


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell).strip()


def _file(path: Path, problem: str = "") -> Source:
    """A file; its id is its name, which must be text to be written in the output."""
    try:
        name = os.fsencode(path).decode("utf-8")
    except UnicodeEncodeError:
        return Source(str(path), problem=f"{path}: {sys.getfilesystemencoding()} cannot name it. Set LC_ALL=C.UTF-8")
    except UnicodeDecodeError:
        name = os.fsencode(path).decode("utf-8", "backslashreplace")
        return Source(name, problem=f"{name}: its name is not UTF-8 text. Rename it, such as with `convmv`")
    return Source(name, existing_file(path) or path, problem=problem)


def read_folder(folder: Path) -> list[Source]:
    """All files below a folder; hidden files and those without a suffix of audio are left out, with the reason.

    Raises:
        InputError: no file is named as audio.
    """
    unreadable: list[Source] = []

    def on_error(error: OSError) -> None:
        path = Path(error.filename)
        unreadable.append(_file(path, f"{path}: folder cannot be read ({error.strerror}). Change its permissions"))

    sources = []
    for path in files_below(folder, on_error):
        reason = ""
        if is_hidden(path.relative_to(folder)):
            reason = "a hidden file (such as the ._ twins of macOS)"
        elif path.suffix.lower() not in AUDIO_SUFFIXES:
            reason = "not named as audio"
        source = _file(path)
        sources.append(replace(source, problem=f"{source.id}: left out: {reason}", left_out=True) if reason else source)
    if all(source.left_out for source in sources) and not unreadable:
        raise InputError("holds no audio files", folder, "give a folder that does")
    return sorted([*sources, *unreadable], key=lambda source: source.id)


def with_speakers(sources: Sequence[Source], utt2spk: Path) -> list[Source]:
    """Sources with the speakers of an utt2spk table, whose ids may be file names with spaces.

    Args:
        sources: that the table names by their ids.
        utt2spk: a table of lines `<file or id> <speaker>`.

    Raises:
        InputError: it cannot be read, names one of them twice, or none.
    """
    speakers: dict[str, Line] = {}
    for line, origin in read_lines(utt2spk):
        name, *speaker = line.rsplit(maxsplit=1)
        if not speaker:
            raise InputError(f"expected `<file or id> <speaker>`, found {line!r}", origin, "fix or remove the line")
        key = unicodedata.normalize("NFC", name)
        if key in speakers:
            raise InputError(f"{name} is in {speakers[key].origin} too", origin, "remove one of the lines")
        speakers[key] = Line(speaker[0], origin)
    lines = [speakers.get(unicodedata.normalize("NFC", source.id)) for source in sources]
    if not any(lines):
        raise InputError("names none of what is given; its lines must be `<file or id> <speaker>`", utt2spk)
    return [replace(s, speaker=found.value) if found else s for s, found in zip(sources, lines, strict=True)]


@contextmanager
def local_file(source: Source) -> Iterator[Path]:
    """The file of a source; that of a command is temporary. Errors in the block name the source.

    Raises:
        InputError: the command fails.
    """
    with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX) if source.command else nullcontext("") as folder:
        path = source.path or Path(folder, "audio")
        if source.command and (failure := run_command(source.command, path, source.folder)):
            raise InputError(failure, source.id, f"fix it: {source.command}")
        try:
            yield path
        except InputError as error:
            what, where = error.what, str(error.where)
            if SCRATCH_PREFIX in str(path):
                what, where = what.replace(str(path), source.id), where.replace(str(path), source.id)
            elif str(path) != source.id and where != source.id:
                where = f"{source.id}: {where}"
            raise InputError(what, where, error.fix) from None


def _kaldi(wav_scp: Path, allow_pipes: bool) -> list[Source]:
    """wav.scp, with segments, utt2spk and tables of channels in the same folder, as stage 1 reads them."""
    tables = read_tables(wav_scp, ["utt2spk"])
    recordings: dict[str, Source] = {}
    sources = []
    for key in tables["segments"] or tables["wav.scp"]:
        try:
            segment = read_segment(key, tables)
            if segment.recording not in recordings:
                line = recording_line(segment, tables)
                recordings[segment.recording] = _recording(segment.recording, line, wav_scp.parent, allow_pipes)
            sources.append(
                replace(
                    recordings[segment.recording],
                    id=key,
                    start=segment.start,
                    end=segment.end,
                    channels=() if segment.channel is None else (segment.channel,),
                    side=segment.side,
                    speaker=read_speaker(key, tables["utt2spk"][key]) if key in tables["utt2spk"] else "",
                )
            )
        except InputError as error:
            sources.append(Source(key, problem=f"{key}: {error}"))
    return sources


def _recording(key: str, line: Line, folder: Path, allow_pipes: bool) -> Source:
    if (command := command_of(line)) and not allow_pipes:
        return Source(key, problem=f"{line.origin}: {key}: a command ({command}). {PIPES}")
    if command:
        return Source(key, command=command, folder=folder)
    try:
        return Source(key, recording_file(line, folder))
    except InputError as error:
        return Source(key, problem=f"{key}: {error}")


def manifest_rows(path: Path) -> list[Any]:
    """The rows of a lhotse manifest (.jsonl, .jsonl.gz), read as plain JSON.

    Raises:
        InputError: it cannot be read, or is empty.
    """
    check_regular(path, "fix the path")
    rows: list[Any] = read_json_lines(path, lambda row: row, "JSON lines", "replace it by an intact copy")
    if not rows:
        raise InputError("holds no lines", path, "complete it")
    return rows


def _cuts(path: Path, allow_pipes: bool) -> Iterator[Source]:
    for number, row in enumerate(manifest_rows(path), 1):
        if not isinstance(row, dict) or not {"id", "start", "duration"} <= row.keys():
            raise InputError("no cut", f"{path}:{number}", "give a cut manifest (`lhotse cut simple` makes one)")
        key = str(row["id"])
        try:
            yield _cut(key, row, f"{path}:{number}", allow_pipes)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            problem = f"{path}:{number}: {key}: not a cut of a recording ({error!r}). Save its audio in files"
            yield Source(key, problem=problem)


def _cut(key: str, row: dict[str, Any], origin: str, allow_pipes: bool) -> Source:
    recording = row["recording"]
    others = {t["name"] for t in recording.get("transforms") or ()} - {"Resample"}
    if others:
        changes = ", ".join(sorted(others))
        return Source(key, problem=f"{origin}: {key}: changed by lhotse ({changes}); save its audio")
    start, duration = float(row["start"]), float(row["duration"])
    if not (math.isfinite(start + duration) and start >= 0 and duration > 0):
        return Source(key, problem=f"{origin}: {key}: starts at {start:g} s and lasts {duration:g} s. Fix the times")
    channels = row["channel"] if isinstance(row["channel"], list) else [row["channel"]]
    sources = [source for source in recording["sources"] if set(channels) & set(source["channels"])]
    if len(sources) != 1 or not set(channels) <= set(sources[0]["channels"]):
        where = "do not lie in one file of its recording"
        return Source(key, problem=f"{origin}: {key}: channels {channels} {where}. Give a cut of each file")
    source = sources[0]
    speakers = {str(s.get("speaker") or "") for s in row.get("supervisions") or ()}
    full = start == 0 and duration == recording["duration"]
    cut = Source(
        key,
        start=start,
        end=None if full else start + duration,
        channels=() if channels == source["channels"] else tuple(map(source["channels"].index, channels)),
        num_channels=len(source["channels"]),
        speaker=speakers.pop() if len(speakers) == 1 else "",
    )
    if source["type"] == "file":
        path = Path(source["source"])
        return replace(cut, path=existing_file(path) or path)
    if source["type"] == "command" and allow_pipes:
        return replace(cut, command=source["source"])
    what = PIPES if source["type"] == "command" else "save its audio in files"
    return replace(cut, problem=f"{origin}: {key}: a source of type {source['type']}; {what}")
