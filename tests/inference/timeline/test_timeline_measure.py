import numpy as np
import pytest

from ser.inference.timeline.measure import agree, edit_distance
from ser.inference.timeline.segments import Segment

CLASSES = ("angry", "sad")


def test_agreement_by_hand():
    reference = [Segment(0, 1, "angry", 1), Segment(1.5, 2, "angry", 1), Segment(2, 4, "sad", 1)]
    found = [Segment(0, 2, "angry", 1), Segment(2.5, 3, "angry", 1), Segment(3, 4, "sad", 1), Segment(4, 5, "angry", 1)]
    result = agree(found, reference, 5, CLASSES)
    np.testing.assert_array_equal(result.confusion, [[150, 0, 0], [50, 100, 50], [150, 0, 0]])
    assert result.frame_accuracy == 0.5
    assert result.frame_ua == (1 + 0.5) / 2
    assert (result.edits, result.segments) == (1, 2)  # angry sad angry for angry sad
    assert result.segment_error == 0.5
    both = result + result
    assert (both.frame_accuracy, both.segments) == (0.5, 4)


def test_an_emotion_that_is_not_there_does_not_count():
    result = agree([], [Segment(0, 1, "sad", 1)], 2, CLASSES)
    assert result.frame_ua == 0
    assert result.frame_accuracy == 0.5
    assert result.segment_error == 1


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [("", "", 0), ("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3), ("ab", "ba", 2), ("abcd", "acd", 1)],
)
def test_edit_distance(one, other, distance):
    assert edit_distance(one, other) == edit_distance(other, one) == distance
