"""Read an audio file or a segment of it, and report damage that common readers ignore."""

from __future__ import annotations

import io
import mmap
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser.audio.ffmpeg import INSTALL, FfmpegStream, ffmpeg_stream
from ser.audio.flac import flac_streams
from ser.audio.formats import (
    PIPED_SIZES,
    AudioInfo,
    UnknownFormat,
    begins_as_audio,
    check_container,
    check_no_wav,
    check_single,
    damaged,
    is_container,
    name_of_other_kind,
)
from ser.audio.mp3 import is_mp3, mp3_streams, skip_tags
from ser.audio.ogg import ogg_streams
from ser.audio.sox import SoxFile
from ser.audio.wav import MP3_TAG, SAMPLE_TAGS, codec_of, wav_source
from ser.common import InputError, check_regular

if TYPE_CHECKING:
    from soundfile import SoundFile

# More samples than a file can have: libsndfile returns this for a header without a length.
UNKNOWN_LENGTH = 2**40
# Largest absolute sample: that of 32-bit integers stored as floats without scaling. The power spectrum of 2**32 such
# samples, (2**31 * 2**32) ** 2, is still a float32. Larger samples are damage and give features that are not finite.
LARGEST = 2.0**31
# Samples above are most likely integers that nobody has scaled: recorders and plug-ins exceed full scale by a few dB.
LOUD = 8.0
# Sampling rates in Hz. The upper limit is above any converter; below the lower limit, speech is lost.
RATES = range(1000, 1_000_001)
# Seconds: one sample at the lowest rate. Shorter audio may be empty at another rate, and has no speech.
SHORTEST = 0.001
# Samples per channel that are read at once.
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Audio:
    """The samples of a file.

    Attributes:
        samples: float32, (channels, samples); full scale is 1, higher peaks are kept.
        sampling_rate: of the file, in Hz.
    """

    samples: np.ndarray
    sampling_rate: int

    @property
    def mono(self) -> np.ndarray:
        """Mean of the channels, (samples,)."""
        return self.samples[0] if len(self.samples) == 1 else self.samples.mean(axis=0)


def read_audio(path: Path, start: int = 0, samples: int | None = None) -> Audio:
    """Read all samples of a file, or a segment of it.

    Args:
        path: of the file.
        start: first sample, at the sampling rate of the file.
        samples: number of samples; None: to the end.

    Raises:
        InputError: the file is absent, empty, truncated or not audio, has a sample that is not finite, or does not
            contain the whole segment.
    """
    (audio,) = read_blocks(path, start, samples, sys.maxsize)
    return audio


def read_blocks(path: Path, start: int = 0, samples: int | None = None, block: int = 1 << 18) -> Iterator[Audio]:
    """Read a file in blocks, so that a long recording is never in memory as a whole (except for files read by sox).

    Args:
        path: of the file.
        start: first sample, at the sampling rate of the file.
        samples: number of samples; None: to the end.
        block: samples per block.

    Raises:
        InputError: see `read_audio`; it may be raised after some blocks.
    """
    path = Path(path)
    with _opened(path) as file:
        at, end = start, start + _segment_length(path, file.info, start, samples)
        file.skip(start)
        while at < end:
            data = file.read(min(block, end - at)).T
            if not data.shape[1]:
                raise damaged(f"truncated: {at} of {file.info.num_samples} samples", path)
            check_samples(path, data, at)
            yield Audio(np.ascontiguousarray(data), file.info.sampling_rate)
            at += data.shape[1]


def check_rate(name: Path | str, rate: float) -> None:
    """Check that a sampling rate is plausible.

    Args:
        name: of the file, for the error.
        rate: in Hz.

    Raises:
        InputError: it is not in `RATES`.
    """
    if not isinstance(rate, int | float | np.number) or not RATES.start <= rate < RATES.stop:
        fix = f"give a recording at {RATES.start} to {RATES.stop - 1} Hz"
        raise InputError(f"a sampling rate of {rate} Hz", name, fix)


def check_length(name: Path | str, samples: int, rate: float) -> None:
    """Check that an utterance is long enough to be resampled.

    Args:
        name: of the file, for the error.
        samples: number of samples.
        rate: in Hz.

    Raises:
        InputError: it is shorter than `SHORTEST`.
    """
    if samples < SHORTEST * rate:
        what = f"too short: {samples} samples at {rate} Hz, less than {1000 * SHORTEST:g} ms"
        raise InputError(what, name, "replace it by an intact copy, or leave it out")


