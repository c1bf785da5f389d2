"""Any corpus listed in a CSV, TSV or Excel file: a line of column names, then a line for each utterance.

    path,speaker,emotion,start,end,channel,split
    calls/0001.wav,ana,raiva,12.5,17.25,0,train

Required columns: path (relative to the folder of the table, or absolute), speaker, emotion. Optional columns: start,
and end or duration (seconds; empty or -1: to the end of the file), channel (from 0), split (train, valid, test; dev and
validation are valid), text_id, gender (f, m, or such words as woman, weiblich, homme), language, id. Other columns are
copied to the manifests. Column names may have any case, and `columns` of the protocol maps others, such as {emotion:
Gefühl}. Cells such as #N/A, nan, NULL and None are empty; they are errors for times, and an emotion if the protocol has
it. The separator is comma, semicolon or tab; the encoding is UTF-8.

The protocol maps emotions to classes and defines the splits: conf/corpora/customer_ptbr.yaml, or your own with
`preparer: csv`. Its variable (CUSTOMER_PTBR) names the table, or the folder that holds it. `ser init-corpus` writes
protocol and recipe of a table.

Speakers become <corpus>_<speaker>, and utterances <corpus>_<speaker>-<file name or id>. Without a column id, a segment
adds -<start>-<end> in milliseconds, and a channel adds -<channel>.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ser.common import InputError, did_you_mean
from ser.corpora import Protocol, Utterance
from ser.corpora.issues import RAISE_ALL, Issue, Issues
from ser.corpora.protocol import PARTS
from ser.corpora.table import (
    Genders,
    Names,
    check_columns,
    column_key,
    find_file,
    find_label,
    has_label,
    is_missing,
    parse_part,
    parse_segment,
    read_sheet,
)

NEEDED = ("path", "speaker", "emotion")
OPTIONAL = ("start", "end", "split", "text_id", "channel", "gender", "language", "id")
KNOWN = {*NEEDED, *OPTIONAL}
TEXTS = {"split", "text_id", "gender", "language", "id"}
Row = dict[str, str]


def utterances(corpus_dir: Path, protocol: Protocol, issues: Issues = RAISE_ALL) -> Iterator[Utterance]:
    """Yield an utterance for every line of the table.

    Args:
        corpus_dir: the table, or a folder that holds one.
        protocol: gives the corpus's name, labels and columns.
        issues: gets lines that are left out.

    Raises:
        InputError: the table is not valid; file and line are named.
    """
    table = _table(corpus_dir)
    names = Names(protocol.corpus)
    rows, comma = _rows(table, protocol.columns, issues)
    genders = Genders(row.get("gender", "") for row, _ in rows)
    listed: dict[str, Utterance] = {}
    folder = table.parent
    for row, origin in rows:
        try:
            utterance = _utterance(folder, row, origin, names, genders, protocol, comma)
            other = listed.setdefault(utterance.id, utterance)
            if other is not utterance:
                what = f"the same utterance as {other.origin} ({utterance.id})"
                fix = "remove a line, or give them an id each in a column `id`"
                raise Issue("one id, two lines", what, origin, fix)
        except Issue as issue:
            issues.add(issue)
    names.warn(table)
    genders.warn(table)
    segmented = any(u.start or u.end is not None or u.channel is not None for u in listed.values())
    recordings = _recordings(names, listed.values()) if segmented else {}
    for utterance in listed.values():
        yield replace(utterance, recording=recordings[utterance.path.resolve()]) if segmented else utterance


def _table(corpus_dir: Path) -> Path:
    if not corpus_dir.is_dir():
        return corpus_dir
    tables = sorted(
        path
        for path in corpus_dir.iterdir()
        if path.suffix.lower() in (".csv", ".tsv", ".xlsx") and path.is_file() and not path.name.startswith(".")
    )
    if not tables and (corpus_dir / "wav.scp").is_file():
        raise InputError("a Kaldi data dir; it needs a protocol with `preparer: kaldi`", corpus_dir)
    if len(tables) != 1:
        names = f"{len(tables)} of them ({', '.join(path.name for path in tables)})" if tables else "none"
        raise InputError(f"must hold one .csv, .tsv or .xlsx file, and holds {names}", corpus_dir, "give the file")
    return tables[0]


def _rows(table: Path, columns: Mapping[str, str], issues: Issues) -> tuple[list[tuple[Row, str]], bool]:
    """Read the rows of a table.

    Args:
        columns: the toolkit's name of a column -> the name in the table, where they differ.

    Returns:
        Rows by column, each with its "<file>:<line>", and whether numbers may have a decimal comma.
    """
    header, rows, comma = read_sheet(table, issues)
    names = _columns(header, f"{table}:1", columns)
    if not rows:
        what = "has no lines below the column names"
        issues.add(Issue("table", what, table, "list the utterances"))
    return [(dict(zip(names, fields, strict=True)), origin) for fields, origin in rows], comma


def _columns(fields: list[str], origin: str, mapped: Mapping[str, str]) -> list[str]:
    column_of = {name: column for column, name in mapped.items()}
    columns = [column_of.get(field, column_key(field)) for field in fields]
    for column, name in mapped.items():
        if name not in fields:
            raise InputError(f"column {name} is missing, which the protocol takes for {column}", origin)
    check_columns(columns, fields, origin)
    for name in NEEDED:
        if name not in columns:
            hint = did_you_mean(name, columns, " (", "?)", cutoff=0.6)
            what = f"column {name} is missing{hint}; the first line names the columns, here {', '.join(fields)}"
            raise InputError(what, origin)
    return columns


def _utterance(
    folder: Path, row: Row, origin: str, names: Names, genders: Genders, protocol: Protocol, comma: bool
) -> Utterance:
    for name in NEEDED:
        if is_missing(row[name]) and not (name == "emotion" and has_label(protocol, row[name])):
            what = f"{name} is empty{row[name] and f' ({row[name]})'}"
            raise Issue("table", what, origin, "fill it in, or remove the line")
    row = {name: "" if name in TEXTS and is_missing(value) else value for name, value in row.items()}
    given = folder / row["path"]
    of_windows = [folder / row["path"].replace("\\", "/")] if "\\" in row["path"] else []
    path = find_file([given, *of_windows], given, origin)
    start, end, channel = parse_segment(row, origin, comma)
    split = parse_part(row["split"]) if row.get("split") else ""
    if split is None:
        raise Issue("table", f"split {row['split']!r}: one of {', '.join(PARTS)}, or empty", origin)
    speaker = names.speaker(row["speaker"], origin)
    key = names.clean_id(row.get("id") or path.stem).removeprefix(f"{speaker}-")
    if not row.get("id"):
        if start or end is not None:
            last = "end" if end is None else f"{round(end * 1000):06d}"
            key += f"-{round(start * 1000):06d}-{last}"
        if channel is not None:
            key += f"-{channel}"
    return Utterance(
        id=f"{speaker}-{key}",
        path=path,
        speaker=speaker,
        label=find_label(protocol, row["emotion"], origin),
        gender=genders.parse(row.get("gender", "")),
        text_id=names.prefixed(" ".join(row.get("text_id", "").split())),
        custom={name: value for name, value in row.items() if value and name not in KNOWN},
        start=start,
        end=end,
        channel=channel,
        origin=origin,
        language=" ".join(row.get("language", "").split()),
        split=split,
    )


def _recordings(names: Names, listed: Iterable[Utterance]) -> dict[Path, str]:
    """Make an id for each file: its name, with its folders if the names alone are not unique."""
    paths = sorted({u.path.resolve() for u in listed})
    ids = [names.clean_id(path.stem) for path in paths]
    if len(set(ids)) < len(ids):
        ids = [names.clean_id(str(path.relative_to(os.path.commonpath(paths)))) for path in paths]
    return {path: names.prefixed(name) for path, name in zip(paths, ids, strict=True)}
