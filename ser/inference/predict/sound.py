"""The samples of a source at the sampling rate of the model; long recordings come in windows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
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
class SampleWindows:
    """Samples of a source.

    Attributes:
        windows: samples at the rate of the model, float32, (rows, samples) each; one row, or one per channel.
        channels: numbers of the rows' channels; None if channels are mixed or a list names the channel.
        seconds: of all windows together.
        sampling_rate: of the file, in Hz.
        parts: number of windows.
    """

    windows: Iterator[np.ndarray]
    channels: list[int | None]
    seconds: float
    sampling_rate: int
    parts: int


@contextmanager
def open_samples(source: Source, channel: str, rate: int, longest: float) -> Iterator[SampleWindows]:
    """Open a source.

    Args:
        channel: "mix": the mean of all channels; "each": every channel by itself; or a number from 0.
        longest: seconds; a longer recording comes in equal windows no longer than that, in bounded memory.

    Raises:
        InputError: it cannot be read, when it is opened or in any of its windows; or has no such segment or channel.
    """
    if source.problem:
        raise InputError(source.problem)
    try:
        with nullcontext() if source.audio else local_file(source) as path:
            info = _info(source, path)
            first, count = _segment_bounds(source, info)
            rows, channels = _rows(source, channel, info)
            parts = max(1, math.ceil(count / info.sampling_rate / longest))
            if path is None or parts == 1:
                segment = () if count == info.num_samples else (first, count)
                audio = source.audio or read_audio(path or Path(), *segment)
                samples = audio.samples[:, first : first + count] if source.audio else audio.samples
                resampled = np.stack([resample(row, info.sampling_rate, rate) for row in _mix_rows(samples, rows)])
                windows = iter(np.array_split(resampled, parts, axis=1))
            else:
                blocks = (_mix_rows(block.samples, rows) for block in read_blocks(path, first, count))
                total = round(count * rate / info.sampling_rate)
                edges = [total * i // parts for i in range(parts)]  # the last window takes what is left
                sizes = [end - start for start, end in pairwise(edges)]
                windows = cut_blocks(resample_blocks(blocks, info.sampling_rate, rate), sizes)
            yield SampleWindows(windows, channels, count / info.sampling_rate, info.sampling_rate, parts)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"cannot be read ({type(error).__name__}: {error})", source.id, "replace it by an intact copy"
        ) from error


def read_mono(source: Source, rate: int) -> np.ndarray:
    """All samples of a source, its channels mixed.

    Args:
        source: a file, or a segment of one.
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


def _segment_bounds(source: Source, info: AudioInfo) -> tuple[int, int]:
    """First sample and number of samples, as when a corpus is prepared."""
    rate, length = info.sampling_rate, info.num_samples
    first = round(source.start * rate)
    last = length if source.end is None else round(source.end * rate)
    if last > length + round(FRAME * rate) or first >= min(last, length):
        end, seconds = source.end or length / rate, length / rate
        what = f"lies between {source.start:g} and {end:g} s of a recording of {seconds:g} s"
        raise InputError(what, source.id, "fix the times")
    check_length(source.id, min(last, length) - first, rate)
    return first, min(last, length) - first


def _rows(source: Source, channel: str, info: AudioInfo) -> tuple[list[tuple[int, ...]], list[int | None]]:
    """For each row of samples, the channels whose mean it is, and its number in the output."""
    available = range(info.num_channels)
    if source.num_channels not in (None, len(available)):
        what = f"its list has {source.num_channels} channels, and the file has {len(available)}"
        raise InputError(what, source.id, "make the list again from the file")
    channels = (channel_of(source.side, info.num_channels) or 0,) if source.side else source.channels
    rows: list[tuple[int, ...]] = [channels or tuple(available)]
    numbers: list[int | None] = [None]
    if not channels and channel != MIX:
        chosen = available if channel == EACH else [int(channel)]
        rows, numbers = [(number,) for number in chosen], [*chosen]
    missing = [str(number) for row in rows for number in row if number not in available]
    if missing:
        raise InputError(
            f"has channels 0 to {info.num_channels - 1}, and none is {', '.join(missing)}", source.id, "fix the number"
        )
    return rows, numbers


def _mix_rows(samples: np.ndarray, rows: list[tuple[int, ...]]) -> np.ndarray:
    """(channels, samples) to (rows, samples)."""
    return np.stack([samples[row[0]] if len(row) == 1 else samples[list(row)].mean(axis=0) for row in rows])


def cut_blocks(blocks: Iterable[np.ndarray], sizes: Iterable[int]) -> Iterator[np.ndarray]:
    """Join blocks of any lengths, (rows, samples) each, and cut them into the given sizes; the last holds the rest.

    Args:
        blocks: of one signal.
        sizes: in samples.
    """
    blocks = iter(blocks)
    rest = next(blocks)
    for size in sizes:
        while rest.shape[1] < size and (block := next(blocks, None)) is not None:
            rest = np.concatenate([rest, block], axis=1)
        if not rest.shape[1]:
            return
        yield rest[:, :size]
        rest = rest[:, size:]
    yield np.concatenate([rest, *blocks], axis=1)
