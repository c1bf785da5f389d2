"""From a path of labels to segments, and the timeline of a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ser.diarization.decoders import Decoder
from ser.diarization.graph import chain_graph
from ser.diarization.settings import Settings
from ser.diarization.windows import LEAST, NONE, ChannelStatistics, Windows
from ser.inference.base import ABSTAINED, Confidence
from ser.scoring.calibration import tempered

PLAIN = Confidence()


@dataclass(frozen=True)
class Segment:
    """A stretch of one emotion.

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
        segments: what none of them covers is no speech.
        score: of the decoded path, natural logarithm; sums of posteriors and costs.
        posteriors: of the emotions, calibrated, and, last, no speech; float32, (cells, classes + 1).
        levels: dB of full scale, float32, (cells,).
        extremes: of the waveform, float32, (cells, 2).
        statistics: which the features were normalised with.
        confidence: temperature and threshold of its confidences.
    """

    number: int
    segments: tuple[Segment, ...]
    score: float
    posteriors: np.ndarray
    levels: np.ndarray
    extremes: np.ndarray
    statistics: ChannelStatistics = NONE
    confidence: Confidence = PLAIN

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
    windows: Windows,
    settings: Settings,
    decoder: Decoder,
    duration: float,
    confidence: Confidence = PLAIN,
) -> tuple[tuple[Segment, ...], float]:
    """The segments of a channel, and the score of the path that they follow from.

    The path is that of the posteriors as decoding gives them, against which costs are tuned; `confidence` decides
    confidences and which labels are withheld.
    """
    scores = windows.scores
    graph = chain_graph(settings.minima(len(windows.classes), len(scores)), settings.costs(windows.classes))
    found = decoder(graph, scores)
    assert found is not None  # no minimum is above the number of windows
    labels, score = found
    return segments_of(labels, windows, cell_edges(len(scores), windows.hop, duration), confidence), score


def cell_edges(cells: int, hop: float, duration: float) -> list[float]:
    """Where each cell begins and, last, where the recording ends; seconds, (cells + 1,).

    The end is not rounded, so that no segment is longer than the recording and none is empty.
    """
    return [*(round(cell * hop, 6) for cell in range(cells)), duration]


def segments_of(
    labels: np.ndarray, windows: Windows, edges: Sequence[float], confidence: Confidence = PLAIN
) -> tuple[Segment, ...]:
    """Runs of equal labels, but those of no speech.

    Args:
        labels: indices of classes, int64, (cells,); any number above is no speech.
        edges: of the cells, seconds, (cells + 1,).
    """
    ends = np.append(np.flatnonzero(np.diff(labels)) + 1, len(labels))
    starts = np.append(0, ends[:-1])
    found = []
    for start, end in zip(starts, ends, strict=True):
        label = int(labels[start])
        if label >= len(windows.classes):
            continue
        weights = np.maximum(windows.speech[start:end], LEAST)
        mean = np.average(windows.posteriors[start:end], axis=0, weights=weights)
        value = float(tempered(mean[None], confidence.temperature)[0, label])
        name = windows.classes[label] if value >= confidence.threshold else ABSTAINED
        found.append(Segment(edges[start], edges[end], name, round(value, 4)))
    return tuple(found)
