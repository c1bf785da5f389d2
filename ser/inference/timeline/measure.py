"""How far a timeline agrees with a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from ser.common.metrics import mean_recall
from ser.inference.timeline.segments import Segment

# Seconds of a frame that is right or wrong.
FRAME = 0.01


@dataclass(frozen=True)
class Agreement:
    """Counts, which add up over recordings.

    Attributes:
        confusion: frames, int64, (classes + 1, classes + 1): row the reference, column the timeline, last no speech.
        edits: least number of segments to change, leave out or put in to get the reference's row of emotions.
        segments: of the reference.
    """

    confusion: np.ndarray
    edits: int
    segments: int

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(self.confusion + other.confusion, self.edits + other.edits, self.segments + other.segments)

    @property
    def frame_accuracy(self) -> float:
        """Share of the frames that are right, pauses included."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def frame_ua(self) -> float:
        """Mean over the emotions that are there of the share of their frames that is right."""
        rows = self.confusion[:-1]
        return float(mean_recall(np.diag(self.confusion)[:-1], rows.sum(1)))

    @property
    def segment_error(self) -> float:
        """Edits a segment of the reference, as a word error rate; above 1 where there are too many segments."""
        return self.edits / self.segments


def agree(found: Sequence[Segment], reference: Sequence[Segment], duration: float, classes: Sequence[str]) -> Agreement:
    """Compare segments with a reference.

    For the segment error, neighbours of one emotion count as one segment, whatever pause lies between them: the row of
    emotions is compared, as the row of words is in speech recognition.
    """
    frames = max(1, round(duration / FRAME))
    truth, answer = (_frames(segments, frames, classes) for segments in (reference, found))
    size = len(classes) + 1
    confusion = np.bincount(truth * size + answer, minlength=size * size).reshape(size, size)
    rows = [[label for label, _ in groupby(s.label for s in segments)] for segments in (found, reference)]
    return Agreement(confusion, edit_distance(*rows), len(rows[1]))


def edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Levenshtein distance."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def _frames(segments: Sequence[Segment], frames: int, classes: Sequence[str]) -> np.ndarray:
    """Class of each frame by its middle, int64; no speech is the last number."""
    labels = np.full(frames, len(classes))
    middles = (np.arange(frames) + 0.5) * FRAME
    for segment in segments:
        labels[(middles >= segment.start) & (middles < segment.end)] = list(classes).index(segment.label)
    return labels
