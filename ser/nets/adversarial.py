"""Domain-adversarial training by gradient reversal (Ganin et al. 2016)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


class GradientReversal(torch.autograd.Function):
    """Identity, whose gradient is multiplied by -weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * gradients[0], None


def reverse_gradient(x: Tensor, weight: float) -> Tensor:
    """x, of any shape. Layers before it learn to raise the loss of layers after it, `weight` times as fast."""
    return GradientReversal.apply(x, weight)


def weight_at(progress: float) -> float:
    """2 / (1 + exp(-10 p)) - 1 (Ganin et al. 2016, section 5.2): 0 at the start, near 1 from a half on.

    Args:
        progress: finished share of the training, 0 to 1.
    """
    return 2 / (1 + math.exp(-10 * progress)) - 1


class DomainHead(nn.Module):
    """Classifier of corpus or speaker with one hidden layer and a reversed gradient, in float32.

    Args:
        size: features of the vector, and of the hidden layer.
        domains: number of classes.
    """

    def __init__(self, size: int, domains: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(size, size)
        self.outer = nn.Linear(size, domains)

    def forward(self, x: Tensor, weight: float) -> Tensor:
        """(batch, size) to logits, (batch, domains); `weight` is that of the reversed gradient."""
        with torch.autocast(x.device.type, enabled=False):
            return self.outer(torch.relu(self.hidden(reverse_gradient(x.float(), weight))))
