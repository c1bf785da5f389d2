import numpy as np
import pytest

from ser.training.class_weights import class_weights


def test_class_weights_by_hand():
    # RAVDESS, strict, fold 1: N = 448, K = 4: 448 / (4 * 128) and 448 / (4 * 64)
    assert class_weights(np.array([128, 128, 64, 128])).tolist() == [0.875, 0.875, 1.75, 0.875]


def test_a_class_without_examples_weighs_nothing():
    assert class_weights(np.array([10, 0, 30])).tolist() == pytest.approx([2.0, 0.0, 2 / 3])


def test_a_single_example_counts():
    assert class_weights(np.array([1, 3])).tolist() == pytest.approx([2.0, 2 / 3])


def test_none_weighs_all_classes_with_examples_alike():
    assert class_weights(np.array([10, 0, 1]), "none").tolist() == [1, 0, 1]
