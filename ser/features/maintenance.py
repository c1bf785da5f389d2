"""List and verify the archives of a feature store, and remove unused ones."""

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
from ser.common.files import refuse_folder
from ser.common.progress import progress
from ser.corpora.kaldi import read_table
from ser.features.index import bucket_lock, read_index

KEY = re.compile(r"[0-9a-f]{16}")  # folder name of a set
BLOCK = 1 << 20  # bytes read at once
DAY = 86400  # seconds


def find_archives(dump: Path) -> list[Path]:
    """Find all archives of a store.

    Raises:
        InputError: the folder is absent or has no archives.
    """
    archives = sorted(dump.glob("*/archives/*/feats.*.ark"))
    if not archives:
        what = "holds no features" if dump.is_dir() else "no such folder"
        raise InputError(what, dump, "give with --dump the one that run.sh has, or run stage 3")
    return archives


def archives_table(dump: Path) -> str:
    """Format a table of the archives by corpus and settings."""
    from tabulate import tabulate

    folders: dict[Path, list[Path]] = {}
    for archive in find_archives(dump):
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
                "": _describe(indexes[0].features),
                "archives": len(archives),
                "originals": len(entries) - copies,
                "copies": copies,
                "MB": round(sum(sizes) / 1e6, 1),
                "made": _date(max(path.stat().st_mtime for path in archives)),
                "used": _date(max(map(_last_used, archives))),
            }
        )
    return str(tabulate([list(row.values()) for row in rows], list(rows[0])))


def _describe(features: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in features.items() if key != "version")


def _date(seconds: float) -> str:
    return time.strftime("%F %H:%M", time.localtime(seconds))


def _last_used(path: Path) -> float:
    """The modification time of a file; for an archive, the time at which stage 3 last used it."""
    return max(p.stat().st_mtime for p in (path, path.with_suffix(".json")) if p.exists())


def verify_archives(dump: Path) -> tuple[list[str], int]:
    """Compare all archives with their checksums; remove damaged ones with their index.

    Archives that are being written have no index and are skipped.

    Returns:
        Path and damage of each damaged archive, and the number of archives.
    """
    damaged = []
    find_archives(dump)
    indexes = sorted(dump.glob("*/archives/*/feats.*.json"))
    for path in progress(indexes, text="checksums", unit="archive"):
        if not _damage(path):
            continue
        with bucket_lock(path):
            what = _damage(path)  # another process may have replaced it meanwhile
            if what:
                damaged.append(f"{path.with_suffix('.ark')}: {what}")
                _remove_archive(path.with_suffix(".ark"))
    return damaged, len(indexes)


def _damage(path: Path) -> str:
    """What is wrong with the archive of an index; "" if nothing is."""
    try:
        index = read_index(path)
    except InputError:
        return "its index is damaged"
    if not index.archive.is_file():
        return "is not there, and its index is"
    if not index.is_complete:
        return f"{index.archive.stat().st_size} of {index.size} bytes"
    checksum = 0
    with index.archive.open("rb") as file:
        while block := file.read(BLOCK):
            checksum = zlib.crc32(block, checksum)
    return "" if checksum == index.checksum else "not the bytes that were written"


def find_unused(dump: Path, folders: Sequence[Path], days: float) -> list[Path]:
    """Find what can be removed from a store: archives, temporary files of dead jobs, sets without their archives.

    An archive is in use if it has features of a data dir below the folders, or of the complete set to which a data dir
    belongs. This also works after the store was moved.

    Args:
        dump: root of the store.
        folders: prepared data of all recipes that share the store.
        days: files that were written or used in the last days are kept.

    Raises:
        InputError: a folder is absent, or has no data dir with features.
    """
    before = time.time() - days * DAY
    archives = find_archives(dump)
    data_dirs = [read_table(path) for folder in folders for path in _feats_scps(folder, dump)]
    sets = {f: _table(f / "feats.scp") for f in sorted(dump.glob("*/*")) if KEY.fullmatch(f.name) and f.is_dir()}
    used = {name for table in data_dirs for name in _archive_names(table)}
    for scp in sets.values():
        if any(table.items() <= scp.items() for table in data_dirs):
            used |= _archive_names(scp)
    unused = [path for path in archives if _archive_name(path) not in used and _last_used(path) < before]
    kept = {_archive_name(path) for path in archives} - {_archive_name(path) for path in unused}
    dead = [
        folder
        for folder, scp in sets.items()
        if not scp or not _archive_names(scp) <= kept
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
    """Remove a folder or a file; an archive is removed with its index."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        _remove_archive(path)


def _remove_archive(archive: Path) -> None:
    """Remove the index first, since an archive without an index is not used."""
    for path in (archive.with_suffix(".json"), archive):
        path.unlink(missing_ok=True)


def _table(scp: Path) -> dict[str, str]:
    return read_table(scp) if scp.is_file() else {}


def _archive_name(archive: Path) -> tuple[str, str]:
    """Names of folder and file, which identify the content of an archive wherever the store is."""
    return archive.parent.name, archive.name


def _archive_names(scp: dict[str, str]) -> set[tuple[str, str]]:
    return {_archive_name(Path(value.rpartition(":")[0])) for value in scp.values()}


def _feats_scps(folder: Path, dump: Path) -> list[Path]:
    """Find all feats.scp below a folder; links to folders are followed once, but not into the store."""
    if not folder.is_dir():
        raise InputError(
            "no such folder", folder, "give folders of prepared data, such as data, or egs for all recipes"
        )
    paths, seen = [], {os.path.realpath(dump)}
    for current, subfolders, names in os.walk(folder, onerror=refuse_folder, followlinks=True):
        if os.path.realpath(current) in seen:
            subfolders.clear()
            continue
        seen.add(os.path.realpath(current))
        paths += [Path(current, name) for name in names if name == "feats.scp"]
    if not paths:
        raise InputError("no data dir with features in it", folder, "give folders of prepared data, such as data")
    return paths
