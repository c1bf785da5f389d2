"""Read an audio file whole, and refuse what common readers pass on in silence."""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser.common import InputError

# Programs that write a wav to a pipe put 0 for its size, or the greatest number they can, less some header.
PIPED_SIZES = (range(1), range(0x7FFFEF00, 0x80000001), range(0xFFFFEF00, 0x100000000))
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


def read_audio(path: Path) -> Audio:
    """Read every sample of a file.

    Raises:
        InputError: absent, empty, truncated, no audio format, or a sample that is no number.
    """
    import soundfile

    path = Path(path)
    try:
        source = _wav_source(path)
        with soundfile.SoundFile(source) as file:
            promised, rate = file.frames, file.samplerate
            if promised > UNKNOWN_LENGTH:
                raise InputError(f"{path}: its header does not tell how long it is; convert it with ffmpeg or sox")
            _check_sizes(path, file.extra_info)
            samples = file.read(dtype="float32", always_2d=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, or a link to none; put it there, with an intact copy") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); mend that or replace it") from None
    except soundfile.LibsndfileError as error:
        raise InputError(
            f"{path}: {_what_it_is(path)} ({error.error_string.rstrip('.')}); replace it by an intact copy"
        ) from None
    if len(samples) < promised:
        raise InputError(f"{path}: truncated: {len(samples)} of {promised} samples; replace it by an intact copy")
    if len(samples) == 0:
        raise InputError(f"{path}: holds no samples; replace it by an intact copy")
    finite = np.isfinite(samples)
    if not finite.all():
        index = int(np.argmin(finite.all(axis=1)))
        raise InputError(f"{path}: sample {index} is not a number; replace it by an intact copy")
    return Audio(np.ascontiguousarray(samples.T), rate)


def is_silent(samples: np.ndarray) -> bool:
    """Whether there is no signal: nothing above -100 dB of full scale around the mean."""
    return bool(np.ptp(samples) < 2e-5)


def _wav_source(path: Path) -> Path | io.BytesIO:
    """The path itself, or for a wav of unknown size the bytes with the sizes filled in."""
    with path.open("rb") as file:
        head = file.read(12)
        if not head:
            raise InputError(f"{path}: empty file; replace it by an intact copy")
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return path
        whole = struct.unpack("<I", head[4:8])[0] + 8 == path.stat().st_size
        frame, at = _seek_data(file)
        if frame is None:
            return path
        size = struct.unpack("<I", file.read(4).ljust(4, b"\0"))[0]
        available = path.stat().st_size - file.tell()
    if size == 0 and whole:
        return path  # chunks may follow the empty one, and they are no samples
    if (size == 0 < available or size > available > 0) and any(size in sizes for sizes in PIPED_SIZES):
        warnings.warn(f"{path}: the header gives no size; read to the end of the file", stacklevel=3)
        data = bytearray(path.read_bytes())
        usable = available - available % frame
        data[at : at + 4] = struct.pack("<I", usable)
        del data[at + 4 + usable :]
        data[4:8] = struct.pack("<I", len(data) - 8)
        return io.BytesIO(bytes(data))
    if size > available:
        raise InputError(
            f"{path}: truncated: {available // frame} of {size // frame} samples; replace it by an intact copy"
        )
    return path


def _check_sizes(path: Path, log: str) -> None:
    """Formats other than RIFF: what libsndfile notes of sizes that the file does not have.

    Raises:
        InputError: the header promises more than there is.
    """
    if "RIFF :" in log:
        return  # `_wav_source` has looked, and a wrong size of the whole does no harm
    sizes = [(int(m[1]), int(m[2])) for m in re.finditer(r": (\d+) \(should be (\d+)\)", log)]
    for promised, there in sizes:
        if there < promised < PIPED_SIZES[1].start:
            raise InputError(f"{path}: truncated: {there} of {promised} bytes; replace it by an intact copy")


def _seek_data(file: io.BufferedReader) -> tuple[int | None, int]:
    """Go to the size field of the data chunk: bytes a frame, and where that field lies."""
    frame = None
    while len(chunk := file.read(4)) == 4:
        at = file.tell()
        if chunk == b"data":
            return frame, at
        size = struct.unpack("<I", file.read(4).ljust(4, b"\0"))[0]
        if chunk == b"fmt ":
            body = file.read(size)
            if len(body) >= 14:
                frame = max(1, struct.unpack("<H", body[12:14])[0])
            file.seek(size % 2, io.SEEK_CUR)
        else:
            file.seek(size + size % 2, io.SEEK_CUR)
    return None, 0


_SIGNATURES: list[tuple[str, Callable[[bytes], bool]]] = [
    (
        "a git-lfs pointer, not audio: run `git lfs pull` in the corpus",
        lambda b: b.startswith(b"version https://git-lfs"),
    ),
    ("a PNG picture, not audio", lambda b: b.startswith(b"\x89PNG")),
    ("a JPEG picture, not audio", lambda b: b.startswith(b"\xff\xd8\xff")),
    ("a zip archive, not audio", lambda b: b.startswith(b"PK\x03\x04")),
    ("a gzip file, not audio", lambda b: b.startswith(b"\x1f\x8b")),
    ("a web page, not audio", lambda b: b.lstrip()[:9].lower() in (b"<!doctype", b"<html>")),
    ("a wav with a broken header or of an unknown kind", lambda b: b.startswith((b"RIFF", b"RIFX", b"RF64"))),
    ("a FLAC file that cannot be decoded", lambda b: b.startswith(b"fLaC")),
    ("a NIST SPHERE file, which needs converting with sox first", lambda b: b.startswith(b"NIST_1A")),
    ("text, not audio", lambda b: all(c in b"\t\r\n\x1b" or c >= 32 for c in b)),
]


def _what_it_is(path: Path) -> str:
    head = path.read_bytes()[:512] if path.is_file() else b""
    return next((name for name, test in _SIGNATURES if test(head)), "not a known audio format")
