"""Class-weighted losses for soft targets (label smoothing, mixup, votes)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ser.config import Training


def smoothed_targets(targets: Tensor, classes: int, smoothing: float) -> Tensor:
    """Label smoothing: (1 - s) one-hot + s / K (Szegedy et al. 2016, section 7).

    Args:
        targets: class indices, int64, (batch,).
        classes: K, the number of classes.
        smoothing: s, from 0 (one-hot) to 1 (uniform).

    Returns:
        float32, (batch, classes).
    """
    return functional.one_hot(targets, classes).float() * (1 - smoothing) + smoothing / classes


class CrossEntropy(nn.Module):
    """Cross-entropy: the sum over batch and classes of w_c q_c (-log p_c), divided by the sum of w_c q_c.

    For one-hot q this is cross_entropy(logits, targets, weight=w) of torch. For smoothed targets, label_smoothing of
    torch divides by the sum of w_y of the hard labels instead.
    """

    def __init__(self, config: Training) -> None:
        super().__init__()

    def forward(self, logits: Tensor, target_probabilities: Tensor, class_weights: Tensor) -> Tensor:
        """Compute the loss, a scalar: float64 for logits in float64, otherwise float32.

        Args:
            logits: (batch, classes), of any float type; log-posteriors give the same loss.
            target_probabilities: q, (batch, classes), rows that sum to 1.
            class_weights: w, (classes,), not negative.
        """
        log_p = _log_posteriors(logits)
        weights = class_weights.to(log_p.dtype) * target_probabilities.to(log_p.dtype)
        return -(weights * log_p).sum() / weights.sum()


class Focal(nn.Module):
    """Focal loss: each -log p_c is scaled by (1 - p_c)^gamma (Lin et al. 2017, equation 5, alpha as weights).

    Utterances that are already right count less. gamma is `training.focal_gamma`; 0 gives the cross-entropy.
    """

    def __init__(self, config: Training) -> None:
        super().__init__()
        self.gamma = config.focal_gamma

    def forward(self, logits: Tensor, target_probabilities: Tensor, class_weights: Tensor) -> Tensor:
        """Compute the loss; for the arguments see `CrossEntropy`."""
        log_p = _log_posteriors(logits)
        weights = class_weights.to(log_p.dtype) * target_probabilities.to(log_p.dtype)
        # 1 - p, kept above 0, where the gradient of a power below 1 is not finite.
        error = -torch.expm1(log_p).clamp(max=-torch.finfo(log_p.dtype).eps)
        return -(weights * error**self.gamma * log_p).sum() / weights.sum()


def _log_posteriors(logits: Tensor) -> Tensor:
    """Log-softmax in float32 or better, also under autocast."""
    return torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=1)
