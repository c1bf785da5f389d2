"""Class weights, and the validation loss that they weigh."""

from __future__ import annotations

import numpy as np


def class_weights(counts: np.ndarray, kind: str = "balanced") -> np.ndarray:
    """w_c = N / (K n_c) of the un-augmented training counts of one corpus; 0 for a class it does not have.

    Args:
        counts: int64, (classes,); K is the number of classes with a count.
        kind: "none": 1 for every class that has examples.
    """
    there = counts > 0
    weights = np.zeros(len(counts), np.float32)
    weights[there] = 1 if kind == "none" else counts.sum() / (there.sum() * counts[there])
    return weights


def weighted_loss(log_posteriors: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
    """Sum of w_y (-log p_y) over the sum of w_y, from log-posteriors of a whole part, in float64."""
    w = weights[targets].astype(np.float64)
    own = log_posteriors[np.arange(len(targets)), targets].astype(np.float64)
    return float(-(w * own).sum() / w.sum())
