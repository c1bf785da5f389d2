"""Class weights of the loss."""

from __future__ import annotations

import numpy as np


def class_weights(counts: np.ndarray, kind: str = "balanced") -> np.ndarray:
    """Compute w_c = N / (K n_c) from the training counts of one corpus; 0 for an absent class.

    Args:
        counts: utterances without augmented copies, int64, (classes,); N is their sum, K the number above 0.
        kind: "balanced", or "none": 1 for every class with utterances.

    Returns:
        float32, (classes,).
    """
    present = counts > 0
    weights = np.zeros(len(counts), np.float32)
    weights[present] = 1 if kind == "none" else counts.sum() / (present.sum() * counts[present])
    return weights
