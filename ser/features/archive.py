"""Kaldi archives: written whole, read through a memory map.

A training step wants some rows of a matrix, again and again, and many processes want to share the pages. An archive
from elsewhere is input, not code: kaldiio unpickles an entry that begins with `PKL`. So archives are read here and
nowhere else: float32 vectors and matrices and Kaldi's two-byte matrices, little endian; any other kind is refused by
name.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
import sys
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np

from ser.common import InputError, atomic_path, check_regular
from ser.common.once import parsed_once
from ser.corpora.kaldi import read_table, write_table

# Bytes of the archives that a reader keeps mapped in.
RESIDENT = 16 << 20
RANGE = re.compile(r"\[(\d+):(\d+)\]$")
GZIP = b"\x1f\x8b"
# What to do about an archive that is not as it was written.
FIX = "run steps/store.py verify, which removes what is damaged, then stage 3 again"
VECTOR, MATRIX, TWO_BYTE = b"\0BFV ", b"\0BFM ", b"\0BCM2 "
# What an entry of another kind begins with, and what it is.
OTHERS = {
    b"PKL": "a Python pickle, which may hold code and is never opened",
    b"\x93NUMPY": "a NumPy array",
    b"NPY": "a NumPy array",
    b"AUDIO": "audio",
    b"RIFF": "audio",
    b"\0BDV ": "a double-precision vector",
    b"\0BDM ": "a double-precision matrix",
    b"\0BCM ": "a one-byte compressed matrix",
    b"\0BCM3 ": "a one-byte compressed matrix",
    b"\0B": "a binary object of another kind",
    b" [": "text",
    b"[": "text",
}
KEY = re.compile(rb"([^\s\0]+) ")


class ArkWriter:
    """Write matrices to `path` (.ark) and, when all went well, its .scp beside it; nothing half-written remains.

    Args:
        path: the archive's final name.
        storage: "int16": two bytes a value, linear between the matrix's least and greatest value; or "float32".
        scp: whether to write one.

    Attributes:
        offsets: where each matrix begins, by key.
        size: bytes written.
        checksum: CRC-32 of these.
    """

    def __init__(self, path: Path, storage: str = "int16", scp: bool = True) -> None:
        self.path, self.storage, self.scp = path, storage, scp
        self.offsets: dict[str, int] = {}
        self.size = self.checksum = 0
        self._stack = ExitStack()

    def __enter__(self) -> ArkWriter:
        self._file = self._stack.enter_context(self._stack.enter_context(atomic_path(self.path)).open("wb"))
        return self

    def write(self, key: str, matrix: np.ndarray) -> None:
        """Append one float32 matrix, (rows, columns), or, as "float32", vector.

        Raises:
            InputError: a value of it is not finite.
        """
        if not np.isfinite(matrix).all():
            raise InputError(f"{key}: a value that is not a number", self.path, "see what it is computed from")
        self.offsets[key] = self.size + len(key.encode()) + 1
        for data in {"int16": _two_bytes, "float32": _floats}[self.storage](key, matrix):
            self.checksum = zlib.crc32(data, self.checksum)
            self.size += self._file.write(data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        if kind is None and self.scp:
            where = self.path.resolve()
            write_table(
                self.path.with_suffix(".scp"), {key: f"{where}:{offset}" for key, offset in self.offsets.items()}
            )


def as_stored(matrix: np.ndarray, storage: str) -> np.ndarray:
    """A float32 matrix, (rows, columns), as it is read again from where `ArkWriter` put it."""
    if storage == "float32":
        return matrix
    low, span, stored = _rounded(matrix)
    values = stored.astype(np.float32)
    values *= _step(float(span))
    values += low
    return values


def _step(span: float) -> np.float32:
    return np.float32(span / 65535)


def _rounded(matrix: np.ndarray) -> tuple[np.float32, np.float32, np.ndarray]:
    """Least value, span and the values between them in two bytes."""
    low, high = matrix.min(), matrix.max()
    span = high - low if high > low else np.float32(1) + abs(low)
    values = matrix - low
    values /= span
    values *= np.float32(65535)
    values += np.float32(0.499)
    return low, span, values.astype("<u2")


def _two_bytes(key: str, matrix: np.ndarray) -> tuple[bytes, bytes]:
    """Header and values of an entry of Kaldi's compressed kind "CM2"."""
    low, span, stored = _rounded(matrix)
    header = f"{key} ".encode() + TWO_BYTE + struct.pack("<ffii", low, span, *matrix.shape)
    return header, stored.tobytes()


