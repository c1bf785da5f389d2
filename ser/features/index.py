"""dump/<corpus>/archives/<settings>/: features of one corpus under one configuration, by content, for all its sets.

An archive is feats.<bucket>.<digest>.ark and, written after it, .json: its index, size and checksum. Without that it is
unclaimed: of a job that was killed, or is running.
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

from ser.common import InputError, atomic_path, locked, read_json, write_json
from ser.common.kinds import of_kind
from ser.common.records import unchecked
from ser.features.archive import FIX, ArkWriter

_checked: set[tuple[Path, int, int, int]] = set()
# What is missing of a bucket is computed under the bucket's lock, so that nothing is computed twice.
BUCKETS = 64


def bucket_of(content: str) -> int:
    """The bucket of a content, from its first two hexadecimal digits."""
    return int(content[:2], 16) * BUCKETS // 256


def bucket_path(folder: Path, bucket: int) -> Path:
    """What the names of a bucket's archives begin with."""
    return folder / f"feats.{bucket:02d}"


def bucket_lock(path: Path) -> AbstractContextManager[None]:
    """Hold the lock of the bucket that an archive, or all of a bucket's archives, begin with."""
    start = path.with_name(".".join(path.name.split(".")[:2]))
    return locked(start, f"{start}: features are being computed")


class Entry(NamedTuple):
    """The features of one content.

    Attributes:
        place: archive:offset, as in Kaldi's scp.
        padded: whether the audio is less than a frame.
    """

    place: str
    frames: int
    is_copy: bool
    padded: bool


@dataclass(frozen=True)
class Index:
    """What stands beside an archive.

    Attributes:
        size: bytes of the archive.
        features: the settings.
        entries: by content.
    """

    archive: Path
    size: int
    checksum: int
    features: dict[str, Any]
    entries: dict[str, Entry]

    @property
    def is_whole(self) -> bool:
        """Whether the archive is there, with all its bytes."""
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
    try:
        values = of_kind(_Index, read_json(path), "")
        json.dumps(values["features"], allow_nan=False)  # settings are finite
        for content, e in values["entries"].items():
            if e["frames"] < 1 or e["offset"] < 0:
                raise ValueError(f"entries.{content}: {e['frames']} frames at {e['offset']}")
    except (InputError, ValueError) as error:
        raise _no_index(path, error) from None
    entries = {
        content: Entry(f"{archive}:{e['offset']}", e["frames"], "copy_of" in e, "padded" in e)
        for content, e in values["entries"].items()
    }
    return Index(archive, values["size"], values["checksum"], values["features"], entries)


def _no_index(path: Path, error: Exception) -> InputError:
    return InputError(f"not the index of an archive ({error})", path, FIX)


def write_index(writer: ArkWriter, features: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the index of an archive that has been written, which makes it count.

    Args:
        entries: by content: utterance and, where they hold, copy_of and padded, for people; frames.
    """
    values = {content: {"offset": writer.offsets[content], **about} for content, about in entries.items()}
    write_json(
        writer.path.with_suffix(".json"),
        {"features": features, "size": writer.size, "checksum": writer.checksum, "entries": values},
    )


def check_archive(archive: Path, data: mmap.mmap) -> None:
    """Compare an archive with size and checksum of its index; once in a process, until it is written again.

    Raises:
        InputError: it is not as it was written.
    """
    found = archive.stat()
    key = archive, found.st_ino, found.st_size, found.st_mtime_ns
    if key in _checked:
        return
    path = archive.with_suffix(".json")
    if not path.is_file():
        unchecked[archive] = None
    else:
        try:
            sums = of_kind(_Sums, read_json(path), "")
        except (InputError, ValueError) as error:
            raise _no_index(path, error) from None
        if data.size() != sums["size"] or zlib.crc32(data) != sums["checksum"]:
            raise InputError("not the bytes that were written", archive, FIX)
    _checked.add(key)


def local_copy(archive: Path, root: Path) -> Path:
    """An archive on a disk of this machine, to which it is copied once for all processes.

    Args:
        archive: in the feature store.
        root: folder of this machine.

    Returns:
        The copy. Whether it has the checksum of its index is seen where it is read, as of any archive.

    Raises:
        InputError: the disk is full or cannot be written, or the archive has no index.
    """
    corpus, settings = archive.parents[2].name, archive.parent.name
    target, index = root / corpus / settings / archive.name, archive.with_suffix(".json")
    copied = target.with_suffix(".json")
    if archive.is_file() and not index.is_file():
        raise InputError(
            f"has no index {index.name} to compare a local copy with",
            archive,
            "remove the archive and run stage 3, or train without --training.local_dump",
        )
    with locked(target, f"{target}: is being copied"):
        same = target.is_file() and copied.is_file() and copied.read_bytes() == index.read_bytes()
        if not same or target.stat().st_size != archive.stat().st_size:
            for source, place in ((archive, target), (index, copied)):
                with atomic_path(place) as temporary:
                    shutil.copyfile(source, temporary)
    return target


class Archives:
    """All archives in a folder, which need not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._indexes: dict[Path, Index] = {}

    def entries(self) -> dict[str, Entry]:
        """By content, what the archives hold that are whole and there now; each index is read once.

        Raises:
            InputError: an index is damaged.
        """
        found: dict[str, Entry] = {}
        for path in sorted(self.folder.glob("feats.*.json")):
            if path not in self._indexes:
                self._indexes[path] = read_index(path)
            if self._indexes[path].is_whole:
                found |= self._indexes[path].entries
        return found
