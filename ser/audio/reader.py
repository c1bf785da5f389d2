"""Read an audio file or a stretch of it, and refuse what common readers pass on in silence."""

from __future__ import annotations

import io
import mmap
import re
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ser.audio.flac import read_flac
from ser.audio.sox import UnknownFormat, sox_info, sox_read
from ser.common import InputError

if TYPE_CHECKING:
    from soundfile import SoundFile

# Programs that write a wav to a pipe put 0 for its size, or the greatest number they can, less some header.
PIPED_SIZES = (range(1), range(0x7FFFEF00, 0x80000001), range(0xFFFFEF00, 0x100000000))
# Format tags of a wav whose frames are samples: PCM, float, A-law, mu-law, extensible. Others (ADPCM, GSM) have blocks.
SAMPLE_TAGS = (1, 3, 6, 7, 0xFFFE)
# Bytes behind the samples of a wav that may be anything, such as a tag.
BEHIND = 1024
# More samples than a file can hold: libsndfile's sign for a header without their number.
UNKNOWN_LENGTH = 2**40


@dataclass(frozen=True)
class Audio:
    """Samples of a file.

    Attributes:
        samples: float32, (channels, samples); full scale is 1, peaks above it are kept.
        sampling_rate: the file's own rate in Hz.
    """

    samples: np.ndarray
    sampling_rate: int

    @property
    def mono(self) -> np.ndarray:
        """Mean of the channels, (samples,)."""
        return self.samples[0] if len(self.samples) == 1 else self.samples.mean(axis=0)


class AudioInfo(NamedTuple):
    """What a header tells: Hz, samples of a channel, channels."""

    sampling_rate: int
    num_samples: int
    num_channels: int


def read_audio(path: Path, start: int = 0, samples: int | None = None) -> Audio:
    """Read every sample of a file, or a stretch of it.

    Args:
        start: first sample, at the file's own rate.
        samples: how many; None: all to the end.

    Raises:
        InputError: absent, empty, truncated, no audio format, a sample that is no number, or a stretch that is not
            wholly within the file.
    """
    path = Path(path)
    if start == 0 and samples is None and (whole := _whole_flac(path)):
        return whole
    try:
        with _opened(path) as file:
            info = _info(file)
            count = _stretch(path, info, start, samples)
            data = _read(file, start, count).T
    except _NotForLibsndfile as error:
        info = _sox_info(path, error)
        count = _stretch(path, info, start, samples)
        data = sox_read(path, info.num_channels, start, samples)
    if data.shape[1] < count:
        raise _cut_short(path, start + data.shape[1], info)
    return _audio(path, data, start, info)


def _whole_flac(path: Path) -> Audio | None:
    with suppress(OSError):
        if found := read_flac(path):
            samples, rate = found
            return Audio(np.ascontiguousarray(samples.T), rate)
    return None


def read_blocks(path: Path, start: int = 0, samples: int | None = None, block: int = 1 << 18) -> Iterator[Audio]:
    """The same, so many samples at a time, so that a long recording need not be held; errors may come late.

    What only the program sox reads comes in one block.
    """
    path = Path(path)
    try:
        with _opened(path) as file:
            info = _info(file)
            at, end = start, start + _stretch(path, info, start, samples)
            _skip(file, start)
            while at < end:
                data = file.read(min(block, end - at), dtype="float32", always_2d=True).T
                if not data.shape[1]:
                    raise _cut_short(path, at, info)
                yield _audio(path, data, at, info)
                at += data.shape[1]
    except _NotForLibsndfile:
        yield read_audio(path, start, samples)


def _audio(path: Path, data: np.ndarray, start: int, info: AudioInfo) -> Audio:
    finite = np.isfinite(data)
    if not finite.all():
        index = start + int(np.argmin(finite.all(axis=0)))
        raise InputError(f"{path}: sample {index} is not a number; replace it by an intact copy")
    return Audio(np.ascontiguousarray(data), info.sampling_rate)


