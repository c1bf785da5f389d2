"""Posteriors of a long recording, window by window, in bounded memory.

A recording is a row of cells of one hop each. A cell's window has the cell in its middle, and is shifted inwards at the
ends of the recording, so that all windows are equally long where the recording is longer than one. A window is treated
as a file of its own is by the predictor: its posteriors are those of `ser predict` of that excerpt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from ser.audio import read_blocks, resample_blocks
from ser.common import InputError
from ser.common.progress import progress
from ser.diarization.settings import Settings
from ser.inference.base import BasePredictor, Statistics
from ser.scoring.calibration import tempered

if TYPE_CHECKING:
    from ser.inference.base import AnyRunningStats

# Windows that go through the network together.
TOGETHER = 64
# dB of full scale: below, there is nothing.
QUIETEST = -100.0
# A cell that is softer does not count for how loud the speech of a channel is.
FAINT = -80.0
# The loud parts of a channel: its cells' level that so many per cent do not exceed.
LOUD = 95
# dB over which a pause grows into speech: the slope of the logistic function.
SLOPE = 3.0
# No window counts for more than its logarithm, however sure it is.
LEAST = 1e-8


@dataclass(frozen=True)
class Survey:
    """How loud a recording is.

    Attributes:
        duration: seconds, from the count of samples at the file's own rate.
        samples, rate: at the features' rate.
        cell: samples of a cell, at the features' rate.
        levels: dB of full scale of each cell, float32, (channels, cells).
        extremes: least and greatest sample of each cell, float32, (channels, cells, 2).
        equal: whether there are several channels and all hold the same, as a mono recording stored as stereo does.
    """

    duration: float
    samples: int
    rate: int
    cell: int
    levels: np.ndarray
    extremes: np.ndarray
    equal: bool

    @property
    def hop(self) -> float:
        """Seconds of a cell, which is a whole number of samples."""
        return self.cell / self.rate

    def speech(self, decibels: float) -> list[np.ndarray]:
        """How likely each cell of each channel (of one, where all hold the same) is no pause, float32, (cells,)."""
        return [speech(levels, decibels) for levels in (self.levels[:1] if self.equal else self.levels)]


@dataclass(frozen=True)
class ChannelStatistics:
    """Which mean and deviation the features of a channel are normalised with.

    Attributes:
        source: "channel", "speaker" or "training"; "" where the model needs none of a speaker.
        seconds: of speech that they are of; of training: that there were.
        speaker: its name, where the input names one.
        values: mean and deviation, float32, (bins,) each; None: those of training, or none.
    """

    source: str = ""
    seconds: float = 0.0
    speaker: str = ""
    values: Statistics | None = None

    @property
    def own(self) -> bool:
        """Whether they are of the input."""
        return self.source in ("channel", "speaker")

    def __str__(self) -> str:
        whose = {"": "", "training": "the training speakers", "channel": "the channel", "speaker": self.speaker}
        length = f" ({self.seconds:.1f} s of speech)" if self.own else ""
        return f"statistics of {whose[self.source]}{length}" if self.source else "no statistics of speakers"


NONE = ChannelStatistics()


@dataclass(frozen=True)
class Windows:
    """A channel of a recording as the decoder gets it.

    Attributes:
        channel: from 0.
        classes: of the posteriors, in order.
        hop: seconds of a cell.
        posteriors: of the emotions, float32, (cells, classes).
        speech: how likely each cell is no pause, float32, (cells,).
        statistics: which the features were normalised with.
    """

    channel: int
    classes: tuple[str, ...]
    hop: float
    posteriors: np.ndarray
    speech: np.ndarray
    statistics: ChannelStatistics = NONE

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
        return np.log(np.maximum(joint, LEAST)).astype(np.float32)


def blocks_at(path: Path, rate: int) -> Iterator[np.ndarray]:
    """All samples of a file at `rate` Hz, block after block; float32, (channels, samples), never empty.

    Raises:
        InputError: the file cannot be read, when it comes to the fault.
    """
    audio = read_blocks(path)
    first = next(audio)
    blocks = (block.samples for block in chain([first], audio))
    for block in resample_blocks(blocks, first.sampling_rate, rate):
        if block.shape[1]:
            yield block


def survey(path: Path, rate: int, hop: float) -> Survey:
    """Read a recording for its level.

    Raises:
        InputError: the file cannot be read, to its end.
    """
    size = round(hop * rate)
    powers, extremes, equal, samples, read = [], [], True, 0, 0
    audio = read_blocks(path)
    first = next(audio)

    def counted() -> Iterator[np.ndarray]:
        nonlocal read
        for block in chain([first], audio):
            read += block.samples.shape[1]
            yield block.samples

    for block in regular(resample_blocks(counted(), first.sampling_rate, rate), size):
        samples += block.shape[1]
        equal = equal and bool((block == block[0]).all())
        starts = np.arange(0, block.shape[1], size)
        lengths = np.diff(np.append(starts, block.shape[1]))
        powers.append(np.add.reduceat(np.square(block, dtype=np.float64), starts, axis=1) / lengths)
        ends = np.minimum.reduceat(block, starts, axis=1), np.maximum.reduceat(block, starts, axis=1)
        extremes.append(np.stack(ends, axis=2))
    if not samples:
        raise InputError(f"too short to hold a sample at {rate} Hz", path, "give a longer recording")
    cells = count_cells(samples, size)
    power = np.concatenate(powers, axis=1)[:, :cells]  # what is left over at the end is too short to count
    levels = 10 * np.log10(np.maximum(power, 10 ** (QUIETEST / 10)))
    extreme = np.concatenate(extremes, axis=1)[:, :cells]
    duration = read / first.sampling_rate
    return Survey(duration, samples, rate, size, levels.astype(np.float32), extreme, equal and len(power) > 1)


def count_cells(samples: int, hop: int) -> int:
    """Cells of a recording: a rest of half a cell and more is one, a shorter one belongs to the last."""
    return max(1, (2 * samples + hop) // (2 * hop))


def speech(levels: np.ndarray, decibels: float) -> np.ndarray:
    """How likely each cell is no pause, from its level below the loud parts of its channel; float32, (cells,).

    One half at `decibels` below. A channel in which nobody is as loud as FAINT has no speech.
    """
    loud = levels[levels > FAINT]
    if not len(loud):
        return np.zeros(len(levels), np.float32)
    middle = np.percentile(loud, LOUD) - decibels
    likely = 1 / (1 + np.exp(-(levels - middle) / SLOPE))
    return np.where(levels > QUIETEST, likely, 0).astype(np.float32)


def score_windows(
    path: Path,
    predictor: BasePredictor,
    settings: Settings,
    found: Survey,
    show: bool = True,
    speakers: Mapping[int, ChannelStatistics] = MappingProxyType({}),
) -> list[Windows]:
    """Posteriors of every window of every channel (of one, where all hold the same).

    Args:
        found: what `survey` gave of the file with the settings' hop.
        speakers: by channel, from 0, what `speaker_statistics` gave of its speaker.
    """
    rate = found.rate
    hop, window = found.cell, round(settings.window * rate)
    speech = found.speech(settings.no_speech_decibels)
    channels = len(speech)
    statistics = _statistics(path, predictor, settings, found, speakers)
    cells = len(found.levels[0])
    posteriors = np.empty((channels, cells, len(predictor.classes)), np.float32)
    bar = progress(text=Path(path).name, unit="s", total=round(found.duration), show=show)
    prepared: list[list[np.ndarray]] = [[] for _ in range(channels)]
    done = 0
    for index, samples in enumerate(cut(blocks_at(path, rate), hop, window)):
        for channel in range(channels):
            frames = predictor.frames(samples[channel])
            prepared[channel].append(predictor.normalised(frames, statistics[channel].values))
        if len(prepared[0]) == TOGETHER or index == cells - 1:
            for channel in range(channels):
                posteriors[channel, done : index + 1] = predictor.posteriors(prepared[channel])
                prepared[channel].clear()
            bar.update(round((index + 1) * found.hop) - round(done * found.hop))
            done = index + 1
    bar.close()
    return [Windows(c, predictor.classes, found.hop, posteriors[c], speech[c], statistics[c]) for c in range(channels)]


def cut(blocks: Iterator[np.ndarray], hop: int, window: int) -> Iterator[np.ndarray]:
    """The window of each cell, in order.

    Args:
        blocks: (channels, samples) each.
        hop, window: samples.

    Yields:
        (channels, window), or all that there is of a shorter recording.
    """
    held: np.ndarray | None = None
    first, cell, total = 0, 0, 0  # number of the first sample held, of the next cell, of samples so far
    for block in blocks:
        held = block if held is None else np.concatenate([held, block], axis=1)
        total += block.shape[1]
        # A cell at the very end may be short or shift inwards, so the last window waits until there is more.
        while (start := _start(cell, hop, window)) + window < total and (cell + 1) * hop < total:
            yield held[:, start - first : start - first + window]
            cell += 1
        keep = min(max(0, total - window), _start(cell, hop, window)) - first
        held, first = held[:, keep:], first + keep
    if held is None:
        return
    for last in range(cell, count_cells(total, hop)):
        start = max(0, min(_start(last, hop, window), total - window))
        yield held[:, start - first : start - first + window]


def _start(cell: int, hop: int, window: int) -> int:
    return max(0, cell * hop + hop // 2 - window // 2)


def regular(blocks: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Blocks of whole multiples of `size` samples, but the last."""
    rest: np.ndarray | None = None
    for block in blocks:
        whole = block if rest is None else np.concatenate([rest, block], axis=1)
        even = whole.shape[1] // size * size
        if even:
            yield whole[:, :even]
        rest = whole[:, even:]
    if rest is not None and rest.shape[1]:
        yield rest


