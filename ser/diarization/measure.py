"""Scores of a timeline against a reference: frame accuracy, segment error, emotion diarization error rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from typing import Self

import numpy as np

from ser.common.metrics import confusion_matrix, mean_recall
from ser.diarization.segments import Segment
from ser.inference.base import ABSTAINED

# Seconds of a frame that is right or wrong.
FRAME = 0.01
# Labels of segments without emotion, which count as no speech does in the emotion diarization error.
NO_EMOTION = ("neutral", ABSTAINED)


@dataclass(frozen=True)
class _Sums:
    """Values that add up over recordings, field by field."""

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


@dataclass(frozen=True)
class DiarizationErrors(_Sums):
    """Durations in seconds.

    Attributes:
        missed: of an emotion where the timeline has none.
        false_alarm: of an emotion in the timeline where the reference has none.
        confusion: of one emotion in place of another.
        duration: of the recordings.
    """

    missed: float
    false_alarm: float
    confusion: float
    duration: float

    @property
    def eder(self) -> float:
        """Emotion diarization error rate: (missed + false alarm + confusion) / duration."""
        return (self.missed + self.false_alarm + self.confusion) / self.duration


def emotion_errors(hypothesis: Sequence[Segment], reference: Sequence[Segment], duration: float) -> DiarizationErrors:
    """The errors of the emotion diarization error rate (Wang et al. 2023, "Speech emotion diarization: which emotion
    appears when?"), exact in time.

    As in that paper, neutral speech and pauses are no emotion; nor is a segment without a label. Segments of a channel
    do not overlap here, so there is no error of overlap.

    Args:
        hypothesis, reference: in order of time.
        duration: of the recording, seconds.
    """
    times = [time for s in (*hypothesis, *reference) for time in (s.start, s.end)]
    edges = np.unique(np.clip([0.0, *times, duration], 0, duration))
    middles, lengths = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
    answer, truth = (
        np.array([*("" if s.label in NO_EMOTION else s.label for s in segments), ""])[_segment_at(middles, segments)]
        for segments in (hypothesis, reference)
    )
    missed = lengths[(truth != "") & (answer == "")].sum()
    false_alarm = lengths[(truth == "") & (answer != "")].sum()
    confusion = lengths[(truth != "") & (answer != "") & (truth != answer)].sum()
    return DiarizationErrors(float(missed), float(false_alarm), float(confusion), duration)


def _segment_at(times: np.ndarray, segments: Sequence[Segment]) -> np.ndarray:
    """The index of the segment at each time, (times,); -1 where there is none."""
    ends = np.array([*(s.end for s in segments), -np.inf])
    index = np.searchsorted([s.start for s in segments], times, side="right") - 1
    return np.where(times < ends[index], index, -1)


@dataclass(frozen=True)
class Agreement(_Sums):
    """Counts, which add up over recordings.

    Attributes:
        confusion: frames, int64, (classes + 1, classes + 1): row the reference, column the timeline, last no speech.
        edits: Levenshtein distance between the sequences of emotions.
        segments: of the reference.
        errors: of the emotion diarization error rate.
    """

    confusion: np.ndarray
    edits: int
    segments: int
    errors: DiarizationErrors

    @property
    def frame_accuracy(self) -> float:
        """Share of the frames that are right, pauses included."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def frame_ua(self) -> float:
        """Unweighted mean of the frame recall of the emotions in the reference."""
        return float(mean_recall(np.diag(self.confusion)[:-1], self.confusion[:-1].sum(1)))

    @property
    def segment_error(self) -> float:
        """Edits per segment of the reference, like a word error rate; above 1 if there are too many segments."""
        return self.edits / self.segments


def compare_segments(
    hypothesis: Sequence[Segment], reference: Sequence[Segment], duration: float, classes: Sequence[str]
) -> Agreement:
    """Compare segments with a reference; both are in order of time, and none overlaps the next.

    For the segment error, neighbours of one emotion count as one segment, whatever pause lies between them: sequences
    of emotions are compared, as sequences of words are in speech recognition.
    """
    middles = (np.arange(max(1, round(duration / FRAME))) + 0.5) * FRAME
    names = list(classes)
    truth, answer = (
        np.array([*(names.index(s.label) for s in segments), len(names)])[_segment_at(middles, segments)]
        for segments in (reference, hypothesis)
    )
    confusion = confusion_matrix(truth, answer, len(names) + 1)
    emotions = [[label for label, _ in groupby(s.label for s in segments)] for segments in (hypothesis, reference)]
    errors = emotion_errors(hypothesis, reference, duration)
    return Agreement(confusion, edit_distance(*emotions), len(emotions[1]), errors)


def sum_agreements(agreements: Sequence[Agreement]) -> Agreement:
    """The agreement of several recordings together; at least one."""
    return sum(agreements[1:], agreements[0])


def edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Levenshtein distance."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]
