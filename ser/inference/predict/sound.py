"""The samples of a source at the rate of the model, as training and decoding read them; long ones in windows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from ser.audio import AudioInfo, audio_info, check_length, read_audio, read_blocks, resample, resample_blocks
from ser.common import InputError
from ser.corpora.data_dir import channel_of
from ser.corpora.validation import FRAME
from ser.inference.predict.inputs import Source, local_file

MIX, EACH = "mix", "each"


@dataclass(frozen=True)
class Sound:
    """Samples of a source.

    Attributes:
        windows: samples at the rate of the model, float32, (rows, samples) each; one row, or one a channel.
        channels: of the rows; None where all channels are mixed or a list names one.
        seconds: of all windows.
        sampling_rate: the file's own, in Hz.
        parts: how many windows there are.
    """

    windows: Iterator[np.ndarray]
    channels: list[int | None]
    seconds: float
    sampling_rate: int
    parts: int


@contextmanager
def open_samples(source: Source, channel: str, rate: int, longest: float) -> Iterator[Sound]:
    """Open a source.

    Args:
        channel: "mix": the mean of all channels; "each": every channel by itself; or a number from 0.
        longest: seconds; what is longer comes in equal windows no longer than that, and is never held whole.

    Raises:
        InputError: it cannot be read, when it is opened or in any of its windows; or has no such stretch or channel.
    """
    if source.problem:
        raise InputError(source.problem)
    with ExitStack() as stack:
        stack.enter_context(_named(source))
        path = None if source.audio else stack.enter_context(local_file(source))
        info = _info(source, path)
        first, count = _stretch(source, info)
        rows, channels = _rows(source, channel, info)
        parts = max(1, math.ceil(count / info.sampling_rate / longest))
        if path is None or parts == 1:
            whole = count == info.num_samples
            audio = source.audio or read_audio(path or Path(), *(() if whole else (first, count)))
            own = audio.samples[:, first : first + count] if source.audio else audio.samples
            resampled = np.stack([resample(row, info.sampling_rate, rate) for row in _picked(own, rows)])
            windows = iter(np.array_split(resampled, parts, axis=1))
        else:
            blocks = (_picked(block.samples, rows) for block in read_blocks(path, first, count))
            total = round(count * rate / info.sampling_rate)
            windows = _windows(resample_blocks(blocks, info.sampling_rate, rate), total, parts)
        yield Sound(windows, channels, count / info.sampling_rate, info.sampling_rate, parts)


@contextmanager
def _named(source: Source) -> Iterator[None]:
    """Whatever goes wrong with a file is an error of that file."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"cannot be read ({type(error).__name__}: {error})", source.id, "replace it by an intact copy"
        ) from error


def whole(source: Source, rate: int) -> np.ndarray:
    """All samples of a source, its channels mixed.

    Args:
        source: a file, or a stretch of one.
        rate: in Hz, to which it is resampled.

    Returns:
        float32, (samples,).

    Raises:
        InputError: it cannot be read.
    """
    with open_samples(source, MIX, rate, math.inf) as sound:
        return next(sound.windows)[0]


def _info(source: Source, path: Path | None) -> AudioInfo:
    if source.audio is None:
        return audio_info(path or Path())
    channels, samples = source.audio.samples.shape
    return AudioInfo(source.audio.sampling_rate, samples, channels)


def _stretch(source: Source, info: AudioInfo) -> tuple[int, int]:
    """First sample and number of samples, as when a corpus is prepared."""
    rate, length = info.sampling_rate, info.num_samples
    first = round(source.start * rate)
    last = length if source.end is None else round(source.end * rate)
    if last > length + round(FRAME * rate) or first >= min(last, length):
        raise InputError(
            f"lies between {source.start:g} and {source.end or length / rate:g} s of a recording of "
            f"{length / rate:g} s",
            source.id,
            "fix the times",
        )
    check_length(source.id, min(last, length) - first, rate)
    return first, min(last, length) - first


def _rows(source: Source, channel: str, info: AudioInfo) -> tuple[list[tuple[int, ...]], list[int | None]]:
    """Channels whose mean is a row, for each row; and what the answers to the rows are called by."""
    there = range(info.num_channels)
    if source.num_channels not in (None, len(there)):
        raise InputError(
            f"its list has {source.num_channels} channels, and the file has {len(there)}",
            source.id,
            "make the list again from the file",
        )
    channels = source.channels
    if source.side:
        channels = (channel_of(source.side, info.num_channels) or 0,)
    rows: list[tuple[int, ...]] = [channels or tuple(there)]
    names: list[int | None] = [None]
    if not channels and channel == EACH:
        rows, names = [(number,) for number in there], list(there)
    elif not channels and channel != MIX:
        rows, names = [(int(channel),)], [int(channel)]
    missing = [str(number) for row in rows for number in row if number not in there]
    if missing:
        raise InputError(
            f"has channels 0 to {info.num_channels - 1}, and none is {', '.join(missing)}", source.id, "fix the number"
        )
    return rows, names


def _picked(samples: np.ndarray, rows: list[tuple[int, ...]]) -> np.ndarray:
    """(channels, samples) to (rows, samples)."""
    return np.stack([samples[row[0]] if len(row) == 1 else samples[list(row)].mean(axis=0) for row in rows])


def _windows(blocks: Iterator[np.ndarray], total: int, parts: int) -> Iterator[np.ndarray]:
    """Blocks of any lengths, (rows, samples) each and about `total` samples together, as equal windows."""
    kept: list[np.ndarray] = []
    have = 0
    edges = [total * i // parts for i in range(parts + 1)]
    sizes = [end - start for start, end in pairwise(edges)]
    for block in blocks:
        kept.append(block)
        have += block.shape[1]
        while len(sizes) > 1 and have >= sizes[0]:
            joined = np.concatenate(kept, axis=1)
            yield joined[:, : sizes[0]]
            kept = [joined[:, sizes.pop(0) :]]
            have = kept[0].shape[1]
    yield np.concatenate(kept, axis=1)
