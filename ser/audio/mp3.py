"""Find the streams of an MP3 file by reading all its frame headers.

libsndfile takes the length from the first header (Xing, Info) or guesses it from the first frames, and ignores later
samples and streams. Therefore the frames are counted here. If the header is wrong or absent, libsndfile gets each
stream with a correct header.

Length: a stream whose header has delay and padding of the encoder (LAME, Lavc) has the samples that were encoded. In
other streams each frame counts 1152 samples (576 below 32 kHz), including delay and padding of the encoder, without the
529 samples of the delay of the decoder at the beginning; ffmpeg and others keep these.
"""

from __future__ import annotations

import mmap
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from ser.audio.formats import damaged

Bytes = bytes | mmap.mmap

# Hz by version (2.5, -, 2, 1) and index; kbit/s by index, of MPEG-2 and 2.5, and of MPEG-1, layer III.
_RATES = ((11025, 12000, 8000), (), (22050, 24000, 16000), (44100, 48000, 32000))
_KBITS = (
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
)
# Header bits that are the same in all frames of a stream: sync, version, layer and sampling rate.
_SAME = 0xFFFE0C00
_MONO = 0xC0
# An empty ID3 tag, by which libsndfile recognises an MP3 with any first frame.
_TAG = b"ID3\3\0\0\0\0\0\x0a" + bytes(10)
# Bytes within which the first frame is searched for after other data.
_SEARCHED = 1 << 16


@dataclass
class _Stream:
    """Consecutive frames of one kind.

    Attributes:
        kind: the header bits that all frames share, and whether they are mono.
        header: the frame with the length (Xing, Info, VBRI), which has no samples; b"" if there is none.
        declared: number of frames in this header; 0 if it has none.
        frames: number of frames in the file.
        parts: (start, end) of the frames in the file; several if tags are between them.
    """

    kind: tuple[int, bool]
    header: bytes = b""
    declared: int = 0
    frames: int = 0
    parts: list[tuple[int, int]] = field(default_factory=list)


def is_mp3(data: Bytes, start: int, within: int = 1) -> bool:
    """Whether MP3 frames begin within some bytes.

    Args:
        data: of the file.
        start: first byte at which they may begin.
        within: number of bytes at which they may begin.
    """
    return _first_frame(data, start, within) is not None


def mp3_streams(path: Path, data: Bytes) -> list[bytes] | None:
    """Split a file into streams with correct headers for libsndfile; None: it can read the file as it is.

    Args:
        path: of the file.
        data: its bytes.

    Raises:
        InputError: truncated or damaged.
    """
    streams, regular = _find_streams(path, data)
    for stream in streams:
        if stream.declared > stream.frames + 1:  # some count the frame of the header too
            size = 1152 if stream.kind[0] >> 19 & 3 == 3 else 576
            raise damaged(f"truncated: {stream.frames * size} of {stream.declared * size} samples", path)
    if regular and len(streams) == 1 and streams[0].declared == streams[0].frames and _has_xing(streams[0]):
        return None
    return [_TAG + _header(s) + b"".join(data[a:b] for a, b in s.parts) for s in streams if s.frames]


def _find_streams(path: Path, data: Bytes) -> tuple[list[_Stream], bool]:
    """Find all streams, and whether the file begins with frames or with an ID3 tag followed by frames."""
    streams: list[_Stream] = []
    at = skip_tags(data)
    first = _first_frame(data, at, 1)
    if first is None:  # the size of the tag may be wrong
        begin = 10 if data[:3] == b"ID3" else 0
        first = _first_frame(data, begin, at + _SEARCHED - begin)
    if first is None:
        raise damaged("an MP3 file without a frame that can be read", path)
    regular = first == at and (at == 0 or data[:3] == b"ID3")
    if first != at:
        warnings.warn(f"{path}: {first} bytes before the first frame of MP3 are skipped", stacklevel=4)
    at, new = first, True
    while frame := _frame(data, at):
        kind, size = frame
        if at + size > len(data):
            raise damaged("truncated: it ends within a frame of MP3", path)
        header = _length_header(data, at, kind)
        stream = streams[-1] if streams else None
        full = stream is not None and 0 < stream.declared == stream.frames
        if stream is None or new or header is not None or full or kind != stream.kind:
            stream = _Stream(kind)
            streams.append(stream)
            if header is not None:
                stream.header, stream.declared = data[at : at + size], header
        if header is None:
            stream.frames += 1
            if stream.parts and stream.parts[-1][1] == at:
                stream.parts[-1] = stream.parts[-1][0], at + size
            else:
                stream.parts.append((at, at + size))
        at += size
        new = False
        if _frame(data, at) is None:
            tags_end = skip_tags(data, at)
            following = _first_frame(data, tags_end, len(data))
            if following is None:
                break
            if following != tags_end:
                raise damaged(f"damaged: bytes {tags_end} to {following} are no MP3, between frames that are", path)
            at, new = following, True
    return streams, regular


