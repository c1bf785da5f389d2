"""Posteriors of a long recording, window by window, in bounded memory.

A recording is a row of cells of one hop each. A cell's window has the cell in its middle, and is shifted inwards at the
ends of the recording, so that all windows are equally long where the recording is longer than one. A window is treated
as a file of its own is by the predictor: its posteriors are those of `ser predict` of that excerpt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from ser.audio import audio_info, read_blocks, resample_blocks
from ser.common import InputError
from ser.common.progress import progress
from ser.diarization.settings import Settings
from ser.inference.base import BasePredictor, Statistics
from ser.inference.predict.sound import cut_blocks
from ser.scoring.calibration import tempered

if TYPE_CHECKING:
    from ser.inference.base import AnyRunningStats

# Windows in a batch of the network, and cells that are read at once.
BATCH_WINDOWS = 64
# dB of full scale: the least level of a cell.
SILENCE_LEVEL = -100.0
# dB of full scale: softer cells do not count for the level of the speech of a channel.
LEAST_SPEECH_LEVEL = -80.0
# Percentile of the levels of a channel's cells that is the level of its loud parts.
LOUD_PERCENTILE = 95
# dB over which a pause grows into speech: the slope of the logistic function.
SLOPE = 3.0
# Least probability whose logarithm is taken, so that no single window decides.
LEAST_PROBABILITY = 1e-8


@dataclass(frozen=True)
class RecordingLevels:
    """Levels of a recording.

    Attributes:
        duration: seconds, from the count of samples at the file's own rate.
        rate: sampling rate of the features, in Hz.
        cell: samples of a cell at that rate.
        levels: dB of full scale of each cell, float32, (channels, cells); of one channel if all have the same samples,
            as in mono stored as stereo.
        extremes: least and greatest sample of each cell, float32, (channels, cells, 2).
    """

    duration: float
    rate: int
    cell: int
    levels: np.ndarray
    extremes: np.ndarray

    @property
    def hop(self) -> float:
        """Seconds of a cell, which is a whole number of samples."""
        return self.cell / self.rate

    def speech(self, decibels: float) -> list[np.ndarray]:
        """Probability of speech of each cell, float32, (cells,), by channel."""
        return [speech_probability(channel, decibels) for channel in self.levels]


@dataclass(frozen=True)
class ChannelStatistics:
    """Which mean and deviation the features of a channel are normalised with.

    Attributes:
        source: "channel", "speaker" or "training"; "" where the model needs none of a speaker.
        seconds: of speech in the channel, or in all channels of the speaker.
        speaker: its name, where the input names one.
        values: mean and deviation, float32, (bins,) each; None: those of training, or none.
    """

    source: str = ""
    seconds: float = 0.0
    speaker: str = ""
    values: Statistics | None = None

    @property
    def from_input(self) -> bool:
        """Whether they are of the recordings given, not of training."""
        return self.source in ("channel", "speaker")

    def __str__(self) -> str:
        whose = {"": "", "training": "the training speakers", "channel": "the channel", "speaker": self.speaker}
        length = f" ({self.seconds:.1f} s of speech)" if self.from_input else ""
        return f"statistics of {whose[self.source]}{length}" if self.source else "no statistics of speakers"


NO_STATISTICS = ChannelStatistics()


@dataclass(frozen=True)
class Windows:
    """A channel of a recording as the decoder gets it.

    Attributes:
        channel: from 0.
        classes: of the posteriors, in order.
        hop: seconds of a cell.
        posteriors: of the emotions, float32, (cells, classes).
        speech: probability of speech, float32, (cells,).
        statistics: which the features were normalised with.
    """

    channel: int
    classes: tuple[str, ...]
    hop: float
    posteriors: np.ndarray
    speech: np.ndarray
    statistics: ChannelStatistics = NO_STATISTICS

    def calibrated(self, temperature: float) -> np.ndarray:
        """Posteriors p of the emotions as softmax(log p / temperature) and, last, of no speech; float32, (cells,
        classes + 1)."""
        emotions = tempered(self.posteriors, temperature) * self.speech[:, None]
        return np.column_stack([emotions, 1 - self.speech]).astype(np.float32)

    @property
    def scores(self) -> np.ndarray:
        """Log-probabilities of the classes and, last, of no speech; float32, (cells, classes + 1).

        They are not divided by the classes' prior, as a hybrid of network and hidden Markov model does (Bourlard and
        Morgan 1994): the loss weighs classes by their counts (training.class_weights: balanced), so the posteriors are
        those of classes that are equally frequent, and a prior that is the same for all changes no path. Windows
        overlap, so one second speaks more than once; the costs, which are tuned against that, make up for it.
        """
        joint = np.column_stack([self.posteriors * self.speech[:, None], 1 - self.speech])
        return np.log(np.maximum(joint, LEAST_PROBABILITY)).astype(np.float32)


def blocks_at(path: Path, rate: int) -> Iterator[np.ndarray]:
    """All samples of a file at `rate` Hz, block after block; float32, (channels, samples).

    Raises:
        InputError: the file cannot be read, when it comes to the fault.
    """
    return resample_blocks((block.samples for block in read_blocks(path)), audio_info(path).sampling_rate, rate)


def read_levels(path: Path, rate: int, hop: float) -> RecordingLevels:
    """Read a recording, and measure its levels.

    Raises:
        InputError: the file cannot be read, to its end.
    """
    info, size = audio_info(path), round(hop * rate)
    powers, peaks, identical, samples = [], [], True, 0
    for block in cut_blocks(blocks_at(path, rate), repeat(BATCH_WINDOWS * size)):
        samples += block.shape[1]
        identical &= bool((block == block[0]).all())
        starts = np.arange(0, block.shape[1], size)
        lengths = np.diff(np.append(starts, block.shape[1]))
        values = block.astype(np.float64)
        squares, means = (np.add.reduceat(v, starts, axis=1) / lengths for v in (values**2, values))
        powers.append(squares - means**2)  # around the mean: an offset is no sound
        peaks.append(extremes(block, size))
    if not samples:
        raise InputError(f"too short to hold a sample at {rate} Hz", path, "give a longer recording")
    cells = count_cells(samples, size)
    kept = slice(1 if identical else None), slice(cells)  # what is left over at the end is too short to count
    levels = 10 * np.log10(np.maximum(np.concatenate(powers, axis=1)[kept], 10 ** (SILENCE_LEVEL / 10)))
    peak = np.concatenate(peaks, axis=1)[kept]
    return RecordingLevels(info.num_samples / info.sampling_rate, rate, size, levels.astype(np.float32), peak)


def extremes(samples: np.ndarray, size: int) -> np.ndarray:
    """The least and the greatest of every `size` samples, (channels, samples) to (channels, stretches, 2)."""
    starts = np.arange(0, samples.shape[1], size)
    return np.stack([reduce.reduceat(samples, starts, axis=1) for reduce in (np.minimum, np.maximum)], axis=2)


def count_cells(samples: int, hop: int) -> int:
    """Cells of a recording, sizes in samples: a rest of at least half a cell is one, a shorter one is no cell."""
    return max(1, (2 * samples + hop) // (2 * hop))


def speech_probability(levels: np.ndarray, decibels: float) -> np.ndarray:
    """Probability that a cell is speech, from its level below the loud parts of its channel; float32, (cells,).

    It is one half at `decibels` below. A channel without a level above LEAST_SPEECH_LEVEL has no speech.
    """
    loud = levels[levels > LEAST_SPEECH_LEVEL]
    if not len(loud):
        return np.zeros(len(levels), np.float32)
    middle = np.percentile(loud, LOUD_PERCENTILE) - decibels
    likely = 1 / (1 + np.exp(-(levels - middle) / SLOPE))
    return np.where(levels > SILENCE_LEVEL, likely, 0).astype(np.float32)


def score_windows(
    path: Path,
    predictor: BasePredictor,
    settings: Settings,
    recording: RecordingLevels,
    show: bool = True,
    speakers: Mapping[int, ChannelStatistics] = MappingProxyType({}),
) -> list[Windows]:
    """Posteriors of every window of every channel (of one, where all hold the same).

    Args:
        recording: what `read_levels` gave of the file with the settings' hop.
        speakers: by channel, from 0, what `speaker_statistics` gave of its speaker.
    """
    rate, hop = recording.rate, recording.cell
    speech = recording.speech(settings.no_speech_decibels)
    channels, cells = len(speech), len(recording.levels[0])
    unnamed = {c: str(c) for c in range(channels) if c not in speakers}
    own = _speech_statistics("channel", [(path, recording, unnamed)], predictor, settings)
    statistics = [speakers[c] if c in speakers else own[str(c)] for c in range(channels)]
    posteriors = np.empty((channels, cells, len(predictor.classes)), np.float32)
    bar = progress(text=Path(path).name, unit="s", total=round(recording.duration), show=show)
    prepared: list[list[np.ndarray]] = [[] for _ in range(channels)]
    done = 0
    for index, samples in enumerate(cut_windows(blocks_at(path, rate), hop, round(settings.window * rate))):
        for channel in range(channels):
            frames = predictor.frames(samples[channel])
            prepared[channel].append(predictor.normalised(frames, statistics[channel].values))
        if len(prepared[0]) == BATCH_WINDOWS or index == cells - 1:
            for channel in range(channels):
                posteriors[channel, done : index + 1] = predictor.posteriors(prepared[channel])
                prepared[channel].clear()
            bar.update(round((index + 1) * recording.hop) - round(done * recording.hop))
            done = index + 1
    bar.close()
    return [
        Windows(c, predictor.classes, recording.hop, posteriors[c], speech[c], statistics[c]) for c in range(channels)
    ]


def cut_windows(blocks: Iterator[np.ndarray], hop: int, window: int) -> Iterator[np.ndarray]:
    """The window of each cell, in order.

    Args:
        blocks: (channels, samples) each.
        hop, window: samples.

    Yields:
        (channels, window), or all samples of a shorter recording.
    """
    buffer = next(blocks)
    first, cell, total = 0, 0, buffer.shape[1]  # index of the buffer's first sample, of the next cell; samples so far
    for block in blocks:
        buffer = np.concatenate([buffer, block], axis=1)
        total += block.shape[1]
        # A cell at the very end may be short or shift inwards, so the last window waits until there is more.
        while (start := _start(cell, hop, window)) + window < total and (cell + 1) * hop < total:
            yield buffer[:, start - first : start - first + window]
            cell += 1
        keep = min(max(0, total - window), _start(cell, hop, window)) - first
        buffer, first = buffer[:, keep:], first + keep
    for last in range(cell, count_cells(total, hop)):
        start = max(0, min(_start(last, hop, window), total - window))
        yield buffer[:, start - first : start - first + window]


def _start(cell: int, hop: int, window: int) -> int:
    return max(0, cell * hop + hop // 2 - window // 2)


def speaker_statistics(
    recordings: Mapping[Path, Mapping[int, str]], predictor: BasePredictor, settings: Settings
) -> dict[str, ChannelStatistics]:
    """Statistics of each speaker over his or her channels of all recordings; none where the settings want none.

    A recording that cannot be read is left out: it is reported where its own timeline is made.

    Args:
        recordings: channel, from 0, to the name of its speaker.
    """
    readable = []
    for path, names in recordings.items() if running_stats_factory(predictor, settings) else ():
        with suppress(InputError):
            recording = read_levels(path, predictor.sampling_rate, settings.hop)
            readable.append((path, recording, {c: name for c, name in names.items() if c < len(recording.levels)}))
    return _speech_statistics("speaker", readable, predictor, settings)


def running_stats_factory(predictor: BasePredictor, settings: Settings) -> Callable[[], AnyRunningStats] | None:
    """Makes the running statistics of a channel or speaker; None if model or settings take none of the recording."""
    return predictor.running_stats if settings.normalisation == "channel" and predictor.grouped else None


def _speech_statistics(
    source: str,
    recordings: Sequence[tuple[Path, RecordingLevels, Mapping[int, str]]],
    predictor: BasePredictor,
    settings: Settings,
) -> dict[str, ChannelStatistics]:
    """Statistics of the speech of channels of one name; those of training where there is too little of it.

    Args:
        source: "channel" or "speaker".
        recordings: each with the names of its channels, from 0.
    """
    seconds: defaultdict[str, float] = defaultdict(float)
    speech = [recording.speech(settings.no_speech_decibels) for _, recording, _ in recordings]
    for (_, recording, names), likely in zip(recordings, speech, strict=True):
        for channel, name in names.items():
            seconds[name] += float((likely[channel] >= 0.5).sum() * recording.hop)
    factory = running_stats_factory(predictor, settings)
    running = {name: factory() for name, value in seconds.items() if factory and value >= settings.statistics_minimum}
    for (path, recording, names), likely in zip(recordings, speech, strict=True):
        chosen = {channel: running[name] for channel, name in names.items() if name in running}
        window = round(settings.window * recording.rate)
        every = max(1, window // recording.cell)  # so that each part of the recording counts once
        windows = cut_windows(blocks_at(path, recording.rate), recording.cell, window) if chosen else ()
        with suppress(InputError) if source == "speaker" else nullcontext():  # it is reported with its own timeline
            for cell, samples in enumerate(windows):
                for channel, stats in chosen.items() if cell % every == every // 2 else ():
                    if likely[channel][cell] >= 0.5:
                        stats.add(predictor.frames(samples[channel]))
    values = {name: stats.finish() for name, stats in running.items() if stats.count}
    training = "training" if predictor.grouped else ""
    return {
        name: ChannelStatistics(
            source if name in values else training, value, name if source == "speaker" else "", values.get(name)
        )
        for name, value in seconds.items()
    }
