"""Make a recipe from a user's own table: `ser init-corpus <name> <table>`.

Columns and labels are recognised by name, in English, Portuguese, German, French, Spanish and Italian.
"""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from ser.common import InputError, atomic_path, write_text
from ser.config.load import ROOT
from ser.corpora.check import check_corpus
from ser.corpora.columns import COLUMNS, recognise_columns
from ser.corpora.issues import Issues
from ser.corpora.preparers import load_preparer
from ser.corpora.protocol import PARTS, read_protocol
from ser.corpora.table import check_columns, column_key, is_missing, label_key, read_sheet, strip_accents

# Class -> its labels in tables.
LABELS = {
    "angry": "angry anger ang rage furious raiva irritado irritada zangado zangada furioso furiosa ira wut "
    "wutend wuetend arger aerger argerlich aergerlich verargert veraergert zorn zornig colere en_colere fache fachee "
    "furieux furieuse enfado enfadado enfadada enojo enojado enojada rabia rabbia arrabbiato arrabbiata",
    "happy": "happy happiness hap joy joyful feliz felicidade alegria alegre contente freude frohlich froehlich froh "
    "glucklich gluecklich joie joyeux joyeuse heureux heureuse felicidad contento contenta gioia felice felicita "
    "allegro allegra",
    "neutral": "neutral neu neutrality neutro neutra neutralidade neutre neutrale neutralidad",
    "sad": "sad sadness triste tristeza traurig traurigkeit trauer tristesse tristezza",
    "fearful": "fear fearful afraid scared medo assustado assustada angst angstlich aengstlich furcht peur "
    "apeure apeuree effraye effrayee miedo temor asustado asustada paura spaventato spaventata impaurito impaurita",
    "disgusted": "disgust disgusted nojo ekel angeekelt degout degoute degoutee asco repugnancia disgusto "
    "disgustato disgustata",
    "surprised": "surprise surprised surpresa surpreso uberraschung ueberraschung uberrascht ueberrascht surpris "
    "sorpresa sorprendido sorprendida sorpreso",
    "calm": "calm calmness calmo calma ruhig ruhe calme tranquilo tranquila tranquillo tranquilla",
    "bored": "bored boredom tedio entediado entediada langeweile gelangweilt ennui ennuye ennuyee aburrido aburrida "
    "aburrimiento noia annoiato annoiata",
}
# Variables of bash, of the programs that it starts and of the toolkit, which cannot name a table.
RESERVED = re.compile(
    r"BASH.*|COMP(_.*|REPLY)|HIST(CHAR.*|CMD|CONTROL|FILE.*|IGNORE|SIZE|TIMEFORMAT)|LC_.*|LD_.*|PYTHON.*|READLINE_.*|"
    "PS[0-9]|OPT(ARG|ERR|IND)|AUTO_RESUME|CDPATH|CHILD_MAX|COLUMNS|COPROC|DIRSTACK|EDITOR|EMACS|ENV|EPOCH(REALTIME|SECONDS)|"
    "EUID|EXECIGNORE|FCEDIT|FIGNORE|FUNCNAME|FUNCNEST|GLOBIGNORE|GROUPS|HOME|HOST(FILE|NAME|TYPE)|IFS|IGNOREEOF|INPUTRC|"
    "INSIDE_EMACS|LANG|LANGUAGE|LINENO|LINES|LOGNAME|MACHTYPE|MAIL(CHECK|PATH)?|MAPFILE|OLDPWD|OSTYPE|PAGER|PATH|"
    "PIPESTATUS|POSIXLY_CORRECT|PPID|PROMPT_.*|PWD|RANDOM|REPLY|SECONDS|SHELL|SHELLOPTS|SHLVL|SRANDOM|TEMP|TERM|"
    "TIMEFORMAT|TMOUT|TMP|TMPDIR|TZ|UID|USER|SER_(CLUSTER|ENV|MIRROR|ROOT|TERMINAL_FD)|JOB|(LOCAL_)?(RANK|WORLD_SIZE)|"
    "(CUDA|HF|MKL|NCCL|OMP|PIP|TORCH|XDG)_.*"
)
FEW = 10  # with fewer speakers, each is a fold of its own
RUN = """#!/usr/bin/env bash
# {name} alone, from {table}.
set -euo pipefail
recipe=$(dirname "$(readlink -f "${{BASH_SOURCE[0]}}")")
export {variable}=${{{variable}:-{quoted}}}

exec {toolkit}/run.sh --recipe "$recipe" --corpora {name} --preset pretrained "$@"
"""