def check_samples(name: Path | str, samples: np.ndarray, first: int = 0) -> None:
    """Check that samples are finite and not above `LARGEST`, so that their power can be computed.

    Samples above `LOUD` are kept, with a warning.

    Args:
        name: of the file, for the error.
        samples: (channels, samples).
        first: number of the first sample in the file.

    Raises:
        InputError: a sample is not; the message has its number.
    """
    low, high = (float(samples.min()), float(samples.max())) if samples.size else (0.0, 0.0)
    if not (low >= -LARGEST and high <= LARGEST):  # NaN fails as well
        valid = (np.abs(samples) <= LARGEST).all(axis=0)
        index = int(np.argmin(valid))
        value = next(v for v in samples[:, index] if not abs(v) <= LARGEST)
        what = "not a number" if np.isnan(value) else f"{value:g}, far beyond full scale (1)"
        raise damaged(f"sample {first + index} is {what}", name)
    if max(-low, high) > LOUD:
        unscaled = "Integers stored as floats must be divided by their full scale, such as 32768"
        warnings.warn(f"{name}: samples far above full scale (1). {unscaled}", stacklevel=4)


def audio_info(path: Path) -> AudioInfo:
    """Read the header, and compare it with the size of the file if the format allows it; no samples are decoded.

    Raises:
        InputError: the file is absent, empty, truncated or not audio.
    """
    path = Path(path)
    with _opened(path) as file:
        _segment_length(path, file.info, 0, None)
        return file.info


class _Libsndfile:
    """A file that libsndfile decodes: one stream, or several in sequence."""

    def __init__(self, path: Path, files: list[SoundFile]) -> None:
        first = files[0]
        kinds = [f"{file.samplerate} Hz, channels: {file.channels}" for file in files]
        if other := next((kind for kind in kinds if kind != kinds[0]), None):
            raise InputError(f"a recording of {kinds[0]} and one of {other}", path, "convert each, then join them")
        check_rate(path, first.samplerate)
        self.info = AudioInfo(first.samplerate, sum(file.frames for file in files), first.channels)
        self._files = files
        self._left = files[0].frames

    def skip(self, count: int) -> None:
        """Skip samples; they are decoded if the stream has no exact seek."""
        while count > self._left and len(self._files) > 1:
            count -= self._left
            self._next()
        if self._files[0].seekable():
            self._files[0].seek(count, whence=1)
            self._left -= count
            return
        while count and (skipped := len(self.read(min(count, 1 << 18)))):
            count -= skipped

    def read(self, count: int) -> np.ndarray:
        """Read up to `count` samples, (samples, channels); fewer at the end.

        Memory is allocated for the samples that exist, not for those in the header.
        """
        parts: list[np.ndarray] = []
        while count:
            if not self._left and len(self._files) > 1:
                self._next()
            data = self._files[0].read(min(count, self._left, _BLOCK), dtype="float32", always_2d=True)
            parts.append(data)
            if not len(data):
                break
            self._left -= len(data)
            count -= len(data)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _next(self) -> None:
        self._files = self._files[1:]
        self._left = self._files[0].frames


@contextmanager
def _opened(path: Path) -> Iterator[_Libsndfile | SoxFile | FfmpegStream]:
    """Open a file with the decoder for its content, and compare its header with its size."""
    import soundfile

    check_regular(path, "put an intact copy there")
    try:
        with path.open("rb") as file, ExitStack() as stack:
            reason = "not for libsndfile"
            try:
                streams = [stack.enter_context(_sound_file(path, source)) for source in _sources(path, file)]
            except soundfile.LibsndfileError as error:
                reason, streams = error.error_string.rstrip("."), []
            yield _Libsndfile(path, streams) if streams else _open_by_program(path, reason, stack)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", path, "fix that or replace it") from None
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise damaged(f"{name_of_other_kind(path) or 'truncated or damaged'} ({reason})", path) from None


def _sources(path: Path, file: io.BufferedReader) -> list[Any]:
    """The inputs of libsndfile: the file descriptor, or the bytes of each stream; none if the file is for ffmpeg."""
    if not (size := path.stat().st_size):
        raise damaged("empty file", path)
    with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data:
        if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
            piped = wav_source(path, data)
            return [] if codec_of(data) == MP3_TAG else [file.fileno() if piped is None else piped]
        streams = _streams(path, data)
    return [file.fileno()] if streams is None else [io.BytesIO(stream) for stream in streams]


def _streams(path: Path, data: mmap.mmap) -> list[bytes] | None:
    """The streams of a file that libsndfile would not read completely; None: it does; []: the file is for ffmpeg."""
    if data[:2] == b"\xf0\x7e" and data[3:4] == b"\x01":  # libsndfile ignores damage in it, and prints to stdout
        raise InputError("a MIDI sample dump, which is not read", path, "convert it with sox")
    if is_container(path):
        return []
    start = skip_tags(data)
    if data[start : start + 4] == b"fLaC":
        return flac_streams(path, data)
    if data[:4] == b"OggS":
        check_no_wav(path, data)
        return ogg_streams(path, data)
    is_known = begins_as_audio(data) or name_of_other_kind(path) is not None
    if is_mp3(data, start, 1 if is_known else 1 << 16):
        check_no_wav(path, data)
        return mp3_streams(path, data)
    check_single(path, data)
    return None


