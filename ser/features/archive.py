"""Kaldi archives: written whole, read through a memory map.

kaldiio reads an archive entry whole; a training step wants some rows of it, again and again, and many processes want
to share the pages. So reading stands here, for the two kinds of matrix that `ArkWriter` writes. Two bytes a value are
written here too, bit for bit as kaldiio does, which takes as long for it as the Fourier transform takes.
"""

from __future__ import annotations

import io
import mmap
import os
import re
import secrets
import struct
import zlib
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np

from ser.common import InputError, check_regular, write_text
from ser.corpora.kaldi import read_table, table_text

# Bytes of the archives that a reader keeps mapped in.
RESIDENT = 16 << 20
RANGE = re.compile(r"\[(\d+):(\d+)\]$")
GZIP = b"\x1f\x8b"
# What to do about an archive that is not as it was written.
MEND = "run steps/store.py verify, which removes what is damaged, then stage 3 again"
FLOAT, TWO_BYTE = b"\0BFM ", b"\0BCM2 "


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
        self.path, self.scp = path, scp
        self.storage = storage
        self.temporary = path.with_name(f".tmp.{secrets.token_hex(6)}.{path.name}")
        self.offsets: dict[str, int] = {}
        self.size = self.checksum = 0
        self.file: IO[bytes] | None = None

    def __enter__(self) -> ArkWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = self.temporary.open("wb")
        return self

    def write(self, key: str, matrix: np.ndarray) -> None:
        """Append one float32 matrix, (rows, columns).

        Raises:
            InputError: a value of it is not finite.
        """
        assert self.file is not None
        if not np.isfinite(matrix).all():
            raise InputError(f"{self.path}: {key}: a value that is not a number; see what it is computed from")
        self.offsets[key] = self.size + len(key.encode()) + 1
        for data in {"int16": _two_bytes, "float32": _floats}[self.storage](key, matrix):
            self.checksum = zlib.crc32(data, self.checksum)
            self.size += self.file.write(data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.file is not None
        try:
            self.file.close()
            if kind is None:
                os.replace(self.temporary, self.path)
                if self.scp:
                    where = self.path.resolve()
                    write_text(
                        self.path.with_suffix(".scp"),
                        table_text({key: f"{where}:{offset}" for key, offset in self.offsets.items()}),
                    )
        except OSError as full:
            error = full
        finally:
            self.temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(
                f"{self.path}: cannot be written ({error.strerror or error}); make room or choose another "
                "place, then run the same command again"
            ) from error


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


def _floats(key: str, matrix: np.ndarray) -> tuple[bytes]:
    import kaldiio

    entry = io.BytesIO()
    kaldiio.save_ark(entry, {key: matrix})
    return (entry.getvalue(),)


class ArkReader:
    """Rows of the matrices that an scp names, through memory maps that all processes share.

    Args:
        scp: `key path:offset` lines; a range such as `[0:9]` behind takes these rows, both ends among them.

    Raises:
        InputError: a line that names no archive position, or an entry that is cut short or of another kind.
    """

    def __init__(self, scp: Path) -> None:
        self.scp = scp
        self.places: dict[str, tuple[str, int]] = {}
        self.ranges: dict[str, tuple[int, int]] = {}
        for key, value in read_table(scp).items():
            if match := RANGE.search(value):
                self.ranges[key] = int(match[1]), int(match[2]) + 1
                value = value[: match.start()]
            path, _, offset = value.rpartition(":")
            if not offset.isdigit() or not path or path.endswith("|"):
                raise InputError(f"{scp}: {key}: expected `path:offset`, found {value!r}")
            self.places[key] = (path, int(offset))
        self.maps: dict[str, mmap.mmap] = {}
        self.touched = 0

    def __contains__(self, key: str) -> bool:
        return key in self.places

    def shape(self, key: str) -> tuple[int, int]:
        """(rows, columns) of a matrix."""
        return self._entry(key)[1]

    def read(self, key: str, start: int = 0, rows: int | None = None, out: np.ndarray | None = None) -> np.ndarray:
        """Rows `start` to `start + rows` (to the end where None) as float32, (rows, columns), in `out` where given."""
        data, (total, columns), at, low, step = self._entry(key)
        rows = total - start if rows is None else rows
        if not 0 <= start <= start + rows <= total:
            raise InputError(f"{self.scp}: {key}: rows {start} to {start + rows} of {total}")
        self._let_go(rows * columns * (4 if step is None else 2))
        kind, size = ("<f4", 4) if step is None else ("<u2", 2)
        stored = np.frombuffer(data, kind, rows * columns, at + size * start * columns).reshape(rows, columns)
        values = np.empty((rows, columns), np.float32) if out is None else out
        values[:] = stored
        if step is not None:
            values *= step
            values += low
        return values

    def _entry(self, key: str) -> tuple[mmap.mmap, tuple[int, int], int, np.float32, np.float32 | None]:
        if key not in self.places:
            raise InputError(f"{self.scp}: no entry {key}; run stage 3 again")
        path, offset = self.places[key]
        data = self._map(path)
        if offset + 22 > data.size():  # the file's size as it is now: a map must not be read beyond it
            raise InputError(f"{path}: {key}: the archive ends within it; {MEND}")
        low, step = np.float32(0), None
        if data[offset : offset + 6] == TWO_BYTE:
            low, span, rows, columns = struct.unpack_from("<ffii", data, offset + 6)
            low, step = np.float32(low), _step(span)
            at, size = offset + 22, 2
        elif data[offset : offset + 5] == FLOAT:
            rows, columns = struct.unpack_from("<xixi", data, offset + 5)
            at, size = offset + 15, 4
        else:
            raise InputError(f"{path}: {key}: no float or two-byte matrix at offset {offset}; {MEND}")
        if at + size * rows * columns > data.size():
            raise InputError(f"{path}: {key}: the archive ends within it; {MEND}")
        first, end = self.ranges.get(key, (0, rows))
        if not first < end <= rows:
            raise InputError(f"{self.scp}: {key}: rows {first} to {end - 1} of a matrix of {rows}; mend the range")
        return data, (end - first, columns), at + size * first * columns, low, step

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
                        raise InputError(f"{path}: a gzip file, in which nothing can be looked up; unpack it (gunzip)")
                    self.maps[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                raise InputError(f"{path}: cannot be read ({error}); run stage 3 again") from None
        return self.maps[path]
