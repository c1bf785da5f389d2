"""The results of reading the files of a corpus, so that unchanged files are not read again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ser.common import InputError
from ser.common.json_lines import read_json_lines, write_json_lines
from ser.corpora.utterance import Utterance
from ser.corpora.validation import ValidatedUtterance

# The table, in data/<corpus>.
FILES = "files.jsonl.gz"
# To be raised when a change in how files are read makes the utterances differ.
VERSION = 1
# Fields of a ValidatedUtterance that a row holds after start, end and channel of its utterance.
FIELDS = [field.name for field in fields(ValidatedUtterance) if field.name != "utterance"]
TYPES = [str if name in ("audio_digest", "samples_digest") else int for name in FIELDS]


def write_known_files(folder: Path, items: Iterable[ValidatedUtterance]) -> None:
    """Write the table of a prepared corpus.

    Args:
        folder: data/<corpus>.
        items: utterances whose `version` was taken before their file was read.
    """
    rows: dict[str, dict[str, Any]] = {}
    for item in items:
        u = item.utterance
        path = u.real_path
        row = rows.setdefault(path, {"path": path, "version": [VERSION, *u.version], "items": []})
        row["items"].append([u.start, u.end, u.channel, *(getattr(item, name) for name in FIELDS)])
    write_json_lines(folder / FILES, rows.values())


def read_versions(folder: Path) -> dict[str, tuple[int, ...]]:
    """Path of each audio file -> its version when it was read; {} if the table is damaged or absent."""
    what = "the table of known files"
    try:
        return dict(read_json_lines(folder / FILES, lambda row: (str(row["path"]), tuple(row["version"][1:])), what))
    except InputError:
        return {}


def read_known_files(folder: Path, utterances: Sequence[Utterance]) -> dict[str, ValidatedUtterance]:
    """Read the table: utterance id -> utterance, for files that have not changed; {} if the table is damaged."""
    versions = {u.real_path: [VERSION, *u.version] for u in utterances}
    known: dict[tuple[Any, ...], dict[str, Any]] = {}

    def add(row: dict[str, Any]) -> None:
        if row["version"] == versions.get(row["path"]):
            for start, end, channel, *values in row["items"]:
                if [*map(type, values)] != TYPES:
                    raise TypeError(f"{row['path']}: {values}")
                known[row["path"], start, end, channel] = dict(zip(FIELDS, values, strict=True))

    try:
        read_json_lines(folder / FILES, add, "the table of known files")
    except InputError:
        return {}
    rows = {u.id: known.get((u.real_path, u.start, u.end, u.channel)) for u in utterances}
    return {u.id: ValidatedUtterance(u, **values) for u in utterances if (values := rows[u.id])}
