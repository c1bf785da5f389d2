"""Read an audio file or a stretch of it, and refuse what common readers pass on in silence."""

from __future__ import annotations

import io
import mmap
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser.audio.ffmpeg import INSTALL, FfmpegFile
from ser.audio.flac import flac_streams, read_flac
from ser.audio.kinds import AudioInfo, UnknownFormat, begins_as_audio, check_single, damaged, is_container, what_it_is
from ser.audio.mp3 import behind_tags, is_mp3, mp3_streams
from ser.audio.ogg import ogg_streams
from ser.audio.sox import SoxFile
from ser.audio.wav import PIPED_SIZES, wav_source
from ser.common import InputError, check_regular

if TYPE_CHECKING:
    from soundfile import SoundFile

# More samples than a file can hold: libsndfile's sign for a header without their number.
UNKNOWN_LENGTH = 2**40
# Greatest sample: 32-bit integers written as floats as they are. The power of a spectrum of 2**32 such samples,
# (2**31 * 2**32) ** 2, is still a float32; a greater sample is damage, and makes features that are no numbers.
LARGEST = 2.0**31
# Hz. The greatest is beyond any converter; below the least, a second of speech is some hundred numbers.
RATES = range(1000, 1_000_001)
# Seconds: a sample at the least of these rates. What is shorter may be empty at another rate, and holds no speech.
SHORTEST = 0.001
# Samples of a channel that are read at once.
_BLOCK = 1 << 20


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
    check_regular(path, "put an intact copy there")
    if start == 0 and samples is None and (whole := _whole_flac(path)):
        return whole
    (audio,) = read_blocks(path, start, samples, sys.maxsize)
    return audio


def _whole_flac(path: Path) -> Audio | None:
    with suppress(OSError):
        if found := read_flac(path):
            samples, rate = found
            check_rate(path, rate)
            check_length(path, len(samples), rate)
            return Audio(np.ascontiguousarray(samples.T), rate)
    return None


def read_blocks(path: Path, start: int = 0, samples: int | None = None, block: int = 1 << 18) -> Iterator[Audio]:
    """The same, so many samples at a time, so that a long recording need not be held (but for what the program sox
    reads); errors may come late."""
    path = Path(path)
    with _opened(path) as file:
        at, end = start, start + _stretch(path, file.info, start, samples)
        file.skip(start)
        while at < end:
            data = file.read(min(block, end - at)).T
            if not data.shape[1]:
                raise damaged(f"truncated: {at} of {file.info.num_samples} samples", path)
            check_samples(path, data, at)
            yield Audio(np.ascontiguousarray(data), file.info.sampling_rate)
            at += data.shape[1]


def check_rate(name: Path | str, rate: float) -> None:
    """Refuse a sampling rate that no recording has.

    Raises:
        InputError: it is not among `RATES`.
    """
    if not RATES.start <= rate < RATES.stop:
        fix = f"give a recording at {RATES.start} to {RATES.stop - 1} Hz"
        raise InputError(f"a sampling rate of {rate} Hz", name, fix)


def check_length(name: Path | str, samples: int, rate: float) -> None:
    """Refuse an utterance that is too short to be resampled.

    Raises:
        InputError: it is shorter than `SHORTEST`.
    """
    if samples < SHORTEST * rate:
        what = f"too short: {samples} samples at {rate} Hz, less than {1000 * SHORTEST:g} ms"
        raise InputError(what, name, "replace it by an intact copy, or leave it out")


def check_samples(name: Path | str, samples: np.ndarray, first: int = 0) -> None:
    """Refuse samples of which no power can be computed.

    Args:
        name: of the file, for the error.
        samples: (channels, samples).
        first: number of the first of them.

    Raises:
        InputError: naming the first sample that is no number, or greater than `LARGEST`.
    """
    if samples.size and not (float(samples.min()) >= -LARGEST and float(samples.max()) <= LARGEST):  # false of NaN too
        good = (np.abs(samples) <= LARGEST).all(axis=0)
        index = int(np.argmin(good))
        value = next(v for v in samples[:, index] if not abs(v) <= LARGEST)
        what = f"{value:g}, far beyond full scale (1)" if np.isfinite(value) else "not a number"
        raise damaged(f"sample {first + index} is {what}", name)


