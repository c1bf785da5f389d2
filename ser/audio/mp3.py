"""The streams of an MP3 file, found by walking over its frames.

libsndfile takes the length from the file's first header (Xing, Info) or guesses it from the first frames, and gives
neither what lies behind that nor a second stream. So the frames are counted here, and where the header does not agree
libsndfile is given each stream with a header that does.

Length: a stream whose header names the encoder's delay and padding (LAME, Lavc) has the samples that were encoded. In
any other each frame counts, 1152 samples (576 below 32 kHz), the encoder's delay and padding among them, without the
529 samples of the decoder's own delay at the beginning; ffmpeg and others keep these.
"""

from __future__ import annotations

import mmap
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from ser.audio.kinds import damaged

Bytes = bytes | mmap.mmap

# kbit/s by index, of MPEG-1 and of MPEG-2 and 2.5, layer III; Hz by version (2.5, -, 2, 1) and index.
_RATES = ((11025, 12000, 8000), (), (22050, 24000, 16000), (44100, 48000, 32000))
_KBITS = (
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
)
# The bits of a header that are alike in all frames of a stream: sync, version, layer and sampling rate.
_SAME = 0xFFFE0C00
_MONO = 0xC0
# An empty ID3 tag, by which libsndfile knows an MP3 whatever its first frame is.
_TAG = b"ID3\3\0\0\0\0\0\x0a" + bytes(10)
# As far as a first frame is looked for behind whatever the file begins with.
_SEARCHED = 1 << 16


@dataclass
class _Stream:
    """Frames of one kind, one behind the other.

    Attributes:
        kind: what all their headers have in common.
        header: the frame with the length (Xing, Info, VBRI), which has no samples; b"" where there is none.
        declared: frames by that header; 0 where it has none.
        frames: found.
        parts: where these lie in the file; more than one where something else lies between.
    """

    kind: tuple[int, bool]
    header: bytes = b""
    declared: int = 0
    frames: int = 0
    parts: list[tuple[int, int]] = field(default_factory=list)

    @property
    def samples_per_frame(self) -> int:
        return 1152 if self.kind[0] >> 19 & 3 == 3 else 576


def is_mp3(data: Bytes, start: int, within: int = 1) -> bool:
    """Whether frames of MP3 begin at a byte, or so many behind it."""
    return _first_frame(data, start, within) is not None


def mp3_streams(path: Path, data: Bytes) -> list[bytes] | None:
    """What libsndfile is to read, one after another; None: the file as it is.

    Raises:
        InputError: truncated or damaged.
    """
    streams, regular = _walk(path, data)
    for stream in streams:
        if stream.declared > stream.frames + 1:  # some count the frame of the header too
            there, declared = (n * stream.samples_per_frame for n in (stream.frames, stream.declared))
            raise damaged(f"truncated: {there} of {declared} samples", path)
    if regular and len(streams) == 1 and streams[0].declared == streams[0].frames and _has_xing(streams[0]):
        return None
    return [_TAG + _header(s) + b"".join(data[a:b] for a, b in s.parts) for s in streams if s.frames]


def _walk(path: Path, data: Bytes) -> tuple[list[_Stream], bool]:
    """Every stream, and whether nothing but tags lies before and between the frames."""
    streams: list[_Stream] = []
    at = behind_tags(data)
    first = _first_frame(data, at, 1)
    if first is None:  # then the size of the tag may be wrong too
        begin = 10 if data[:3] == b"ID3" else 0
        first = _first_frame(data, begin, at + _SEARCHED - begin)
    if first is None:
        raise damaged("an MP3 file without a frame that can be read", path)
    regular = first == at and (at == 0 or data[:3] == b"ID3")
    if first != at:
        warnings.warn(f"{path}: {first} bytes before the first frame of MP3 are passed over", stacklevel=4)
    at, new = first, True
    while found := _frame(data, at):
        kind, size = found
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
            tags = behind_tags(data, at)
            following = _first_frame(data, tags, len(data))
            if following is None:
                break
            if following != tags:
                raise damaged(f"damaged: bytes {tags} to {following} are no MP3, between frames that are", path)
            at, new = following, True
    return streams, regular


def _frame(data: Bytes, at: int) -> tuple[tuple[int, bool], int] | None:
    """Kind and bytes of the frame of layer III that begins there; None: none does."""
    head = int.from_bytes(data[at : at + 4], "big")
    version, kbits, rate = head >> 19 & 3, head >> 12 & 15, head >> 10 & 3
    if head >> 21 != 0x7FF or head >> 17 & 3 != 1 or version == 1 or kbits in (0, 15) or rate == 3:
        return None
    size = (144 if version == 3 else 72) * 1000 * _KBITS[version == 3][kbits] // _RATES[version][rate] + (head >> 9 & 1)
    return (head & _SAME, head & _MONO == _MONO), size


def _first_frame(data: Bytes, at: int, within: int) -> int | None:
    """Where the first frame begins that another of its kind, or the end of the file, follows."""
    end = min(len(data), at + within)
    while (at := data.find(b"\xff", at, end)) != -1:
        place = at
        for _ in range(3):
            found = _frame(data, place)
            if found is None:
                break
            kind, behind = found[0], place + found[1]
            if behind > len(data) and place == at:
                break
            place = behind_tags(data, behind)
            if place >= len(data):
                return at
            following = _frame(data, place)
            if following is None or following[0][0] != kind[0]:
                break
        else:
            return at
        at += 1
    return None


def behind_tags(data: Bytes, at: int = 0) -> int:
    """The end of tags (ID3, APE) and zeros that begin there."""
    while at < len(data):
        head = data[at : at + 32]
        if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 0x80:
            size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
            end = at + 10 + size + (10 if head[5] & 0x10 else 0)
            if end > len(data):  # a size that cannot be
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
    """The number of frames by a frame that holds no samples, 0 where it has none; None: it holds samples."""
    place = at + _side(kind)
    name = data[place : place + 4]
    if name in (b"Xing", b"Info"):
        return int.from_bytes(data[place + 8 : place + 12], "big") if data[place + 7] & 1 else 0
    if data[at + 36 : at + 40] == b"VBRI":
        return int.from_bytes(data[at + 50 : at + 54], "big")
    return None


def _side(kind: tuple[int, bool]) -> int:
    """Bytes of a frame before its samples: of its header and side information."""
    first, second = (17, 32) if kind[0] >> 19 & 3 == 3 else (9, 17)
    return 4 + (first if kind[1] else second)


def _has_xing(stream: _Stream) -> bool:
    place = _side(stream.kind)
    return stream.header[place : place + 4] in (b"Xing", b"Info")


def _header(stream: _Stream) -> bytes:
    """A frame with the right length; encoder's delay and padding stay as the stream's own header has them."""
    place = _side(stream.kind)
    count = stream.frames.to_bytes(4, "big")
    own = stream.header
    if _has_xing(stream) and own[place + 7] & 1:
        changed = bytearray(own)
        changed[place + 8 : place + 12] = count
        if own[place + 7] & 2:
            size = len(own) + sum(end - start for start, end in stream.parts)
            changed[place + 12 : place + 16] = size.to_bytes(4, "big")
        return bytes(changed)
    # Neither checksum nor padding, and a bit rate with which there is room enough.
    head = stream.kind[0] | 0x10000 | 9 << 12 | (_MONO if stream.kind[1] else 0)
    frame = bytearray(head.to_bytes(4, "big"))
    found = _frame(bytes(frame), 0)
    assert found is not None
    frame += bytes(found[1] - len(frame))
    frame[place : place + 12] = b"Xing\0\0\0\1" + count
    return bytes(frame)
