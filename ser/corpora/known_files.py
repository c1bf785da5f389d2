"""What the files of a corpus held when they were last read, so that those that have not changed are not read again."""

from __future__ import annotations

import gzip
import json
import os
import stat
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ser.common import atomic_path
from ser.corpora.items import ValidatedUtterance
from ser.corpora.utterance import Utterance

# Below data/<corpus>.
FILES = "files.jsonl.gz"
# Raise it when files are read in another way, so that utterances differ.
VERSION = 1
Version = tuple[int, int, int]
# Of a ValidatedUtterance, what a row holds beside start, end and channel of its utterance.
HELD = [field.name for field in fields(ValidatedUtterance) if field.name != "utterance"]
KINDS = [str if name in ("digest", "sound") else int for name in HELD]


def version_of(path: Path) -> Version:
    """Size and times of change; zeros for a link to nothing, which fails when it is read.

    The time of modification can be set, as by cp -p and rsync, to that of an earlier file; that of the inode cannot.
    """
    try:
        state = os.stat(path)
    except OSError:
        return 0, 0, 0
    return (state.st_size, state.st_mtime_ns, state.st_ctime_ns) if stat.S_ISREG(state.st_mode) else (0, 0, 0)


def write_known(folder: Path, items: Iterable[ValidatedUtterance], versions: Mapping[Path, Version]) -> None:
    """Write the table of a prepared corpus.

    Args:
        versions: of each file, from before it was read.
    """
    rows: dict[Path, list[list[Any]]] = {}
    for item in items:
        u = item.utterance
        found = [u.start, u.end, u.channel, *(getattr(item, name) for name in HELD)]
        rows.setdefault(u.real_path, []).append(found)
    with atomic_path(folder / FILES) as temporary, gzip.GzipFile(temporary, "wb", mtime=0) as file:
        for path, found in rows.items():
            row = {"path": str(path), "version": [VERSION, *versions[path]], "items": found}
            file.write(json.dumps(row).encode() + b"\n")


def read_known(
    folder: Path, utterances: Sequence[Utterance], versions: Mapping[Path, Version]
) -> dict[str, ValidatedUtterance]:
    """Utterance id -> what its file held, where the file has not changed; of a damaged table, nothing."""
    held: dict[tuple[Any, ...], dict[str, Any]] = {}
    try:
        with gzip.open(folder / FILES, "rt", encoding="utf-8") as file:
            for row in map(json.loads, file):
                if row["version"] == [VERSION, *versions.get(Path(row["path"]), ())]:
                    for start, end, channel, *values in row["items"]:
                        if [*map(type, values)] != KINDS:
                            raise TypeError(f"{row['path']}: {values}")
                        held[row["path"], start, end, channel] = dict(zip(HELD, values, strict=True))
    except (OSError, EOFError, ValueError, LookupError, TypeError, zlib.error):
        return {}
    found = {u.id: held.get((str(u.real_path), u.start, u.end, u.channel)) for u in utterances}
    return {u.id: ValidatedUtterance(u, **values) for u in utterances if (values := found[u.id])}
