"""Soft targets (label smoothing, mixup) and their weighted cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def smoothed_targets(targets: Tensor, classes: int, smoothing: float) -> Tensor:
    """(1 - s) one-hot + s / K (Szegedy et al. 2016, section 7).

    Args:
        targets: class indices, int64, (batch,).
        smoothing: s, from 0 (one-hot) to 1 (even).

    Returns:
        float32, (batch, classes).
    """
    return functional.one_hot(targets, classes).float() * (1 - smoothing) + smoothing / classes


def soft_cross_entropy(logits: Tensor, target_probabilities: Tensor, class_weights: Tensor) -> Tensor:
    """Sum over batch and classes of w_c q_c (-log p_c) over the sum of w_c q_c, in float32: a scalar.

    For one-hot q it is torch's cross_entropy(logits, targets, weight=w). For smoothed ones torch's label_smoothing
    divides by the sum of w_y of the hard labels instead.

    Args:
        logits: (batch, classes), of any float type.
        target_probabilities: q, (batch, classes), rows that sum to 1.
        class_weights: w, (classes,), not negative.
    """
    weights = class_weights.float() * target_probabilities.float()
    return -(weights * torch.log_softmax(logits.float(), dim=1)).sum() / weights.sum()


def mixed_targets(one: Tensor, other: Tensor, weights: Tensor) -> Tensor:
    """w one + (1 - w) other (mixup: Zhang et al. 2018), float32.

    Args:
        one, other: target probabilities, (batch, classes).
        weights: share of `one` in each mixed example, (batch,).
    """
    return torch.lerp(other.float(), one.float(), weights.float()[:, None])