def _frame(data: Bytes, at: int) -> tuple[tuple[int, bool], int] | None:
    """Kind and size in bytes of the layer III frame that begins at a byte; None if none does."""
    head = int.from_bytes(data[at : at + 4], "big")
    version, kbits, rate = head >> 19 & 3, head >> 12 & 15, head >> 10 & 3
    if head >> 21 != 0x7FF or head >> 17 & 3 != 1 or version == 1 or kbits in (0, 15) or rate == 3:
        return None
    size = (144 if version == 3 else 72) * 1000 * _KBITS[version == 3][kbits] // _RATES[version][rate] + (head >> 9 & 1)
    return (head & _SAME, head & _MONO == _MONO), size


def _first_frame(data: Bytes, at: int, within: int) -> int | None:
    """Position of the first frame that is followed by others of its kind or by the end of the file."""
    end = min(len(data), at + within)
    while (at := data.find(b"\xff", at, end)) != -1:
        position = at
        for _ in range(3):
            frame = _frame(data, position)
            if frame is None:
                break
            kind, frame_end = frame[0], position + frame[1]
            if frame_end > len(data) and position == at:
                break
            position = skip_tags(data, frame_end)
            if position >= len(data):
                return at
            following = _frame(data, position)
            if following is None or following[0][0] != kind[0]:
                break
        else:
            return at
        at += 1
    return None


def skip_tags(data: Bytes, at: int = 0) -> int:
    """Position after any tags (ID3, APE) and zeros that begin at a byte."""
    while at < len(data):
        head = data[at : at + 32]
        if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 0x80:
            size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
            end = at + 10 + size + (10 if head[5] & 0x10 else 0)
            if end > len(data):  # an impossible size
                return at + 10
        elif head[:3] == b"TAG":
            end = at + 128
        elif head[:8] == b"APETAGEX":
            size = int.from_bytes(head[12:16], "little")
            is_header = int.from_bytes(head[20:24], "little") >> 29 & 1
            end = at + 32 + (size if is_header else 0)
            if end > len(data):
                return at + 32
        elif head[:1] == b"\0":
            match = re.compile(rb"\0*").match(data, at)
            end = match.end() if match else at
        else:
            return at
        at = end
    return at


def _length_header(data: Bytes, at: int, kind: tuple[int, bool]) -> int | None:
    """Number of frames in a frame that is a header, 0 if it has none; None if it is a frame with samples."""
    position = at + _side_bytes(kind)
    name = data[position : position + 4]
    if name in (b"Xing", b"Info"):
        return int.from_bytes(data[position + 8 : position + 12], "big") if data[position + 7] & 1 else 0
    if data[at + 36 : at + 40] == b"VBRI":
        return int.from_bytes(data[at + 50 : at + 54], "big")
    return None


def _side_bytes(kind: tuple[int, bool]) -> int:
    """Bytes of header and side information, before the samples of a frame."""
    mono, stereo = (17, 32) if kind[0] >> 19 & 3 == 3 else (9, 17)
    return 4 + (mono if kind[1] else stereo)


def _has_xing(stream: _Stream) -> bool:
    position = _side_bytes(stream.kind)
    return stream.header[position : position + 4] in (b"Xing", b"Info")


def _header(stream: _Stream) -> bytes:
    """A header frame with the correct length; delay and padding of the encoder stay as in the header of the stream."""
    position = _side_bytes(stream.kind)
    count = stream.frames.to_bytes(4, "big")
    header = bytearray(stream.header)
    if _has_xing(stream) and header[position + 7] & 1:
        header[position + 8 : position + 12] = count
        if header[position + 7] & 2:
            size = len(header) + sum(end - start for start, end in stream.parts)
            header[position + 12 : position + 16] = size.to_bytes(4, "big")
        return bytes(header)
    # A new frame without checksum and padding, at a bit rate whose frames are long enough.
    head = stream.kind[0] | 0x10000 | 9 << 12 | (_MONO if stream.kind[1] else 0)
    new = bytearray(head.to_bytes(4, "big"))
    frame = _frame(bytes(new), 0)
    assert frame is not None
    new += bytes(frame[1] - len(new))
    new[position : position + 12] = b"Xing\0\0\0\1" + count
    return bytes(new)