def speaker_statistics(
    recordings: Mapping[Path, Mapping[int, str]], predictor: BasePredictor, settings: Settings
) -> dict[str, ChannelStatistics]:
    """Statistics of each speaker over his or her channels of all recordings; none where the settings want none.

    A recording that cannot be read is left out: it is reported where its own timeline is made.

    Args:
        recordings: channel, from 0, to the name of its speaker.
    """
    if not wanted(predictor, settings) or predictor.running_stats is None:
        return {}
    running_stats: dict[str, AnyRunningStats] = {}
    seconds: dict[str, float] = defaultdict(float)
    for path, named in recordings.items():
        with suppress(InputError):
            found = survey(path, predictor.sampling_rate, settings.hop)
            speech = {c: own for c, own in enumerate(found.speech(settings.no_speech_decibels)) if c in named}
            own = {c: running_stats.setdefault(named[c], predictor.running_stats()) for c in speech}
            _collect(path, predictor, settings, found, speech, own)
            for channel, likely in speech.items():
                seconds[named[channel]] += _seconds(likely, found)
    return {
        name: _enough(ChannelStatistics("speaker", seconds[name], name), own, settings)
        for name, own in running_stats.items()
    }


def wanted(predictor: BasePredictor, settings: Settings) -> bool:
    """Whether the model is normalised by speaker or corpus, and takes statistics of the recording, as settings want."""
    return settings.normalisation == "channel" and predictor.grouped and predictor.running_stats is not None


