"""FLAC files: whole ones by dr_flac (miniaudio), which is faster than libsndfile's decoder, and the streams of a file.

The header's number of samples is compared with that of the last frame, without a sample being
decoded; where they differ, the samples are counted by decoding them.
"""

from __future__ import annotations

import mmap
import re
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np

from ser.audio.kinds import damaged

# The stream's marker, the head of its first block (STREAMINFO) and that block (RFC 9639, section 8.2).
HEADER = 4 + 4 + 34
_MARKER = re.compile(rb"fLaC[\0\x80]\0\0\x22")
_SYNC = re.compile(rb"\xff[\xf8\xf9]")
# Rate and bits a sample by the codes of a frame's header; other codes leave it to the stream's.
_HERTZ = dict(enumerate((88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000), 1))
_BITS = {1: 8, 2: 12, 4: 16, 5: 20, 6: 24, 7: 32}
# Bytes from the end within which the last frame must begin, where the header does not limit its size.
_TAIL = 1 << 20


def read_flac(path: Path) -> tuple[np.ndarray, int] | None:
    """Samples, float32, (samples, channels), and Hz; None for what is no FLAC or not wholly right."""
    import miniaudio

    with path.open("rb") as file:
        head = file.read(HEADER)
        if head[:4] != b"fLaC" or len(head) < HEADER or head[4] & 0x7F:
            return None
        data = head + file.read()
    rate, channels, samples = _stream_info(data)
    if not rate or _MARKER.search(data, HEADER) or last_sample(data) != samples:
        return None
    try:
        found = miniaudio.flac_read_f32(data)
    except miniaudio.DecodeError:
        return None
    # A damaged frame is passed over, which the number of samples shows.
    if (found.sample_rate, found.nchannels, found.num_frames) != (rate, channels, samples):
        return None
    return np.frombuffer(found.samples, np.float32).reshape(-1, channels), rate


def flac_streams(path: Path, data: bytes | mmap.mmap) -> list[bytes] | None:
    """What libsndfile is to read, one after another, each with its right length; None: the file as it is.

    Raises:
        InputError: truncated or damaged.
    """
    starts = [match.start() for match in _MARKER.finditer(data)]
    if not starts or (starts == [0] and last_sample(data) == _stream_info(data)[2]):
        return None
    return [_counted(path, data[a:b]) for a, b in pairwise([*starts, len(data)])]


def _stream_info(data: bytes | mmap.mmap) -> tuple[int, int, int]:
    """Hz, channels and samples by the header, of which 0 is an unknown number."""
    # 20 bits of rate, 3 of channels - 1, 5 of bits a sample - 1, 36 of samples.
    packed = int.from_bytes(data[18:26], "big")
    return packed >> 44, (packed >> 41 & 7) + 1, packed & (1 << 36) - 1


def _counted(path: Path, data: bytes) -> bytes:
    """A stream whose header has the number of samples that there are."""
    import miniaudio

    (rate, _, declared), end = _stream_info(data), last_sample(data)
    if declared == end or not rate:
        return data
    try:
        there = miniaudio.flac_read_f32(_with_length(data, 0)).num_frames
    except miniaudio.DecodeError:
        there = 0
    if there < declared:
        raise damaged(f"truncated: {there} of {declared} samples", path)
    if there != end:
        raise damaged(f"truncated or damaged behind {there} samples", path)
    count = f"counts {declared} of {there} samples" if declared else "gives no size"
    warnings.warn(f"{path}: the header {count}; read to the end of the file", stacklevel=5)
    return _with_length(data, there)


def _with_length(data: bytes, samples: int) -> bytes:
    changed = int.from_bytes(data[18:26], "big") >> 36 << 36 | samples
    return data[:18] + changed.to_bytes(8, "big") + data[26:]


def last_sample(data: bytes | mmap.mmap) -> int | None:
    """How many samples there are up to the end of the last frame, by its header; None: no frame was found."""
    largest = int.from_bytes(data[15:18], "big") or _TAIL
    begin = max(HEADER, len(data) - largest - _TAIL // 16)
    tail = data[begin:]
    for match in reversed(list(_SYNC.finditer(tail))):
        if (end := _frame_end(data[:HEADER], tail[match.start() : match.start() + 16])) is not None:
            return end
    return None


def _frame_end(stream: bytes, head: bytes) -> int | None:
    """The number of the sample behind a frame, from its header (RFC 9639, section 9.1).

    Returns:
        None for what is no header, or one that does not agree with the stream's.
    """
    if len(head) < 6 or not (size_code := head[2] >> 4) or head[2] & 15 == 15 or head[3] >> 4 > 10 or head[3] & 1:
        return None
    rate, channels, _ = _stream_info(stream)
    bits = (int.from_bytes(stream[20:22], "big") >> 4 & 31) + 1
    if _HERTZ.get(head[2] & 15, rate) != rate or _BITS.get(head[3] >> 1 & 7, bits) != bits:
        return None
    if (head[3] >> 4) + 1 != channels and not (head[3] >> 4 > 7 and channels == 2):
        return None
    # The number is written as UTF-8 writes a character, in up to seven bytes.
    length = 8 - (head[4] ^ 0xFF).bit_length()
    if length == 1:
        return None
    length = max(1, length)
    number = head[4] & (0x7F if length == 1 else 0x7F >> length)
    for byte in head[5 : 4 + length]:
        number = number << 6 | byte & 0x3F
    at = 4 + length
    if size_code in (6, 7):
        extra = size_code - 5
        size = int.from_bytes(head[at : at + extra], "big") + 1
        at += extra
    else:
        size = 192 if size_code == 1 else 576 << size_code - 2 if size_code < 6 else 256 << size_code - 8
    at += {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    crc = 0
    for byte in head[:at]:
        crc ^= byte
        for _ in range(8):
            crc = crc << 1 ^ (0x107 if crc & 0x80 else 0)
    if at >= len(head) or crc != head[at]:
        return None
    # Numbers are of the sample, or of the frame where all but the last have the same size.
    return (number if head[1] & 1 else number * int.from_bytes(stream[8:10], "big")) + size
