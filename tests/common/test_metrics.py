import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from ser.common.metrics import confusion_matrix, macro_f1, mean_recall, ua, wa


def test_scores_by_hand():
    # recalls 3/4, 1/2, 0/2; answered 4, 3, 1
    confusion = np.array([[3, 1, 0], [0, 1, 1], [1, 1, 0]])
    assert wa(confusion) == pytest.approx(4 / 8)
    assert ua(confusion) == pytest.approx((3 / 4 + 1 / 2 + 0) / 3)
    assert macro_f1(confusion) == pytest.approx((2 * 3 / (4 + 4) + 2 * 1 / (2 + 3) + 0) / 3)


def test_rows_are_the_truth():
    confusion = confusion_matrix(np.array([0, 0, 2]), np.array([0, 1, 1]), 3)
    assert confusion.tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 0]]


def test_a_class_without_utterances_has_no_recall():
    # class 1 is never there but answered once, class 2 neither
    confusion = np.array([[3, 1, 0], [0, 0, 0], [0, 0, 0]])
    assert ua(confusion) == pytest.approx(3 / 4)
    assert macro_f1(confusion) == pytest.approx((6 / 7 + 0) / 2)


def test_mean_recall_of_many_at_once():
    right, of_class = np.array([[[3, 1], [0, 2]], [[4, 0], [2, 0]]]), np.array([[4, 2], [4, 0]])
    np.testing.assert_allclose(mean_recall(right, of_class[:, None]), [[5 / 8, 1 / 2], [1, 1 / 2]])


@settings(deadline=None)
@given(st.integers(2, 6).flatmap(lambda k: st.tuples(st.just(k), st.lists(
    st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=1, max_size=60))))  # fmt: skip
def test_agrees_with_scikit_learn(case):
    classes, pairs = case
    truth, hypothesis = np.array(pairs).T
    confusion = confusion_matrix(truth, hypothesis, classes)
    np.testing.assert_array_equal(confusion, reference.confusion_matrix(truth, hypothesis, labels=range(classes)))
    assert wa(confusion) == pytest.approx(reference.accuracy_score(truth, hypothesis))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's own on classes that are only answered
        assert ua(confusion) == pytest.approx(reference.balanced_accuracy_score(truth, hypothesis))
        assert macro_f1(confusion) == pytest.approx(reference.f1_score(truth, hypothesis, average="macro"))