def _cut_short(path: Path, there: int, info: AudioInfo) -> InputError:
    return InputError(f"{path}: truncated: {there} of {info.num_samples} samples; replace it by an intact copy")


def audio_info(path: Path) -> AudioInfo:
    """What the header tells, checked against the size of the file where the format allows it; no sample is decoded.

    Raises:
        InputError: absent, empty, truncated, or no audio format.
    """
    path = Path(path)
    try:
        with _opened(path) as file:
            info = _info(file)
    except _NotForLibsndfile as error:
        info = _sox_info(path, error)
    _stretch(path, info, 0, None)
    return info


class _NotForLibsndfile(Exception):
    """Not in the way of a known wrong file, so that sox may know it."""


@contextmanager
def _opened(path: Path) -> Iterator[SoundFile]:
    """The file, once its header has been found to promise what is there. The content says what it is, not the name."""
    import soundfile

    try:
        source = _wav_source(path)
        with path.open("rb") as stream:
            place = source if isinstance(source, mmap.mmap) else stream.fileno()
            with _checked(path, soundfile.SoundFile(place, closefd=False, **_headerless(path))) as file:
                yield file
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, or a link to none; put it there, with an intact copy") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); mend that or replace it") from None
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        if (kind := _what_it_is(path)) is None:
            raise _NotForLibsndfile(reason) from None
        raise InputError(f"{path}: {kind} ({reason}); replace it by an intact copy") from None


def _checked(path: Path, file: SoundFile) -> SoundFile:
    if file.frames > UNKNOWN_LENGTH:
        raise InputError(f"{path}: its header does not tell how long it is; convert it with ffmpeg or sox")
    _check_sizes(path, file.extra_info)
    if file.format == "NIST":
        _check_sphere(path, file.frames)
    if file.format == "MP3":  # where a seek is not exact, and soundfile seeks after every read
        file.seekable = lambda: False
    return file


def _info(file: SoundFile) -> AudioInfo:
    return AudioInfo(file.samplerate, file.frames, file.channels)


def _read(file: SoundFile, start: int, count: int) -> np.ndarray:
    """(samples, channels)."""
    _skip(file, start)
    return np.asarray(file.read(count, dtype="float32", always_2d=True))


def _skip(file: SoundFile, start: int) -> None:
    """Go on to a sample. Where a seek is impossible or not exact, what comes before is read too."""
    if file.seekable():
        file.seek(start)
        return
    while start and (got := len(file.read(min(start, 1 << 18), dtype="float32", always_2d=True))):
        start -= got


def _stretch(path: Path, info: AudioInfo, start: int, samples: int | None) -> int:
    """How many samples are to be read."""
    if info.num_samples == 0:
        raise InputError(f"{path}: holds no samples; replace it by an intact copy")
    count = info.num_samples - start if samples is None else samples
    if start < 0 or count < 1 or start + count > info.num_samples:
        raise InputError(
            f"{path}: samples {start} to {start + count} are asked of a recording of {info.num_samples} "
            f"({info.num_samples / info.sampling_rate:.3f} s); mend start and end"
        )
    return count


def _sox_info(path: Path, error: _NotForLibsndfile) -> AudioInfo:
    try:
        return AudioInfo(*sox_info(path))
    except UnknownFormat:
        raise InputError(
            f"{path}: not a known audio format ({error}); replace it by an intact copy, or convert it to wav with sox, "
            "which can be told what a file without a header is"
        ) from None


