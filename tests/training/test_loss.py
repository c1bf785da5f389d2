import numpy as np
import pytest

from ser.training.loss import class_weights, weighted_loss


def test_class_weights_by_hand():
    # RAVDESS, strict, fold 1: N = 448, K = 4: 448 / (4 * 128) and 448 / (4 * 64)
    assert class_weights(np.array([128, 128, 64, 128])).tolist() == [0.875, 0.875, 1.75, 0.875]


def test_a_class_without_examples_weighs_nothing():
    assert class_weights(np.array([10, 0, 30])).tolist() == pytest.approx([2.0, 0.0, 2 / 3])


def test_weighted_loss_by_hand():
    # -(2 ln 0.5 + 1 ln 0.25) / 3
    log = np.log(np.array([[0.5, 0.5], [0.75, 0.25]], np.float32))
    expected = (2 * np.log(2) + np.log(4)) / 3
    weights, targets = np.array([2.0, 1.0], np.float32), np.array([0, 1])
    assert weighted_loss(log, targets, weights) == pytest.approx(expected, abs=1e-6)
