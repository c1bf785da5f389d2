"""What the files of a corpus held when they were last read, so that those that have not changed are not read again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ser.common import InputError
from ser.common.json_lines import read_json_lines, write_json_lines
from ser.corpora.items import ValidatedUtterance
from ser.corpora.utterance import Utterance

# Below data/<corpus>.
FILES = "files.jsonl.gz"
# Raise it when files are read in another way, so that utterances differ.
VERSION = 1
# Of a ValidatedUtterance, what a row holds beside start, end and channel of its utterance.
HELD = [field.name for field in fields(ValidatedUtterance) if field.name != "utterance"]
KINDS = [str if name in ("digest", "sound") else int for name in HELD]


def write_known(folder: Path, items: Iterable[ValidatedUtterance]) -> None:
    """Write the table of a prepared corpus.

    Args:
        folder: data/<corpus>.
        items: whose files were looked at before they were read.
    """
    rows: dict[str, dict[str, Any]] = {}
    for item in items:
        u = item.utterance
        path = str(u.real_path)
        row = rows.setdefault(path, {"path": path, "version": [VERSION, *u.version], "items": []})
        row["items"].append([u.start, u.end, u.channel, *(getattr(item, name) for name in HELD)])
    write_json_lines(folder / FILES, rows.values())


def read_known(folder: Path, utterances: Sequence[Utterance]) -> dict[str, ValidatedUtterance]:
    """Utterance id -> what its file held, where the file has not changed; of a damaged table, nothing."""
    versions = {str(u.real_path): [VERSION, *u.version] for u in utterances}
    held: dict[tuple[Any, ...], dict[str, Any]] = {}

    def hold(row: dict[str, Any]) -> None:
        if row["version"] == versions.get(row["path"]):
            for start, end, channel, *values in row["items"]:
                if [*map(type, values)] != KINDS:
                    raise TypeError(f"{row['path']}: {values}")
                held[row["path"], start, end, channel] = dict(zip(HELD, values, strict=True))

    try:
        read_json_lines(folder / FILES, hold, "the table of known files")
    except InputError:
        return {}
    found = {u.id: held.get((str(u.real_path), u.start, u.end, u.channel)) for u in utterances}
    return {u.id: ValidatedUtterance(u, **values) for u in utterances if (values := found[u.id])}