def _headerless(path: Path) -> dict[str, Any]:
    """Raw GSM 06.10, the one kind that its name must tell: frames of 33 bytes that begin with the four bits 1101.

    Raises:
        InputError: it is something else, or cut within a frame.
    """
    if path.suffix.lower() != ".gsm":
        return {}
    data = np.frombuffer(path.read_bytes(), np.uint8)
    if data[:4].tobytes() == b"RIFF":
        return {}
    if (data[::33] >> 4 != 0xD).any():
        kind = _what_it_is(path) or "no GSM 06.10, as its name says"
        raise InputError(f"{path}: {kind}; replace it by an intact copy")
    if len(data) % 33:
        raise InputError(f"{path}: truncated: it ends within a GSM frame; replace it by an intact copy")
    return {"samplerate": 8000, "channels": 1, "format": "RAW", "subtype": "GSM610"}


def is_silent(samples: np.ndarray) -> bool:
    """Whether there is no signal: nothing above -100 dB of full scale around the mean."""
    return bool(np.ptp(samples) < 2e-5)


def _wav_source(path: Path) -> Path | mmap.mmap:
    """The path itself, or for a wav of unknown size a map of its bytes with the sizes filled in."""
    with path.open("rb") as file:
        head = file.read(12)
        if not head:
            raise InputError(f"{path}: empty file; replace it by an intact copy")
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return path
        whole = struct.unpack("<I", head[4:8])[0] + 8 == path.stat().st_size
        frame, unit, at = _seek_data(file)
        if frame is None:
            return path
        size = struct.unpack("<I", file.read(4).ljust(4, b"\0"))[0]
        available = path.stat().st_size - file.tell()
        file.seek(size, io.SEEK_CUR)
        behind = file.read(9)
    if size == 0 and whole:
        return path  # chunks may follow the empty one, and they are no samples
    if (size == 0 < available or size > available > 0) and any(size in sizes for sizes in PIPED_SIZES):
        warnings.warn(f"{path}: the header gives no size; read to the end of the file", stacklevel=3)
        usable = available - available % frame
        if at + usable >= 1 << 32:
            raise InputError(f"{path}: the header gives no size, and a wav holds no more than 4 GiB; write it as FLAC")
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # changed here alone, and never read whole
        data[at : at + 4] = struct.pack("<I", usable)
        data[4:8] = struct.pack("<I", at - 4 + usable)
        return data
    if size > available:
        raise InputError(
            f"{path}: truncated: {available // frame} of {size // frame} {unit}; replace it by an intact copy"
        )
    if available - size > BEHIND and not _is_chunk(behind, available - size):
        warnings.warn(
            f"{path}: the header counts {size // frame} of {available // frame} {unit}, and no more are read; see "
            "whether the file was written to its end",
            stacklevel=3,
        )
    return path


def _is_chunk(head: bytes, room: int) -> bool:
    """Whether a chunk begins there, behind a byte that fills up an odd size or without."""
    return any(
        len(name) == len(size) == 4 and name.isascii() and name.decode().isprintable() and _number(size) <= room
        for name, size in ((head[:4], head[4:8]), (head[1:5], head[5:]))
    )


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _check_sizes(path: Path, log: str) -> None:
    """Formats other than RIFF: what libsndfile notes of sizes that the file does not have.

    Raises:
        InputError: the header promises more than there is.
    """
    if "RIFF :" in log:
        return  # `_wav_source` has looked, and a wrong size of the whole does no harm
    if "truncated file" in log:  # VOC
        raise InputError(f"{path}: truncated; replace it by an intact copy")
    sizes = [(int(m[1]), int(m[2])) for m in re.finditer(r" (\d+) \(?should be (\d+)", log)]
    for promised, there in sizes:
        if there < promised < PIPED_SIZES[1].start:
            raise InputError(f"{path}: truncated: {there} of {promised} bytes; replace it by an intact copy")


def _check_sphere(path: Path, frames: int) -> None:
    """libsndfile goes by the size of a NIST SPHERE file, whatever its header promises."""
    with path.open("rb") as file:
        found = re.search(rb"\nsample_count -i (\d+)", file.read(1024))
    if found and int(found[1]) > frames:
        raise InputError(f"{path}: truncated: {frames} of {int(found[1])} samples; replace it by an intact copy")


