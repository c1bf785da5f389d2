"""What is in a feature store: listed, checked, and what is unused removed."""

from __future__ import annotations

import os
import re
import shutil
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ser.common import InputError
from ser.common.progress import progress
from ser.corpora.kaldi import read_table
from ser.features.index import bucket_lock, read_index

KEY = re.compile(r"[0-9a-f]{16}")  # of a set
BLOCK = 1 << 20  # bytes read at once
DAY = 86400  # seconds


def archives_of(dump: Path) -> list[Path]:
    """Every .ark of the store.

    Raises:
        InputError: it is no store.
    """
    found = sorted(dump.glob("*/archives/*/feats.*.ark"))
    if not found:
        what = "holds no features" if dump.is_dir() else "no such folder"
        raise InputError(what, dump, "give with --dump the one that run.sh has, or run stage 3")
    return found


def listed_archives(dump: Path) -> str:
    """A table of the archives by corpus and settings."""
    from tabulate import tabulate

    folders: dict[Path, list[Path]] = {}
    for archive in archives_of(dump):
        if archive.with_suffix(".json").is_file():
            folders.setdefault(archive.parent, []).append(archive)
    rows = []
    for folder, archives in folders.items():
        indexes = [read_index(archive.with_suffix(".json")) for archive in archives]
        entries = [entry for index in indexes for entry in index.entries.values()]
        copies = sum(entry.is_copy for entry in entries)
        sizes = [path.stat().st_size for path in archives]
        rows.append(
            {
                "corpus": folder.relative_to(dump).parts[0],
                "settings": folder.name,
                "": _in_words(indexes[0].features),
                "archives": len(archives),
                "originals": len(entries) - copies,
                "copies": copies,
                "MB": round(sum(sizes) / 1e6, 1),
                "made": _date(max(path.stat().st_mtime for path in archives)),
                "used": _date(max(map(_last_used, archives))),
            }
        )
    return str(tabulate([list(row.values()) for row in rows], list(rows[0])))


def _in_words(features: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in features.items() if key != "version")


def _date(seconds: float) -> str:
    return time.strftime("%F %H:%M", time.localtime(seconds))


def _last_used(path: Path) -> float:
    """When a file was written; of an archive, when stage 3 last found it of use."""
    return max(p.stat().st_mtime for p in (path, path.with_suffix(".json")) if p.exists())


def verify_archives(dump: Path) -> tuple[list[str], int]:
    """Compare every archive with its checksum; remove what is damaged, with its index.

    What is being written has no index, and is not looked at.

    Returns:
        What was damaged and how, and how many archives there were.
    """
    damaged = []
    archives_of(dump)
    indexes = sorted(dump.glob("*/archives/*/feats.*.json"))
    for path in progress(indexes, text="checksums", unit="archive"):
        if not _damage(path):
            continue
        with bucket_lock(path):
            what = _damage(path)  # another process may have made it again meanwhile
            if what:
                damaged.append(f"{path.with_suffix('.ark')}: {what}")
                _remove_archive(path.with_suffix(".ark"))
    return damaged, len(indexes)


def _damage(path: Path) -> str:
    try:
        index = read_index(path)
    except InputError:
        return "its index is damaged"
    if not index.archive.is_file():
        return "is not there, and its index is"
    if not index.is_whole:
        return f"{index.archive.stat().st_size} of {index.size} bytes"
    checksum = 0
    with index.archive.open("rb") as file:
        while block := file.read(BLOCK):
            checksum = zlib.crc32(block, checksum)
    return "" if checksum == index.checksum else "not the bytes that were written"


def superfluous(dump: Path, folders: Sequence[Path], days: float) -> list[Path]:
    """What a store can do without: archives, temporary files of dead jobs, and sets whose archives are not there.

    Kept is all that was written or used less than some days ago, and every archive that has features of a data dir
    below the folders, or of the whole set that a data dir is part of. Where the store was before it was moved does not
    matter.

    Raises:
        InputError: a folder is absent, or holds no data dir with features.
    """
    before = time.time() - days * DAY
    archives = archives_of(dump)
    data_dirs = [read_table(path) for folder in folders for path in _feats_scps(folder, dump)]
    sets = {f: _table(f / "feats.scp") for f in sorted(dump.glob("*/*")) if KEY.fullmatch(f.name) and f.is_dir()}
    used = {name for table in data_dirs for name in _names(table)}
    for places in sets.values():
        if any(table.items() <= places.items() for table in data_dirs):
            used |= _names(places)
    unused = [path for path in archives if _name(path) not in used and _last_used(path) < before]
    left = {_name(path) for path in archives} - {_name(path) for path in unused}
    dead = [
        folder
        for folder, places in sets.items()
        if not places or not _names(places) <= left
        if max(path.stat().st_mtime for path in (folder, *folder.rglob("*"))) < before
    ]
    temporary = [
        path for pattern in (".tmp*", ".old.*") for path in dump.rglob(pattern) if path.lstat().st_mtime < before
    ]
    return sorted({*dead, *(path for path in [*unused, *temporary] if not set(path.parents) & set(dead))})


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(p.stat().st_size for p in (path.rglob("*") if path.is_dir() else [path]) if p.is_file())


def remove(path: Path) -> None:
    """Remove a folder, or a file, of an archive with its index."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        _remove_archive(path)


def _remove_archive(archive: Path) -> None:
    """The index first: an archive without one is unused."""
    for path in (archive.with_suffix(".json"), archive):
        path.unlink(missing_ok=True)


def _table(scp: Path) -> dict[str, str]:
    return read_table(scp) if scp.is_file() else {}


def _name(archive: Path) -> tuple[str, str]:
    """Of its settings, or of its set, and its own: both follow from what is in it."""
    return archive.parent.name, archive.name


def _names(places: dict[str, str]) -> set[tuple[str, str]]:
    return {_name(Path(value.rpartition(":")[0])) for value in places.values()}


def _feats_scps(folder: Path, dump: Path) -> list[Path]:
    """Every feats.scp below a folder; links to folders are followed, each once, but not into the store."""
    if not folder.is_dir():
        raise InputError(
            "no such folder", folder, "give folders of prepared data, such as data, or egs for all recipes"
        )
    found, seen = [], {os.path.realpath(dump)}
    for place, inner, names in os.walk(folder, followlinks=True):
        if os.path.realpath(place) in seen:
            inner.clear()
            continue
        seen.add(os.path.realpath(place))
        found += [Path(place, name) for name in names if name == "feats.scp"]
    if not found:
        raise InputError("no data dir with features in it", folder, "give folders of prepared data, such as data")
    return found