@dataclass(frozen=True)
class Recognised:
    """The columns and labels that were recognised in a table.

    Attributes:
        columns: column of the preparer csv -> name in the table.
        others: other columns, which are copied to the manifests.
        labels: label as written -> class, or None if it is not known.
        counts: label -> number of rows.
        num_rows: of the table.
        num_speakers: of the table.
    """

    columns: dict[str, str]
    others: list[str]
    labels: dict[str, str | None]
    counts: Counter[str]
    num_rows: int
    num_speakers: int


def init_corpus(
    name: str,
    table: Path,
    out: Path | None = None,
    *,
    columns: Sequence[str] = (),
    labels: Sequence[str] = (),
    language: str = "und",
    force: bool = False,
) -> int:
    """Write a protocol and a recipe; print what was recognised, and everything that is wrong with the table.

    Args:
        name: of the corpus.
        table: CSV, TSV or Excel file.
        out: recipe folder; None: egs/<name>.
        columns: given by hand, such as "emotion=Gefühl", or "start=" if the table has none.
        labels: given by hand, such as "wütend=angry".
        language: code for the protocol, such as "de".
        force: replace an earlier recipe.

    Returns:
        Exit status: 1 if anything is wrong, else 0.

    Raises:
        InputError: no recipe can be made from the table.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError("a name of lower-case letters, digits and _, such as mine", name)
    if (ROOT / "conf" / "corpora" / f"{name}.yaml").is_file():
        raise InputError("the name of a corpus of the toolkit", name, "choose another name, such as my_" + name)
    _check_variable(name, table)
    recognised = recognise(table, _pairs("--column", columns), _pairs("--label", labels))
    out = out or ROOT / "egs" / name
    path = out / "conf" / "corpora" / f"{name}.yaml"
    if out.exists() and not force:
        raise InputError("there already", out, "choose another name or --out, or give --force to replace its protocol")
    write_text(path, _protocol(name, table, recognised, language))
    _write_run(out, name, table)
    print(_report(table, recognised), f"written: {path}, {out / 'run.sh'}", sep="\n")
    protocol = read_protocol(name, out)
    text, complete = check_corpus(load_preparer(protocol.preparer, out), protocol, table)
    print(text)
    script = shlex.quote(os.path.relpath(out / "run.sh"))
    if complete:
        print(f"Next: {script} --folds all")
        return 0
    print("Next: fix these and run the same command with --force. Files and lines that cannot be used can be left out:")
    print(f"{script} --folds all --allow-partial true")
    return 1


def _check_variable(name: str, table: Path) -> None:
    """Refuse a corpus whose variable, the name in upper case, has another value or meaning, which run.sh would take."""
    variable, fix = name.upper(), f"choose another name, such as my_{name}"
    if RESERVED.fullmatch(variable):
        raise InputError(f"names the variable {variable}, which has another meaning in run.sh", name, fix)
    value = os.environ.get(variable)
    if value and os.path.realpath(value) != os.path.realpath(table):
        what = f"names the variable {variable}, which is set to {value}, and run.sh would prepare that"
        raise InputError(what, name, f"{fix}, or unset {variable}")


def _pairs(option: str, values: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in values:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise InputError("expected two names with = between them", f"{option} {text}")
        pairs[key.strip()] = value.strip()
    return pairs


def recognise(table: Path, columns: Mapping[str, str], labels: Mapping[str, str]) -> Recognised:
    """Recognise the columns and labels of a table.

    Args:
        table: CSV, TSV or Excel file.
        columns: column of the preparer csv -> name in the table, or "" if it has none, given by hand.
        labels: label -> class, or "" to leave it out, given by hand.

    Raises:
        InputError: the table cannot be read, or its columns are not recognised.
    """
    header, rows, _ = read_sheet(table, Issues())  # the check reports its issues
    check_columns([column_key(name) for name in header], header, f"{table}:1")
    if unknown := [key for key in columns if key not in COLUMNS]:
        raise InputError(f"columns are {', '.join(COLUMNS)}", f"--column {unknown[0]}={columns[unknown[0]]}")
    cells = {name: [row[number] for row, _ in rows] for number, name in enumerate(header)}
    column_of = recognise_columns(table, header, cells, columns)
    by_hand = {label_key(label): name or None for label, name in labels.items()}
    written = cells[column_of["emotion"]]
    counts = Counter(label for label in written if label_key(label) in by_hand or not is_missing(label))
    if absent := [label for label in labels if label_key(label) not in map(label_key, counts)]:
        what = f"no such label in the column {column_of['emotion']}, which has {', '.join(counts) or 'none'}"
        raise InputError(what, f"--label {absent[0]}={labels[absent[0]]}")
    classes = {word: name for name, words in LABELS.items() for word in words.split()}
    mapped = {label: by_hand.get(label_key(label), classes.get(column_key(strip_accents(label)))) for label in counts}
    others = [h for h in header if h not in column_of.values()]
    speakers = {speaker for speaker in cells[column_of["speaker"]] if not is_missing(speaker)}
    return Recognised(column_of, others, mapped, counts, len(rows), len(speakers))


def _report(table: Path, recognised: Recognised) -> str:
    lines = [
        f"{table}: {recognised.num_rows} rows, {recognised.num_speakers} speakers",
        "  columns: " + ", ".join(f"{name} -> {column}" for column, name in recognised.columns.items()),
    ]
    segments = "a segment, in seconds" if "start" in recognised.columns else "a whole file"
    lines.append(f"  each utterance: {segments}")
    if recognised.others:
        lines.append(f"  kept as they are: {', '.join(recognised.others)}")
    known = [f"{label} ({recognised.counts[label]}) -> {name}" for label, name in recognised.labels.items() if name]
    lines.append(f"  labels: {', '.join(known) or 'none'}")
    unknown = [f"{label} ({recognised.counts[label]})" for label, name in recognised.labels.items() if name is None]
    if unknown:
        lines.append(f"  left out, for their class is not known: {', '.join(unknown)}; fix: --label <label>=<class>")
    return "\n".join(lines)


def _protocol(name: str, table: Path, recognised: Recognised, language: str) -> str:
    classes = sorted({c for c in recognised.labels.values() if c is not None})
    if len(classes) < 2:
        labels = f"the column {recognised.columns['emotion']} has {', '.join(recognised.counts) or 'none'}"
        what = f"labels of {len(classes)} classes were recognised, and two are needed; {labels}"
        raise InputError(what, table, "give --label <label>=<class>, or --column emotion=...")
    if "split" in recognised.columns:
        splits: dict[str, object] = {"strict": {"given": True}}
    elif recognised.num_speakers < 3:
        what = f"{recognised.num_speakers} speakers; to train, validate and test on other speakers takes three"
        fix = f"add a column `split` with {', '.join(PARTS)} to divide the utterances by hand"
        raise InputError(what, table, fix)
    else:
        splits = {"strict": {"groups": "speakers" if recognised.num_speakers < FEW else 5}}
    values = {
        "name": name,
        "description": f"Utterances that {table.name} lists.",
        "licence": "yours",
        "citation": "none",
        "source": f"a table with the columns {', '.join(recognised.columns.values())}",
        "language": language,
        "preparer": "csv",
        "columns": recognised.columns,
        "classes": classes,
        "labels": dict(recognised.labels),
        "drop": {},
        "expected": {"utterances": recognised.num_rows, "speakers": recognised.num_speakers},
        "splits": splits,
    }
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)


def _write_run(out: Path, name: str, table: Path) -> None:
    in_toolkit = out.resolve().is_relative_to(ROOT.resolve())
    relative_root = os.path.relpath(ROOT, out.resolve())
    text = RUN.format(
        name=name,
        table=table.name,
        variable=name.upper(),
        quoted=shlex.quote(os.path.abspath(table)),
        toolkit=f'"$recipe/{relative_root}"' if in_toolkit else shlex.quote(str(ROOT.resolve())),
    )
    with atomic_path(out / "run.sh") as temporary:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o755)