def _statistics(
    path: Path, predictor: BasePredictor, settings: Settings, found: Survey, speakers: Mapping[int, ChannelStatistics]
) -> list[ChannelStatistics]:
    """Of each channel: its speaker's, or its own where there is speech enough, else those of training."""
    speech = found.speech(settings.no_speech_decibels)
    if not wanted(predictor, settings) or predictor.running_stats is None:
        source = "training" if predictor.grouped else ""
        return [ChannelStatistics(source, _seconds(likely, found)) for likely in speech]
    seconds = {c: _seconds(likely, found) for c, likely in enumerate(speech) if c not in speakers}
    enough = {c: speech[c] for c in seconds if seconds[c] >= settings.statistics_minimum}
    running_stats = {c: predictor.running_stats() for c in seconds}
    if enough:
        _collect(path, predictor, settings, found, enough, running_stats)
    return [
        speakers[c] if c in speakers else _enough(ChannelStatistics("channel", seconds[c]), running_stats[c], settings)
        for c in range(len(speech))
    ]


def _enough(statistics: ChannelStatistics, running_stats: AnyRunningStats, settings: Settings) -> ChannelStatistics:
    """With the values, where there is speech enough for them; else those of training."""
    if statistics.seconds < settings.statistics_minimum or not running_stats.count:
        return replace(statistics, source="training")
    return replace(statistics, values=running_stats.finish())


def _seconds(likely: np.ndarray, found: Survey) -> float:
    """Of speech."""
    return float((likely >= 0.5).sum() * found.hop)


def _collect(
    path: Path,
    predictor: BasePredictor,
    settings: Settings,
    found: Survey,
    speech: Mapping[int, np.ndarray],
    running_stats: Mapping[int, AnyRunningStats],
) -> None:
    """Add the speech of channels to their statistics, every part of which is read once."""
    window = round(settings.window * found.rate)
    every = max(1, window // found.cell)
    for cell, samples in enumerate(cut(blocks_at(path, found.rate), found.cell, window)):
        if cell % every == every // 2:
            for channel, likely in speech.items():
                if likely[cell] >= 0.5:
                    running_stats[channel].add(predictor.frames(samples[channel]))