def _sound_file(path: Path, source: Any) -> SoundFile:
    import soundfile

    file = soundfile.SoundFile(source, closefd=False, **(_gsm_options(path) if isinstance(source, int) else {}))
    if file.frames > UNKNOWN_LENGTH:
        raise InputError("its header has no length", path, "convert it with ffmpeg or sox")
    _check_sizes(path, file.extra_info)
    if file.format == "NIST":
        _check_sphere(path, file.frames)
    if file.format == "MP3" or file.subtype == "OPUS":  # seeks are not exact, and soundfile seeks after every read
        file.seekable = lambda: False
    return file


def _segment_length(path: Path, info: AudioInfo, start: int, samples: int | None) -> int:
    """Check that a segment is within the file; return its number of samples."""
    if info.num_samples == 0:
        raise damaged("holds no samples", path)
    check_length(path, info.num_samples, info.sampling_rate)
    count = info.num_samples - start if samples is None else samples
    if start < 0 or count < 1 or start + count > info.num_samples:
        length = f"{info.num_samples} ({info.num_samples / info.sampling_rate:.3f} s)"
        what = f"samples {start} to {start + count} are asked of a recording of {length}"
        raise InputError(what, path, "fix start and end")
    return count


def _open_by_program(path: Path, reason: str, stack: ExitStack) -> SoxFile | FfmpegStream:
    """Open a file with sox, if that is installed and knows the format, otherwise with ffmpeg.

    Formats that only ffmpeg reads are opened with ffmpeg directly.

    Args:
        path: of the file.
        reason: why libsndfile does not read it.
        stack: stops ffmpeg when it is closed.

    Raises:
        InputError: it is not audio, truncated or damaged; or neither program is installed or knows the format.
    """
    container, kind = _is_for_ffmpeg(path), name_of_other_kind(path)
    if kind and not container:
        raise damaged(f"{kind} ({reason})", path)
    has_ffmpeg = shutil.which("ffmpeg") is not None
    stream: SoxFile | FfmpegStream | None = None
    if not container and (shutil.which("sox") or not has_ffmpeg):
        with suppress(UnknownFormat):
            stream = SoxFile(path)
    if stream is None and (container or has_ffmpeg):
        try:
            stream = stack.enter_context(ffmpeg_stream(path))
        except UnknownFormat as error:
            if kind:
                raise damaged(f"{kind}, in which ffmpeg finds no sound ({error})", path) from None
    if stream is None:
        raise InputError(
            f"not a known audio format ({reason})",
            path,
            f"replace it by an intact copy, install ffmpeg ({INSTALL}), or convert it to wav with sox, whose options "
            "describe a file without a header",
        )
    check_rate(path, stream.info.sampling_rate)
    if isinstance(stream, FfmpegStream):
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            (ogg_streams if data[:4] == b"OggS" else check_container)(path, data)
    return stream


def _is_for_ffmpeg(path: Path) -> bool:
    """Whether ffmpeg is the program for a file, of a kind that it has in common with libsndfile."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    return (
        is_container(path)
        or codec_of(head) not in (None, *SAMPLE_TAGS)
        or (head[:4] == b"OggS" and b"\x7fFLAC" in head[:512])
    )


def _gsm_options(path: Path) -> dict[str, Any]:
    """Options for raw GSM 06.10, the only format that is known by its suffix; {} for other files.

    It has frames of 33 bytes that begin with the four bits 1101.

    Raises:
        InputError: the file is not GSM, or truncated within a frame.
    """
    if path.suffix.lower() != ".gsm":
        return {}
    data = np.frombuffer(path.read_bytes(), np.uint8)
    if data[:4].tobytes() == b"RIFF":
        return {}
    if (data[::33] >> 4 != 0xD).any():
        raise damaged(name_of_other_kind(path) or "no GSM 06.10, which its name promises", path)
    if len(data) % 33:
        raise damaged("truncated: it ends within a GSM frame", path)
    return {"samplerate": 8000, "channels": 1, "format": "RAW", "subtype": "GSM610"}


def is_silent(samples: np.ndarray) -> bool:
    """Whether samples are silent: within -100 dB of full scale around their mean."""
    return bool(np.ptp(samples) < 2e-5)


def _check_sizes(path: Path, log: str) -> None:
    """Check the sizes that libsndfile logs for formats other than RIFF.

    Raises:
        InputError: the header has a larger size than the file.
    """
    if "RIFF :" in log:
        return  # `wav_source` has checked it; a wrong size of the RIFF chunk is harmless
    if "truncated file" in log:  # VOC
        raise damaged("truncated", path)
    for declared, actual in re.findall(r" (\d+) \(?should be (\d+)", log):
        if int(actual) < int(declared) < PIPED_SIZES[1].start:
            raise damaged(f"truncated: {int(actual)} of {int(declared)} bytes", path)


def _check_sphere(path: Path, frames: int) -> None:
    """Compare the header of a NIST SPHERE file with its size, which libsndfile does not do."""
    with path.open("rb") as file:
        count = re.search(rb"\nsample_count -i (\d+)", file.read(1024))
    if count and int(count[1]) > frames:
        raise damaged(f"truncated: {frames} of {int(count[1])} samples", path)