def audio_info(path: Path) -> AudioInfo:
    """The values of the header, checked against the size of the file where the format allows it; no sample is decoded.

    Raises:
        InputError: absent, empty, truncated, or no audio format.
    """
    path = Path(path)
    with _opened(path) as file:
        _stretch(path, file.info, 0, None)
        return file.info


class _Libsndfile:
    """The samples of a file by libsndfile: of its only stream, or of several, one behind the other."""

    def __init__(self, path: Path, files: list[SoundFile]) -> None:
        first = files[0]
        kinds = [f"{file.samplerate} Hz, channels: {file.channels}" for file in files]
        if odd := next((kind for kind in kinds if kind != kinds[0]), None):
            raise InputError(f"a recording of {kinds[0]} and one of {odd}", path, "convert each, then join them")
        check_rate(path, first.samplerate)
        self.info = AudioInfo(first.samplerate, sum(file.frames for file in files), first.channels)
        self._files = files
        self._left = files[0].frames

    def skip(self, count: int) -> None:
        """Go on by so many samples. Where a seek is impossible or not exact, what comes before is decoded too."""
        while count > self._left and len(self._files) > 1:
            count -= self._left
            self._next()
        if self._files[0].seekable():
            self._files[0].seek(count, whence=1)
            self._left -= count
            return
        while count and (got := len(self.read(min(count, 1 << 18)))):
            count -= got

    def read(self, count: int) -> np.ndarray:
        """(samples, channels), fewer than asked for where there are no more.

        Memory is taken for what is found, not for what the header promises.
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
def _opened(path: Path) -> Iterator[_Libsndfile | SoxFile | FfmpegFile]:
    """The file, once its header has been found to promise what is there. The content decides, not the name."""
    import soundfile

    check_regular(path, "put an intact copy there")
    try:
        with path.open("rb") as file, ExitStack() as stack:
            reason = ""
            try:
                streams = [stack.enter_context(_sound_file(path, source)) for source in _sources(path, file)]
            except soundfile.LibsndfileError as error:
                reason = error.error_string.rstrip(".")
            yield _by_program(path, reason, stack) if reason else _Libsndfile(path, streams)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", path, "fix that or replace it") from None
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise damaged(f"{what_it_is(path) or 'truncated or damaged'} ({reason})", path) from None


def _sources(path: Path, file: io.BufferedReader) -> list[Any]:
    """What libsndfile is given: the file's number, or else the bytes of each of its streams."""
    if not (size := path.stat().st_size):
        raise damaged("empty file", path)
    with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data:
        if data[:4] == b"RIFF":
            piped = wav_source(path, data)
            return [file.fileno() if piped is None else piped]
        streams = _streams(path, data)
    return [file.fileno()] if streams is None else [io.BytesIO(stream) for stream in streams]


def _streams(path: Path, data: mmap.mmap) -> list[bytes] | None:
    """The streams of a file where libsndfile would not read all that is there; None: it does."""
    if data[:2] == b"\xf0\x7e" and data[3:4] == b"\x01":  # libsndfile reads over its damage, and prints that on stdout
        raise InputError("a MIDI sample dump, which is not read", path, "convert it with sox")
    if is_container(path):
        return None
    start = behind_tags(data)
    if data[start : start + 4] == b"fLaC":
        return flac_streams(path, data)
    if data[:4] == b"OggS":
        return ogg_streams(path, data)
    if is_mp3(data, start) or (what_it_is(path) is None and not begins_as_audio(data) and is_mp3(data, start, 1 << 16)):
        return mp3_streams(path, data)
    check_single(path, data)
    return None


