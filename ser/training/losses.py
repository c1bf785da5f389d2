"""Losses of soft targets (label smoothing, mixup, votes), weighted by class."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ser.config import Training


def smoothed_targets(targets: Tensor, classes: int, smoothing: float) -> Tensor:
    """(1 - s) one-hot + s / K (Szegedy et al. 2016, section 7).

    Args:
        targets: class indices, int64, (batch,).
        smoothing: s, from 0 (one-hot) to 1 (even).

    Returns:
        float32, (batch, classes).
    """
    return functional.one_hot(targets, classes).float() * (1 - smoothing) + smoothing / classes


class CrossEntropy(nn.Module):
    """Sum over batch and classes of w_c q_c (-log p_c) over the sum of w_c q_c.

    For one-hot q it is torch's cross_entropy(logits, targets, weight=w). For smoothed ones torch's label_smoothing
    divides by the sum of w_y of the hard labels instead.
    """

    def __init__(self, config: Training) -> None:
        super().__init__()

    def forward(self, logits: Tensor, target_probabilities: Tensor, class_weights: Tensor) -> Tensor:
        """A scalar, in float64 for logits in float64, else in float32.

        Args:
            logits: (batch, classes), of any float type; log-posteriors give the same value.
            target_probabilities: q, (batch, classes), rows that sum to 1.
            class_weights: w, (classes,), not negative.
        """
        log_p = _log_posteriors(logits)
        weights = class_weights.to(log_p.dtype) * target_probabilities.to(log_p.dtype)
        return -(weights * log_p).sum() / weights.sum()


class Focal(nn.Module):
    """Cross-entropy with each -log p_c scaled by (1 - p_c)^gamma (Lin et al. 2017, equation 5, alpha as weights).

    What is right already counts less; gamma = `training.focal_gamma` = 0 is the cross-entropy.
    """

    def __init__(self, config: Training) -> None:
        super().__init__()
        self.gamma = config.focal_gamma

    def forward(self, logits: Tensor, target_probabilities: Tensor, class_weights: Tensor) -> Tensor:
        """As of `CrossEntropy`."""
        log_p = _log_posteriors(logits)
        weights = class_weights.to(log_p.dtype) * target_probabilities.to(log_p.dtype)
        # Above 0, where a power below 1 has no finite gradient.
        wrong = -torch.expm1(log_p).clamp(max=-torch.finfo(log_p.dtype).eps)
        return -(weights * wrong**self.gamma * log_p).sum() / weights.sum()


def _log_posteriors(logits: Tensor) -> Tensor:
    """In float32 at least, under autocast too."""
    return torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=1)
