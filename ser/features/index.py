"""Archives of features in dump/<corpus>/archives/<settings>/, one folder for each corpus and configuration.

An archive is feats.<bucket>.<digest>.ark. Its index feats.<bucket>.<digest>.json, with size and checksum, is written
after it. An archive without an index belongs to a job that is running or was killed.
"""

from __future__ import annotations

import json
import mmap
import shutil
import zlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from ser.common import InputError, as_input_error, atomic_path, locked, read_json, write_json
from ser.common.kinds import of_kind
from ser.common.records import unchecked
from ser.features.archive import FIX, ArkWriter

_checked: set[tuple[Path, int, int, int]] = set()
# Missing features of a bucket are computed under the lock of the bucket, so that nothing is computed twice.
BUCKETS = 64


def bucket_of(content: str) -> int:
    """The bucket of a content digest, from its first two hexadecimal digits."""
    return int(content[:2], 16) * BUCKETS // 256


def bucket_path(folder: Path, bucket: int) -> Path:
    """The common beginning of the paths of the archives of a bucket."""
    return folder / f"feats.{bucket:02d}"


def bucket_lock(path: Path) -> AbstractContextManager[None]:
    """Hold the lock of a bucket.

    Args:
        path: from `bucket_path`, or an archive or index of the bucket.
    """
    start = path.with_name(".".join(path.name.split(".")[:2]))
    return locked(start, f"{start}: features are being computed")


class Entry(NamedTuple):
    """The features of one utterance or copy.

    Attributes:
        rxfilename: archive:offset, as in an scp of Kaldi.
        frames: number of frames.
        is_copy: whether it is an augmented copy.
        padded: whether the audio is shorter than one frame.
    """

    rxfilename: str
    frames: int
    is_copy: bool
    padded: bool


@dataclass(frozen=True)
class Index:
    """The index of an archive.

    Attributes:
        archive: path of the archive.
        size: of the archive, bytes.
        checksum: CRC-32 of the archive.
        features: settings of the features.
        entries: content digest -> entry.
    """

    archive: Path
    size: int
    checksum: int
    features: dict[str, Any]
    entries: dict[str, Entry]

    @property
    def is_complete(self) -> bool:
        """Whether the archive exists and has the recorded size."""
        return self.archive.is_file() and self.archive.stat().st_size == self.size


class _Entry(TypedDict):
    offset: int
    frames: int


class _Sums(TypedDict):
    size: int
    checksum: int


class _Index(_Sums):
    features: dict[str, Any]
    entries: dict[str, _Entry]


def read_index(path: Path) -> Index:
    """Read the index of an archive.

    Raises:
        InputError: it is damaged.
    """
    archive = path.with_suffix(".ark").resolve()
    with _no_index(path):
        values = of_kind(_Index, read_json(path), "")
        json.dumps(values["features"], allow_nan=False)  # raises ValueError for numbers that are not finite
        for content, e in values["entries"].items():
            if e["frames"] < 1 or e["offset"] < 0:
                raise ValueError(f"entries.{content}: {e['frames']} frames at {e['offset']}")
    entries = {
        content: Entry(f"{archive}:{e['offset']}", e["frames"], "copy_of" in e, "padded" in e)
        for content, e in values["entries"].items()
    }
    return Index(archive, values["size"], values["checksum"], values["features"], entries)


def _no_index(path: Path) -> AbstractContextManager[None]:
    return as_input_error("not the index of an archive", path, FIX, InputError, ValueError)


def write_index(writer: ArkWriter, features: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the index of a finished archive; from then on the archive is used.

    Args:
        writer: of the archive.
        features: settings of the features.
        entries: content digest -> frames, utterance and, if they apply, copy_of and padded.
    """
    values = {content: {"offset": writer.offsets[content], **about} for content, about in entries.items()}
    write_json(
        writer.path.with_suffix(".json"),
        {"features": features, "size": writer.size, "checksum": writer.checksum, "entries": values},
    )


def check_archive(archive: Path, data: mmap.mmap) -> None:
    """Compare an archive with size and checksum of its index, once per process and version of the file.

    Args:
        archive: path of the archive.
        data: its bytes.

    Raises:
        InputError: it has changed.
    """
    state = archive.stat()
    key = archive, state.st_ino, state.st_size, state.st_mtime_ns
    if key in _checked:
        return
    path = archive.with_suffix(".json")
    if not path.is_file():
        unchecked[archive] = None
    else:
        with _no_index(path):
            sums = of_kind(_Sums, read_json(path), "")
        if data.size() != sums["size"] or zlib.crc32(data) != sums["checksum"]:
            raise InputError("not the bytes that were written", archive, FIX)
    _checked.add(key)


def local_copy(archive: Path, root: Path) -> Path:
    """Copy an archive to a local disk, once for all processes.

    Args:
        archive: in the feature store.
        root: folder on the local disk.

    Returns:
        Path of the copy; its checksum is compared when it is read, as for every archive.

    Raises:
        InputError: the disk is full or not writable, or the archive has no index.
    """
    corpus, settings = archive.parents[2].name, archive.parent.name
    target, index = root / corpus / settings / archive.name, archive.with_suffix(".json")
    target_index = target.with_suffix(".json")
    if archive.is_file() and not index.is_file():
        raise InputError(
            f"has no index {index.name} to compare a local copy with",
            archive,
            "remove the archive and run stage 3, or train without --training.local_dump",
        )
    with locked(target, f"{target}: is being copied"):
        same_index = target_index.is_file() and target_index.read_bytes() == index.read_bytes()
        if not (same_index and target.is_file()) or target.stat().st_size != archive.stat().st_size:
            for source, copy in ((archive, target), (index, target_index)):
                with atomic_path(copy) as temporary:
                    shutil.copyfile(source, temporary)
    return target


class Archives:
    """All archives in a folder, which may be absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._indexes: dict[Path, Index] = {}

    def entries(self) -> dict[str, Entry]:
        """Content digest -> entry, of all complete archives that exist now; each index is read once.

        Raises:
            InputError: an index is damaged.
        """
        entries: dict[str, Entry] = {}
        for path in sorted(self.folder.glob("feats.*.json")):
            if path not in self._indexes:
                self._indexes[path] = read_index(path)
            if self._indexes[path].is_complete:
                entries |= self._indexes[path].entries
        return entries
