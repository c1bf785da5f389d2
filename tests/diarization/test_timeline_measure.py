import numpy as np
import pytest

from ser.diarization.measure import DiarizationErrors, compare_segments, edit_distance, emotion_errors
from ser.diarization.segments import Segment

CLASSES = ("angry", "sad")


def test_agreement_by_hand():
    reference = [Segment(0, 1, "angry", 1), Segment(1.5, 2, "angry", 1), Segment(2, 4, "sad", 1)]
    found = [Segment(0, 2, "angry", 1), Segment(2.5, 3, "angry", 1), Segment(3, 4, "sad", 1), Segment(4, 5, "angry", 1)]
    result = compare_segments(found, reference, 5, CLASSES)
    np.testing.assert_array_equal(result.confusion, [[150, 0, 0], [50, 100, 50], [150, 0, 0]])
    assert result.frame_accuracy == 0.5
    assert result.frame_ua == (1 + 0.5) / 2
    assert (result.edits, result.segments) == (1, 2)  # angry sad angry for angry sad
    assert result.segment_error == 0.5
    # reference without a found segment: 0.5 s; found without one: 0.5 and 1 s; angry for sad: 0.5 s
    assert result.errors == DiarizationErrors(missed=0.5, false_alarm=1.5, confusion=0.5, duration=5)
    both = result + result
    assert both.errors.eder == 0.5
    assert (both.frame_accuracy, both.segments) == (0.5, 4)


def test_an_emotion_that_is_not_there_does_not_count():
    result = compare_segments([], [Segment(0, 1, "sad", 1)], 2, CLASSES)
    assert result.frame_ua == 0
    assert result.frame_accuracy == 0.5
    assert result.segment_error == 1


def test_emotion_diarization_error_by_hand():
    reference = [Segment(0, 2.25, "neutral", 1), Segment(2.25, 6, "sad", 1), Segment(6, 8, "neutral", 1)]
    found = [Segment(0.5, 3, "neutral", 1), Segment(3, 7, "sad", 1)]
    assert emotion_errors(found, reference, 8) == DiarizationErrors(0.75, 1, 0, 8)
    assert emotion_errors(found, reference, 8).eder == 1.75 / 8
    withheld = [Segment(2.25, 4, "-", 0.3), Segment(4, 6, "angry", 1)]
    assert emotion_errors(withheld, reference, 8) == DiarizationErrors(1.75, 0, 2, 8)
    assert emotion_errors(reference, reference, 8).eder == 0
    assert emotion_errors([], reference, 8) == DiarizationErrors(3.75, 0, 0, 8)
    assert emotion_errors([], [], 8).eder == 0


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [("", "", 0), ("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3), ("ab", "ba", 2), ("abcd", "acd", 1)],
)
def test_edit_distance(one, other, distance):
    assert edit_distance(one, other) == edit_distance(other, one) == distance
