"""Check the chunks of a wav file (RIFF): missing or wrong sizes, and chunks after the samples."""

from __future__ import annotations

import mmap
import warnings
from pathlib import Path

from ser.audio.formats import PIPED_SIZES, RIFF, damaged, joined
from ser.common import InputError

# Format tags with one frame per sample: PCM, float, A-law, mu-law, extensible. Others (ADPCM, GSM) have blocks.
SAMPLE_TAGS = (1, 3, 6, 7, 0xFFFE)
MP3_TAG = 0x55  # libsndfile does not know the length of such a file
# Bytes after the samples that may have any content, such as a tag.
TRAILING_BYTES = 1024


def wav_source(path: Path, wav: mmap.mmap) -> mmap.mmap | None:
    """Check a wav; if its size is unknown, return its bytes with the sizes filled in; None: read the file as it is.

    Args:
        path: of the file.
        wav: its bytes, which begin with RIFF.

    Raises:
        InputError: it is truncated, or has more than one recording or data chunk.
    """
    frame, unit, at = _find_data(wav)
    if wav[8:12] != b"WAVE" or frame is None:
        return None
    size = _number(wav[at : at + 4])
    available = max(0, len(wav) - at - 4)
    end = at + 4 + size
    _check_trailing_chunks(path, wav, end)
    if size == 0 and _number(wav[4:8]) + 8 == len(wav):
        return None  # chunks after the empty data chunk are not samples
    if (size == 0 < available or size > available > 0) and any(size in sizes for sizes in PIPED_SIZES):
        warnings.warn(f"{path}: the header gives no size; read to the end of the file", stacklevel=3)
        usable = available - available % frame
        if at + usable >= 1 << 32:
            raise InputError("the header gives no size, and a wav holds no more than 4 GiB", path, "write it as FLAC")
        if second := RIFF.search(wav, at):
            raise joined(path, second.start())
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # copy on write: only changed pages are copied
        data[at : at + 4] = usable.to_bytes(4, "little")
        data[4:8] = (at - 4 + usable).to_bytes(4, "little")
        return data
    if size > available:
        raise damaged(f"truncated: {available // frame} of {size // frame} {unit}", path)
    if available - size > TRAILING_BYTES and not _is_chunk(wav[end : end + 9], available - size):
        warnings.warn(
            f"{path}: the header counts {size // frame} of {available // frame} {unit}, and no more are read; see "
            "whether the file was written to its end",
            stacklevel=3,
        )
    return None


def codec_of(wav: mmap.mmap | bytes) -> int | None:
    """The format tag of a wav, by its first bytes; None: the file is none, or has no tag before its samples."""
    if wav[:4] != b"RIFF" or wav[8:12] != b"WAVE":
        return None
    at = 12
    while len(name := wav[at : at + 4]) == 4 and name != b"data":
        size = _number(wav[at + 4 : at + 8])
        if name == b"fmt ":
            return _number(wav[at + 8 : at + 10])
        at += 8 + size + size % 2
    return None


def _check_trailing_chunks(path: Path, wav: mmap.mmap, at: int) -> None:
    """Check the chunks after the samples.

    Raises:
        InputError: one of them has samples too.
    """
    while at + 8 <= len(wav):
        head = wav[at : at + 9]
        for shift in (0, 1):  # an odd size is padded by a byte, or is not
            name, length = head[shift : shift + 4], _number(head[shift + 4 : shift + 8])
            if name in (b"RIFF", b"RIFX", b"RF64"):
                raise joined(path, at + shift)
            if name == b"data" and length > 0:
                what = f"a second data chunk, at byte {at + shift}, which would not be read"
                raise InputError(what, path, "convert the file with ffmpeg")
            if _is_chunk(head[shift:], len(wav) - at):
                at += shift + 8 + length
                break
        else:
            return


def _is_chunk(head: bytes, available: int) -> bool:
    """Whether a chunk begins here, or after one byte of padding."""
    return any(
        len(name) == len(size) == 4 and name.isascii() and name.decode().isprintable() and _number(size) <= available
        for name, size in ((head[:4], head[4:8]), (head[1:5], head[5:]))
    )


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _find_data(wav: mmap.mmap) -> tuple[int | None, str, int]:
    """Bytes per frame, kind of frames, and position of the size of the data chunk; None as first if there is none."""
    frame, unit, at = None, "samples", 12
    while len(name := wav[at : at + 4]) == 4:
        if name == b"data":
            return frame, unit, at + 4
        size = _number(wav[at + 4 : at + 8])
        body = wav[at + 8 : at + 8 + min(size, 14)]
        if name == b"fmt " and len(body) == 14:
            frame = max(1, _number(body[12:]))
            unit = "samples" if _number(body[:2]) in SAMPLE_TAGS else "blocks"
        at += 8 + size + size % 2
    return None, unit, 0
