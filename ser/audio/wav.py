"""The chunks of a wav (RIFF): sizes that are not there, and what lies behind the samples."""

from __future__ import annotations

import io
import mmap
import re
import struct
import warnings
from pathlib import Path

from ser.audio.kinds import joined
from ser.common import InputError

# Programs that write a wav to a pipe put 0 for its size, or the greatest number they can, less some header.
PIPED_SIZES = (range(1), range(0x7FFFEF00, 0x80000001), range(0xFFFFEF00, 0x100000000))
# Format tags of a wav whose frames are samples: PCM, float, A-law, mu-law, extensible. Others (ADPCM, GSM) have blocks.
SAMPLE_TAGS = (1, 3, 6, 7, 0xFFFE)
# Bytes behind the samples of a wav that may be anything, such as a tag.
BEHIND = 1024
_RIFF = re.compile(rb"RIFF....WAVE", re.DOTALL)


def wav_source(path: Path) -> mmap.mmap | None:
    """For a wav of unknown size, a map of its bytes with the sizes filled in; None: the file as it is.

    Raises:
        InputError: truncated, or with more than one recording or stretch of samples in it.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if not head:
            raise InputError("empty file", path, "replace it by an intact copy")
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return None
        whole = struct.unpack("<I", head[4:8])[0] + 8 == path.stat().st_size
        frame, unit, at = _seek_data(file)
        if frame is None:
            return None
        size = struct.unpack("<I", file.read(4).ljust(4, b"\0"))[0]
        available = path.stat().st_size - file.tell()
        end = file.tell() + size
        _check_behind(path, file, end)
        file.seek(end)
        behind = file.read(9)
    if size == 0 and whole:
        return None  # chunks may follow the empty one, and they are no samples
    if (size == 0 < available or size > available > 0) and any(size in sizes for sizes in PIPED_SIZES):
        warnings.warn(f"{path}: the header gives no size; read to the end of the file", stacklevel=3)
        usable = available - available % frame
        if at + usable >= 1 << 32:
            raise InputError("the header gives no size, and a wav holds no more than 4 GiB", path, "write it as FLAC")
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # changed here alone, and never read whole
        if second := _RIFF.search(data, at):
            raise joined(path, second.start())
        data[at : at + 4] = struct.pack("<I", usable)
        data[4:8] = struct.pack("<I", at - 4 + usable)
        return data
    if size > available:
        raise InputError(
            f"truncated: {available // frame} of {size // frame} {unit}", path, "replace it by an intact copy"
        )
    if available - size > BEHIND and not _is_chunk(behind, available - size):
        warnings.warn(
            f"{path}: the header counts {size // frame} of {available // frame} {unit}, and no more are read; see "
            "whether the file was written to its end",
            stacklevel=3,
        )
    return None


def _check_behind(path: Path, file: io.BufferedReader, at: int) -> None:
    """Walk over the chunks behind the samples.

    Raises:
        InputError: one of them holds samples too.
    """
    size = path.stat().st_size
    while at + 8 <= size:
        file.seek(at)
        head = file.read(9)
        for shift in (0, 1):  # a byte fills up an odd size, or is left out
            name, length = head[shift : shift + 4], _number(head[shift + 4 : shift + 8])
            if name in (b"RIFF", b"RIFX", b"RF64"):
                raise joined(path, at + shift)
            if name == b"data" and length > 0:
                raise InputError(
                    f"a second data chunk, at byte {at + shift}, which would not be read",
                    path,
                    "convert the file with ffmpeg",
                )
            if _is_chunk(head[shift:], size - at):
                at += shift + 8 + length
                break
        else:
            return


def _is_chunk(head: bytes, room: int) -> bool:
    """Whether a chunk begins there, behind a byte that fills up an odd size or without."""
    return any(
        len(name) == len(size) == 4 and name.isascii() and name.decode().isprintable() and _number(size) <= room
        for name, size in ((head[:4], head[4:8]), (head[1:5], head[5:]))
    )


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _seek_data(file: io.BufferedReader) -> tuple[int | None, str, int]:
    """Go to the size field of the data chunk: bytes a frame, what a frame is, and where that field lies."""
    frame, unit = None, "samples"
    while len(chunk := file.read(4)) == 4:
        at = file.tell()
        if chunk == b"data":
            return frame, unit, at
        size = struct.unpack("<I", file.read(4).ljust(4, b"\0"))[0]
        if chunk == b"fmt ":
            body = file.read(min(size, 14))  # a damaged size may be larger than the memory
            if len(body) >= 14:
                frame = max(1, struct.unpack("<H", body[12:14])[0])
                unit = "samples" if struct.unpack("<H", body[:2])[0] in SAMPLE_TAGS else "blocks"
            file.seek(size - len(body) + size % 2, io.SEEK_CUR)
        else:
            file.seek(size + size % 2, io.SEEK_CUR)
    return None, unit, 0