def _floats(key: str, values: np.ndarray) -> tuple[bytes, bytes]:
    """Header and values of a float32 vector or matrix."""
    sizes = b"".join(b"\4" + struct.pack("<i", size) for size in values.shape)
    return f"{key} ".encode() + (VECTOR if values.ndim == 1 else MATRIX) + sizes, values.astype("<f4").tobytes()


class Header(NamedTuple):
    """Where the values of an entry are.

    Attributes:
        at: offset of the first value.
        size: bytes a value: 4, or 2, which stand for low + step * value.
    """

    shape: tuple[int, ...]
    at: int
    size: int
    low: np.float32
    step: np.float32

    @property
    def end(self) -> int:
        """Offset behind the last value."""
        return self.at + self.size * math.prod(self.shape)


def read_header(data: bytes | mmap.mmap, offset: int, total: int, where: str) -> Header:
    """Read the header of the entry at an offset.

    Args:
        data: the archive.
        total: bytes of the archive.
        where: the archive and the key, for messages.

    Raises:
        InputError: another kind than the three that are read, or more values than the archive holds.
    """
    head = data[offset : max(offset, min(offset + 22, total))]  # beyond the total a map is no longer a file's
    kind = next((kind for kind in (VECTOR, MATRIX, TWO_BYTE) if head.startswith(kind)), None)
    if kind is None and len(head) < 6:
        raise InputError("the archive ends within it", where, FIX)
    if kind is None:
        what = next((name for start, name in OTHERS.items() if head.startswith(start)), "no Kaldi object")
        raise InputError(
            f"{what} at offset {offset}, expected a float32 vector or matrix or a two-byte matrix", where, FIX
        )
    little = _unpack(head, kind, "<", offset, total)
    if little is None:
        big = _unpack(head, kind, ">", offset, total)
        what = "big endian, and only little endian is read" if big else "the archive ends within it"
        raise InputError(what, where, FIX)
    if not math.isfinite(little.low) or not math.isfinite(little.step):
        raise InputError("holds values that are not finite", where, FIX)
    return little


def _unpack(head: bytes, kind: bytes, order: str, offset: int, total: int) -> Header | None:
    """The sizes of an entry in a byte order; None where the archive does not hold so much."""
    form = order + {VECTOR: "xi", MATRIX: "xixi", TWO_BYTE: "ffii"}[kind]
    at = len(kind) + struct.calcsize(form)
    if len(head) < at:
        return None
    values = struct.unpack_from(form, head, len(kind))
    shape = values[-1:] if kind == VECTOR else values[-2:]
    low, step, size = np.float32(0), np.float32(1), 4
    if kind == TWO_BYTE:
        low, step, size = np.float32(values[0]), _step(values[1]), 2
    header = Header(shape, offset + at, size, low, step)
    return header if min(shape) >= 0 and header.end <= total else None


def read_archive(path: Path) -> dict[str, np.ndarray]:
    """Every entry of an archive in its order, float32: vectors, and matrices of (rows, columns).

    Raises:
        InputError: absent, cut short, a key twice, an entry of another kind, or a value that is not finite.
    """
    check_regular(path, "run its stage again")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", path, "run its stage again") from None
    entries: dict[str, np.ndarray] = {}
    at = 0
    while at < len(data):
        match = KEY.match(data, at)
        try:
            key = match[1].decode() if match else ""
        except UnicodeDecodeError:
            key = ""
        if match is None or not key or key in entries:
            what = f"{key} stands twice" if key else "no key"
            raise InputError(f"{what} at offset {at}", path, "run its stage again")
        header = read_header(data, match.end(), len(data), f"{path}: {key}")
        entries[key] = values_of(data, header)
        if not np.isfinite(entries[key]).all():
            raise InputError(f"{key}: holds values that are not finite", path, "run its stage again")
        at = header.end
    return entries


def values_of(
    data: bytes | mmap.mmap, header: Header, start: int = 0, rows: int | None = None, out: np.ndarray | None = None
) -> np.ndarray:
    """Some rows of an entry (of a vector, some values), all where `rows` is None, as float32, in `out` where given."""
    rows = header.shape[0] - start if rows is None else rows
    shape = (rows, *header.shape[1:])
    width = math.prod(header.shape[1:])
    stored = np.frombuffer(
        data, f"<{'f' if header.size == 4 else 'u'}{header.size}", rows * width, header.at + header.size * start * width
    ).reshape(shape)
    values = np.empty(shape, np.float32) if out is None else out
    values[:] = stored
    if header.size == 2:
        values *= header.step
        values += header.low
    return values


