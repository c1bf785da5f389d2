"""Weights of the classes in the loss."""

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
