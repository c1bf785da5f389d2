"""The segments that a decoded path gives, and the timeline of a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ser.diarization.decoders import Decoder
from ser.diarization.graph import chain_graph
from ser.diarization.settings import Settings
from ser.diarization.windows import LEAST_PROBABILITY, NO_STATISTICS, ChannelStatistics, Windows
from ser.inference.base import ABSTAINED, Confidence
from ser.scoring.calibration import tempered

UNCALIBRATED = Confidence()


@dataclass(frozen=True)
class Segment:
    """A segment of one emotion.

    Attributes:
        start, end: seconds.
        label: emotion; ABSTAINED where the confidence is too low to give one.
        confidence: calibrated posterior of the emotion: mean over the segment's windows, weighted by how likely each is
            speech, then tempered, as `ser predict` does with the windows of a long file.
    """

    start: float
    end: float
    label: str
    confidence: float


@dataclass(frozen=True)
class Channel:
    """The timeline of a channel, which in a call is a speaker.

    Attributes:
        number: from 1.
        segments: what lies between them is no speech.
        score: of the decoded path, natural logarithm; sums of posteriors and costs.
        posteriors: of the emotions, calibrated, and, last, no speech; float32, (cells, classes + 1).
        levels: dB of full scale, float32, (cells,).
        extremes: of the waveform, float32, (cells, 2).
        statistics: that the features were normalised with.
        confidence: temperature and threshold of its confidences.
    """

    number: int
    segments: tuple[Segment, ...]
    score: float
    posteriors: np.ndarray
    levels: np.ndarray
    extremes: np.ndarray
    statistics: ChannelStatistics = NO_STATISTICS
    confidence: Confidence = UNCALIBRATED

    @property
    def name(self) -> str:
        return f"channel {self.number}"


@dataclass(frozen=True)
class Timeline:
    """The timelines of a recording.

    Attributes:
        recording: its name, without folder and ending.
        duration, hop: seconds.
        classes: emotions, and no speech last.
        warnings: why the timeline may be worth less.
    """

    recording: str
    duration: float
    hop: float
    classes: tuple[str, ...]
    channels: tuple[Channel, ...]
    warnings: tuple[str, ...] = ()


def decode_segments(
    windows: Windows, settings: Settings, decoder: Decoder, duration: float, confidence: Confidence = UNCALIBRATED
) -> tuple[tuple[Segment, ...], float]:
    """The segments of a channel, and the score of the decoded path.

    The path is of uncalibrated posteriors, on which the costs are tuned. `confidence` has the temperature of the
    segments' confidences, and the threshold below which a segment has no label.
    """
    scores = windows.scores
    graph = chain_graph(settings.minima(len(windows.classes), len(scores)), settings.costs(windows.classes))
    path = decoder(graph, scores)
    assert path is not None  # no minimum is above the number of windows
    labels, score = path
    return segments_of(labels, windows, cell_edges(len(scores), windows.hop, duration), confidence), score


def cell_edges(cells: int, hop: float, duration: float) -> list[float]:
    """The start of each cell and, last, the end of the recording; seconds, (cells + 1,).

    The end is not rounded, so that no segment is longer than the recording and none is empty.
    """
    return [*(round(cell * hop, 6) for cell in range(cells)), duration]


def segments_of(
    labels: np.ndarray, windows: Windows, edges: Sequence[float], confidence: Confidence = UNCALIBRATED
) -> tuple[Segment, ...]:
    """Runs of equal labels, without those of no speech.

    Args:
        labels: indices of classes, int64, (cells,); greater indices are no speech.
        edges: of the cells, seconds, (cells + 1,).
    """
    ends = np.append(np.flatnonzero(np.diff(labels)) + 1, len(labels))
    starts = np.append(0, ends[:-1])
    segments = []
    for start, end in zip(starts, ends, strict=True):
        label = int(labels[start])
        if label >= len(windows.classes):
            continue
        weights = np.maximum(windows.speech[start:end], LEAST_PROBABILITY)
        mean = np.average(windows.posteriors[start:end], axis=0, weights=weights)
        value = float(tempered(mean[None], confidence.temperature)[0, label])
        name = windows.classes[label] if value >= confidence.threshold else ABSTAINED
        segments.append(Segment(edges[start], edges[end], name, round(value, 4)))
    return tuple(segments)