@parsed_once
def read_scp(scp: Path) -> tuple[dict[str, tuple[str, int]], dict[str, tuple[int, int]]]:
    """The archive and offset of each key, and the first row and the one behind the last of those with a range.

    Raises:
        InputError: absent, or a line that names no archive position.
    """
    places: dict[str, tuple[str, int]] = {}
    ranges: dict[str, tuple[int, int]] = {}
    for key, value in read_table(scp).items():
        if match := RANGE.search(value):
            ranges[key] = int(match[1]), int(match[2]) + 1
            value = value[: match.start()]
        path, _, offset = value.rpartition(":")
        if not offset.isdigit() or not path or path.endswith("|"):
            raise InputError(f"{key}: expected `path:offset`, found {value!r}", scp)
        places[key] = sys.intern(path), int(offset)
    return places, ranges


class ArkReader:
    """Rows of the matrices that an scp names, through memory maps that all processes share.

    Args:
        scp: `key path:offset` lines; a range such as `[0:9]` behind takes these rows, both ends among them.
        check: called with an archive and its bytes before the first of them is used.

    Raises:
        InputError: a line that names no archive position, or an entry that is cut short, of another kind, or holds a
            value that is not finite.
    """

    def __init__(self, scp: Path, check: Callable[[Path, mmap.mmap], None] | None = None) -> None:
        self.scp, self.check = scp, check
        places, ranges = read_scp(scp)
        self.places, self.ranges = dict(places), dict(ranges)
        self.maps: dict[str, mmap.mmap] = {}
        self.touched = 0

    def __contains__(self, key: str) -> bool:
        return key in self.places

    def shape(self, key: str) -> tuple[int, int]:
        """(rows, columns) of a matrix."""
        first, end = self._rows(key, self._entry(key)[1])
        return end - first, self._entry(key)[1].shape[1]

    def read(self, key: str, start: int = 0, rows: int | None = None, out: np.ndarray | None = None) -> np.ndarray:
        """Rows `start` to `start + rows` (to the end where None) as float32, (rows, columns), in `out` where given."""
        data, header = self._entry(key)
        first, end = self._rows(key, header)
        rows = end - first - start if rows is None else rows
        if not 0 <= start <= start + rows <= end - first:
            raise InputError(f"{key}: rows {start} to {start + rows} of {end - first}", self.scp)
        self._let_go(rows * header.shape[1] * header.size)
        values = values_of(data, header, first + start, rows, out)
        if header.size == 4 and not np.isfinite(values).all():  # two bytes are of a span that is finite
            raise InputError(f"{key}: holds values that are not finite", self.places[key][0], FIX)
        return values

    def _entry(self, key: str) -> tuple[mmap.mmap, Header]:
        if key not in self.places:
            raise InputError(f"no entry {key}", self.scp, "run stage 3 again")
        path, offset = self.places[key]
        data = self._map(path)
        # The file's size as it is now: a map must not be read beyond it.
        header = read_header(data, offset, data.size(), f"{path}: {key}")
        if len(header.shape) != 2:
            raise InputError(f"{key}: a vector, expected a matrix", path, FIX)
        return data, header

    def _rows(self, key: str, header: Header) -> tuple[int, int]:
        """The first row that the scp names, and the one behind the last."""
        first, end = self.ranges.get(key, (0, header.shape[0]))
        if not first < end <= header.shape[0]:
            raise InputError(
                f"{key}: rows {first} to {end - 1} of a matrix of {header.shape[0]}", self.scp, "fix the range"
            )
        return first, end

    def _let_go(self, size: int) -> None:
        """Give pages back now and then, which stay in the system's cache: a process does not grow by what it reads."""
        self.touched += size
        if self.touched > RESIDENT and hasattr(mmap, "MADV_DONTNEED"):
            for data in self.maps.values():
                data.madvise(mmap.MADV_DONTNEED)
            self.touched = size

    def _map(self, path: str) -> mmap.mmap:
        if path not in self.maps:
            check_regular(Path(path), "run stage 3 again")
            try:
                with open(path, "rb") as file:
                    if file.read(2) == GZIP:
                        raise InputError("a gzip file, in which nothing can be looked up", path, "unpack it (gunzip)")
                    data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                raise InputError(f"cannot be read ({error})", path, "run stage 3 again") from None
            if self.check is not None:
                self.check(Path(path), data)
            self.maps[path] = data
        return self.maps[path]
