"""FLAC files: split joined streams, and correct the number of samples in their headers.

That number is compared with the one of the last frame, without decoding. If they differ, the samples are counted by
decoding (dr_flac of miniaudio).
"""

from __future__ import annotations

import mmap
import re
import warnings
from itertools import pairwise
from pathlib import Path

from ser.audio.formats import damaged

# Marker of the stream, header of the first block (STREAMINFO), and this block (RFC 9639, section 8.2).
HEADER = 4 + 4 + 34
_MARKER = re.compile(rb"fLaC[\0\x80]\0\0\x22")
_SYNC = re.compile(rb"\xff[\xf8\xf9]")
# Rate and bits per sample by the codes of a frame header; for other codes, those of the stream header apply.
_HERTZ = dict(enumerate((88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000), 1))
_BITS = {1: 8, 2: 12, 4: 16, 5: 20, 6: 24, 7: 32}
# The last frame must begin within this many bytes of the end if the header does not limit the size of frames.
_TAIL = 1 << 20
_ZEROS = 4096  # bytes of a block of zeros, with which a recorder or a disk may have filled the file up


def flac_streams(path: Path, data: bytes | mmap.mmap) -> list[bytes] | None:
    """Split a file into streams with correct lengths for libsndfile; None: it can read the file as it is.

    Args:
        path: of the file.
        data: its bytes.

    Raises:
        InputError: truncated or damaged.
    """
    starts = [match.start() for match in _MARKER.finditer(data)]
    if not starts or (starts == [0] and last_sample(data) == _stream_info(data)[2]):
        return None
    return [_with_true_length(path, data[a:b]) for a, b in pairwise([*starts, len(data)])]


def _stream_info(data: bytes | mmap.mmap) -> tuple[int, int, int]:
    """Hz, channels and samples of the header; 0 samples: unknown."""
    # 20 bits of rate, 3 of channels - 1, 5 of bits per sample - 1, 36 of samples.
    packed = int.from_bytes(data[18:26], "big")
    return packed >> 44, (packed >> 41 & 7) + 1, packed & (1 << 36) - 1


def _with_true_length(path: Path, data: bytes) -> bytes:
    """A stream with the true number of samples in its header."""
    import miniaudio

    (rate, _, declared), end = _stream_info(data), last_sample(data)
    if declared == end or not rate:
        return data
    try:
        decoded = miniaudio.flac_read_f32(_with_length(data, 0)).num_frames
    except miniaudio.DecodeError:
        decoded = 0
    if decoded < declared:
        raise damaged(f"truncated: {decoded} of {declared} samples", path)
    if decoded != end:
        raise damaged(f"truncated or damaged behind {decoded} samples", path)
    count = f"counts {declared} of {decoded} samples" if declared else "gives no size"
    warnings.warn(f"{path}: the header {count}; read to the end of the file", stacklevel=5)
    return _with_length(data, decoded)


def _with_length(data: bytes, samples: int) -> bytes:
    changed = int.from_bytes(data[18:26], "big") >> 36 << 36 | samples
    return data[:18] + changed.to_bytes(8, "big") + data[26:]


def last_sample(data: bytes | mmap.mmap) -> int | None:
    """The number of samples up to the end of the last frame, from its header; None: no frame was found."""
    largest = int.from_bytes(data[15:18], "big") or _TAIL
    end = len(data)
    while end > HEADER and not any(data[max(0, end - _ZEROS) : end]):  # behind the frames
        end -= _ZEROS
    begin = max(HEADER, end - largest - _TAIL // 16)
    tail = data[begin : max(begin, end)]
    for match in reversed(list(_SYNC.finditer(tail))):
        if (samples := _frame_end(data[:HEADER], tail[match.start() : match.start() + 16])) is not None:
            return samples
    return None


def _frame_end(stream: bytes, head: bytes) -> int | None:
    """The number of samples up to the end of a frame, from its header (RFC 9639, section 9.1).

    Returns:
        None if it is not a header, or one that contradicts the header of the stream.
    """
    if len(head) < 6 or not (size_code := head[2] >> 4) or head[2] & 15 == 15 or head[3] >> 4 > 10 or head[3] & 1:
        return None
    rate, channels, _ = _stream_info(stream)
    bits = (int.from_bytes(stream[20:22], "big") >> 4 & 31) + 1
    if _HERTZ.get(head[2] & 15, rate) != rate or _BITS.get(head[3] >> 1 & 7, bits) != bits:
        return None
    if (head[3] >> 4) + 1 != channels and not (head[3] >> 4 > 7 and channels == 2):
        return None
    # The number is coded like a character in UTF-8, in up to seven bytes.
    length = 8 - (head[4] ^ 0xFF).bit_length()
    if length == 1:
        return None
    length = max(1, length)
    number = head[4] & (0x7F if length == 1 else 0x7F >> length)
    for byte in head[5 : 4 + length]:
        number = number << 6 | byte & 0x3F
    position = 4 + length
    if size_code in (6, 7):
        extra = size_code - 5
        size = int.from_bytes(head[position : position + extra], "big") + 1
        position += extra
    else:
        size = 192 if size_code == 1 else 576 << size_code - 2 if size_code < 6 else 256 << size_code - 8
    position += {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    crc = 0
    for byte in head[:position]:
        crc ^= byte
        for _ in range(8):
            crc = crc << 1 ^ (0x107 if crc & 0x80 else 0)
    if position >= len(head) or crc != head[position]:
        return None
    # The number counts samples, or frames if all frames but the last have the same size.
    return (number if head[1] & 1 else number * int.from_bytes(stream[8:10], "big")) + size