def _seek_data(file: io.BufferedReader) -> tuple[int | None, str, int]:
    """Go to the size field of the data chunk: bytes a frame, what a frame is, and where that field lies."""
    frame, unit = None, "samples"
    while len(chunk := file.read(4)) == 4:
        at = file.tell()
        if chunk == b"data":
            return frame, unit, at
        size = struct.unpack("<I", file.read(4).ljust(4, b"\0"))[0]
        if chunk == b"fmt ":
            body = file.read(size)
            if len(body) >= 14:
                frame = max(1, struct.unpack("<H", body[12:14])[0])
                unit = "samples" if struct.unpack("<H", body[:2])[0] in SAMPLE_TAGS else "blocks"
            file.seek(size % 2, io.SEEK_CUR)
        else:
            file.seek(size + size % 2, io.SEEK_CUR)
    return None, unit, 0


_SIGNATURES: list[tuple[str, Callable[[bytes], bool]]] = [
    ("nothing but zeros where a header should be", lambda b: not any(b)),
    (
        "a git-lfs pointer, not audio: run `git lfs pull` in the corpus",
        lambda b: b.startswith(b"version https://git-lfs"),
    ),
    ("a PNG picture, not audio", lambda b: b.startswith(b"\x89PNG")),
    ("a JPEG picture, not audio", lambda b: b.startswith(b"\xff\xd8\xff")),
    ("a GIF picture, not audio", lambda b: b.startswith(b"GIF8")),
    ("a BMP picture, not audio", lambda b: b.startswith(b"BM") and b[6:10] == bytes(4)),
    ("a TIFF picture, not audio", lambda b: b.startswith((b"II*\0", b"MM\0*"))),
    ("a WebP picture, not audio", lambda b: b.startswith(b"RIFF") and b[8:12] == b"WEBP"),
    ("a PDF document, not audio", lambda b: b.startswith(b"%PDF")),
    ("an AVI video, from which ffmpeg takes the sound", lambda b: b.startswith(b"RIFF") and b[8:12] == b"AVI "),
    ("an MP4, M4A or QuickTime file, which ffmpeg converts to wav", lambda b: b[4:8] in (b"ftyp", b"moov")),
    ("a Matroska or WebM file, which ffmpeg converts to wav", lambda b: b.startswith(b"\x1aE\xdf\xa3")),
    ("what macOS keeps beside a file (AppleDouble), not audio", lambda b: b.startswith(b"\0\5\x16\7")),
    ("a zip archive, not audio", lambda b: b.startswith(b"PK\x03\x04")),
    ("a gzip file, not audio", lambda b: b.startswith(b"\x1f\x8b")),
    ("a RAR or 7z archive, not audio", lambda b: b.startswith((b"Rar!", b"7z\xbc\xaf"))),
    ("text in UTF-16, not audio", lambda b: b.startswith((b"\xff\xfe", b"\xfe\xff")) and b"\0" in b),
    ("a web page, not audio", lambda b: b.lstrip()[:9].lower() in (b"<!doctype", b"<html>")),
    ("a wav with a broken header or of an unknown kind", lambda b: b.startswith((b"RIFF", b"RIFX", b"RF64"))),
    ("a FLAC file that cannot be decoded", lambda b: b.startswith(b"fLaC")),
    ("an Ogg file that cannot be decoded", lambda b: b.startswith(b"OggS")),
    (
        "text, not audio",
        lambda b: all(c in b"\t\r\n\x1b" or c >= 32 for c in b) and not b.startswith(b"NIST_1A"),
    ),
]


def _what_it_is(path: Path) -> str | None:
    """The name of something that is no audio, or is damaged; None where it is neither for certain."""
    with path.open("rb") as file:
        head = file.read(512)
    return next((name for name, test in _SIGNATURES if test(head)), None)
