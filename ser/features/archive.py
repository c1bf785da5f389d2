"""Kaldi archives, written atomically and read through memory maps.

Training reads rows of matrices repeatedly, and processes share the mapped pages. kaldiio would unpickle an entry that
begins with `PKL`, which is unsafe for archives from elsewhere. Therefore all archives are read by this module:
little-endian float32 vectors and matrices, and two-byte matrices of Kaldi. Other kinds are refused by name.
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
from typing import Any, NamedTuple

import numpy as np

from ser.common import InputError, as_input_error, atomic_path, check_regular
from ser.common.once import parsed_once
from ser.corpora.kaldi import read_table, write_table

# Bytes that a reader may read before it releases the mapped pages.
RESIDENT_BYTES = 16 << 20
RANGE = re.compile(r"\[(\d+):(\d+)\]$")
GZIP = b"\x1f\x8b"
# What to do about a damaged archive.
FIX = "run steps/store.py verify, which removes what is damaged, then stage 3 again"
VECTOR, MATRIX, TWO_BYTE = b"\0BFV ", b"\0BFM ", b"\0BCM2 "
# Values after the kind, by kind and byte order.
FORMS = {
    (kind, order): struct.Struct(order + form)
    for kind, form in {VECTOR: "xi", MATRIX: "xixi", TWO_BYTE: "ffii"}.items()
    for order in "<>"
}
ZERO, ONE = np.float32(0), np.float32(1)
STORED: dict[int, np.dtype[Any]] = {4: np.dtype("<f4"), 2: np.dtype("<u2")}  # by bytes per value
# Beginning of entries of other kinds, and their names.
OTHER_KINDS = {
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
KIND = re.compile(b"|".join(map(re.escape, (VECTOR, MATRIX, TWO_BYTE))))


class ArkWriter:
    """Writes matrices to an archive and its .scp, atomically.

    Args:
        path: of the archive (.ark).
        storage: "int16": two bytes per value, linear between least and greatest value of a matrix; or "float32".
        scp: whether to write the .scp.

    Attributes:
        offsets: key -> offset of the matrix.
        size: bytes written.
        checksum: CRC-32 of the archive.
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
        """Append a matrix, or a vector if the storage is "float32".

        Args:
            key: of the entry.
            matrix: float32, (rows, columns) or (values,).

        Raises:
            InputError: a value is not finite.
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
            path = self.path.resolve()
            write_table(
                self.path.with_suffix(".scp"), {key: f"{path}:{offset}" for key, offset in self.offsets.items()}
            )


def as_stored(matrix: np.ndarray, storage: str) -> np.ndarray:
    """The matrix that is read back from an archive of `ArkWriter`.

    Args:
        matrix: float32, (rows, columns).
        storage: int16 or float32.
    """
    if storage == "float32":
        return matrix
    low, span, stored = _quantise(matrix)
    values = stored.astype(np.float32)
    values *= _step(float(span))
    values += low
    return values


def _step(span: float) -> np.float32:
    return np.float32(span / 65535)


def _quantise(matrix: np.ndarray) -> tuple[np.float32, np.float32, np.ndarray]:
    """Quantise to two bytes: return least value, span and quantised values."""
    low, high = matrix.min(), matrix.max()
    span = high - low if high > low else np.float32(1) + abs(low)
    values = matrix - low
    values /= span
    values *= np.float32(65535)
    values += np.float32(0.499)
    return low, span, values.astype("<u2")


def _two_bytes(key: str, matrix: np.ndarray) -> tuple[bytes, bytes]:
    """Header and values of an entry of the compressed kind "CM2" of Kaldi."""
    low, span, stored = _quantise(matrix)
    header = f"{key} ".encode() + TWO_BYTE + struct.pack("<ffii", low, span, *matrix.shape)
    return header, stored.tobytes()


def _floats(key: str, values: np.ndarray) -> tuple[bytes, bytes]:
    """Header and values of a float32 vector or matrix."""
    sizes = b"".join(b"\4" + struct.pack("<i", size) for size in values.shape)
    return f"{key} ".encode() + (VECTOR if values.ndim == 1 else MATRIX) + sizes, values.astype("<f4").tobytes()


class Header(NamedTuple):
    """The header of an entry.

    Attributes:
        shape: (rows, columns), or (values,) of a vector.
        offset: of the first value in the archive.
        size: bytes per value: 4; or 2, which stand for low + step * value.
    """

    shape: tuple[int, ...]
    offset: int
    size: int
    low: np.float32
    step: np.float32

    @property
    def end(self) -> int:
        """Offset after the last value."""
        return self.offset + self.size * math.prod(self.shape)


def read_header(data: bytes | mmap.mmap, offset: int, total: int, where: str) -> Header:
    """Read the header of the entry at an offset.

    Args:
        data: the archive.
        offset: of the entry.
        total: size of the archive in bytes.
        where: archive and key, for messages.

    Raises:
        InputError: the entry is of another kind, or ends after the end of the archive.
    """
    head = data[offset : max(offset, min(offset + 22, total))]  # a map must not be read beyond the file
    match = KIND.match(head)
    kind = match[0] if match else None
    if kind is None and len(head) < 6:
        raise InputError("the archive ends within it", where, FIX)
    if kind is None:
        what = next((name for start, name in OTHER_KINDS.items() if head.startswith(start)), "no Kaldi object")
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
    """Decode a header in a byte order; None if the entry would end after the end of the archive."""
    form = FORMS[kind, order]
    length = len(kind) + form.size
    if len(head) < length:
        return None
    values = form.unpack_from(head, len(kind))
    if kind == TWO_BYTE:
        header = Header(values[-2:], offset + length, 2, np.float32(values[0]), _step(values[1]))
    else:
        header = Header(values, offset + length, 4, ZERO, ONE)
    return header if min(header.shape) >= 0 and header.end <= total else None


def read_archive(path: Path) -> dict[str, np.ndarray]:
    """Read all entries of an archive in order, float32: vectors, and matrices of (rows, columns).

    Raises:
        InputError: it is absent or truncated, has a duplicate key, an entry of another kind, or a value that is not
            finite.
    """
    check_regular(path, "run its stage again")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", path, "run its stage again") from None
    entries: dict[str, np.ndarray] = {}
    offset = 0
    while offset < len(data):
        match = KEY.match(data, offset)
        try:
            key = match[1].decode() if match else ""
        except UnicodeDecodeError:
            key = ""
        if match is None or not key or key in entries:
            what = f"{key} appears twice" if key else "no key"
            raise InputError(f"{what} at offset {offset}", path, "run its stage again")
        header = read_header(data, match.end(), len(data), f"{path}: {key}")
        entries[key] = decode_values(data, header)
        offset = header.end
    if entries and not np.isfinite(np.concatenate([values.ravel() for values in entries.values()])).all():
        odd = next(key for key, values in entries.items() if not np.isfinite(values).all())
        raise InputError(f"{odd}: holds values that are not finite", path, "run its stage again")
    return entries


def decode_values(
    data: bytes | mmap.mmap, header: Header, start: int = 0, rows: int | None = None, out: np.ndarray | None = None
) -> np.ndarray:
    """Decode rows of a matrix, or values of a vector.

    Args:
        data: the archive.
        header: of the entry.
        start: first row.
        rows: number of rows; None: to the end.
        out: float32 array for the result; None: a new one.
    """
    rows = header.shape[0] - start if rows is None else rows
    shape = (rows, *header.shape[1:])
    width = math.prod(header.shape[1:])
    offset = header.offset + header.size * start * width
    stored = np.frombuffer(data, STORED[header.size], rows * width, offset)
    values = np.empty(shape, np.float32) if out is None else out
    values[:] = stored.reshape(shape)
    if header.size == 2:
        values *= header.step
        values += header.low
    return values


@parsed_once
def read_scp(scp: Path) -> tuple[dict[str, tuple[str, int]], dict[str, tuple[int, int]]]:
    """Read an scp: key -> (archive, offset), and key -> (first row, row after the last) for keys with a range.

    Raises:
        InputError: it is absent, or a line has no position in an archive.
    """
    positions: dict[str, tuple[str, int]] = {}
    ranges: dict[str, tuple[int, int]] = {}
    for key, value in read_table(scp).items():
        if match := RANGE.search(value):
            ranges[key] = int(match[1]), int(match[2]) + 1
            value = value[: match.start()]
        path, _, offset = value.rpartition(":")
        if not offset.isdigit() or not path or path.endswith("|"):
            raise InputError(f"{key}: expected `path:offset`, found {value!r}", scp)
        positions[key] = sys.intern(path), int(offset)
    return positions, ranges


class ArkReader:
    """Reads rows of the matrices of an scp through memory maps, which processes share.

    Args:
        scp: lines `key path:offset`; a range such as `[0:9]` at the end selects these rows, including both ends.
        check: called with the path and the bytes of an archive before its first use.

    Attributes:
        positions: key -> (archive, offset).
        ranges: key -> (first row, row after the last), for keys with a range.

    Raises:
        InputError: a line has no position in an archive; or, on reading, an entry is truncated, of another kind, or has
            a value that is not finite.
    """

    def __init__(self, scp: Path, check: Callable[[Path, mmap.mmap], None] | None = None) -> None:
        self.scp, self.check = scp, check
        positions, ranges = read_scp(scp)
        self.positions, self.ranges = dict(positions), dict(ranges)
        self._maps: dict[str, mmap.mmap] = {}
        self._resident = 0

    def __contains__(self, key: str) -> bool:
        return key in self.positions

    def shape(self, key: str) -> tuple[int, int]:
        """(rows, columns) of a matrix."""
        first, end = self._rows(key, self._entry(key)[1])
        return end - first, self._entry(key)[1].shape[1]

    def read(self, key: str, start: int = 0, rows: int | None = None, out: np.ndarray | None = None) -> np.ndarray:
        """Read rows of a matrix.

        Args:
            key: of the matrix.
            start: first row.
            rows: number of rows; None: to the end.
            out: float32 array for the result; None: a new one.

        Returns:
            float32, (rows, columns).
        """
        data, header = self._entry(key)
        first, end = self._rows(key, header)
        rows = end - first - start if rows is None else rows
        if not 0 <= start <= start + rows <= end - first:
            raise InputError(f"{key}: rows {start} to {start + rows} of {end - first}", self.scp)
        self._release_pages(rows * header.shape[1] * header.size)
        values = decode_values(data, header, first + start, rows, out)
        if header.size == 4 and not np.isfinite(values).all():  # values of two bytes are finite if their span is
            raise InputError(f"{key}: holds values that are not finite", self.positions[key][0], FIX)
        return values

    def _entry(self, key: str) -> tuple[mmap.mmap, Header]:
        if key not in self.positions:
            raise InputError(f"no entry {key}", self.scp, "run stage 3 again")
        path, offset = self.positions[key]
        data = self._map(path)
        # The current size of the file: a map must not be read beyond it.
        header = read_header(data, offset, data.size(), f"{path}: {key}")
        if len(header.shape) != 2:
            raise InputError(f"{key}: a vector, expected a matrix", path, FIX)
        return data, header

    def _rows(self, key: str, header: Header) -> tuple[int, int]:
        """The first row that the scp selects, and the row after the last."""
        first, end = self.ranges.get(key, (0, header.shape[0]))
        if not first < end <= header.shape[0]:
            raise InputError(
                f"{key}: rows {first} to {end - 1} of a matrix of {header.shape[0]}", self.scp, "fix the range"
            )
        return first, end

    def _release_pages(self, size: int) -> None:
        """Release mapped pages from time to time, so that the process does not grow; the system still caches them."""
        self._resident += size
        if self._resident > RESIDENT_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            for data in self._maps.values():
                data.madvise(mmap.MADV_DONTNEED)
            self._resident = size

    def _map(self, path: str) -> mmap.mmap:
        if path not in self._maps:
            fix = "run stage 3 again"
            check_regular(Path(path), fix)
            with as_input_error("cannot be read", path, fix, OSError, ValueError), open(path, "rb") as file:
                if file.read(2) == GZIP:
                    raise InputError("a gzip file, in which nothing can be looked up", path, "unpack it (gunzip)")
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            if self.check is not None:
                self.check(Path(path), data)
            self._maps[path] = data
        return self._maps[path]