def _sound_file(path: Path, source: Any) -> SoundFile:
    import soundfile

    file = soundfile.SoundFile(source, closefd=False, **(_headerless(path) if isinstance(source, int) else {}))
    if file.frames > UNKNOWN_LENGTH:
        raise InputError("its header has no length", path, "convert it with ffmpeg or sox")
    _check_sizes(path, file.extra_info)
    if file.format == "NIST":
        _check_sphere(path, file.frames)
    if file.format == "MP3" or file.subtype == "OPUS":  # where a seek is not exact; soundfile seeks after every read
        file.seekable = lambda: False
    return file


def _stretch(path: Path, info: AudioInfo, start: int, samples: int | None) -> int:
    """How many samples are to be read."""
    if info.num_samples == 0:
        raise damaged("holds no samples", path)
    check_length(path, info.num_samples, info.sampling_rate)
    count = info.num_samples - start if samples is None else samples
    if start < 0 or count < 1 or start + count > info.num_samples:
        whole = f"{info.num_samples} ({info.num_samples / info.sampling_rate:.3f} s)"
        what = f"samples {start} to {start + count} are asked of a recording of {whole}"
        raise InputError(what, path, "fix start and end")
    return count


def _by_program(path: Path, reason: str, stack: ExitStack) -> SoxFile | FfmpegFile:
    """By sox where it is installed and knows the file, else by ffmpeg; what only ffmpeg reads goes to it at once.

    Args:
        reason: why libsndfile does not read it.
        stack: holds ffmpeg while it decodes.

    Raises:
        InputError: it is no audio; neither is installed, neither knows the file, or it is truncated or damaged.
    """
    container, kind = is_container(path), what_it_is(path)
    if kind and not container:
        raise damaged(f"{kind} ({reason})", path)
    has_ffmpeg = shutil.which("ffmpeg") is not None
    stream: SoxFile | FfmpegFile | None = None
    if not container and (shutil.which("sox") or not has_ffmpeg):
        with suppress(UnknownFormat):
            stream = SoxFile(path)
    if stream is None and (container or has_ffmpeg):
        try:
            stream = FfmpegFile(path, stack)
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
    return stream


def _headerless(path: Path) -> dict[str, Any]:
    """Raw GSM 06.10, the one format that is known by its name: frames of 33 bytes that begin with the four bits 1101.

    Raises:
        InputError: it is something else, or cut within a frame.
    """
    if path.suffix.lower() != ".gsm":
        return {}
    data = np.frombuffer(path.read_bytes(), np.uint8)
    if data[:4].tobytes() == b"RIFF":
        return {}
    if (data[::33] >> 4 != 0xD).any():
        raise damaged(what_it_is(path) or "no GSM 06.10, which its name promises", path)
    if len(data) % 33:
        raise damaged("truncated: it ends within a GSM frame", path)
    return {"samplerate": 8000, "channels": 1, "format": "RAW", "subtype": "GSM610"}


def is_silent(samples: np.ndarray) -> bool:
    """Whether there is no signal: nothing above -100 dB of full scale around the mean."""
    return bool(np.ptp(samples) < 2e-5)


def _check_sizes(path: Path, log: str) -> None:
    """Formats other than RIFF: what libsndfile notes of sizes that the file does not have.

    Raises:
        InputError: the header promises more than there is.
    """
    if "RIFF :" in log:
        return  # `wav_source` has looked, and a wrong size of the whole does no harm
    if "truncated file" in log:  # VOC
        raise damaged("truncated", path)
    for declared, there in re.findall(r" (\d+) \(?should be (\d+)", log):
        if int(there) < int(declared) < PIPED_SIZES[1].start:
            raise damaged(f"truncated: {int(there)} of {int(declared)} bytes", path)


def _check_sphere(path: Path, frames: int) -> None:
    """libsndfile goes by the size of a NIST SPHERE file, whatever its header promises."""
    with path.open("rb") as file:
        found = re.search(rb"\nsample_count -i (\d+)", file.read(1024))
    if found and int(found[1]) > frames:
        raise damaged(f"truncated: {frames} of {int(found[1])} samples", path)
