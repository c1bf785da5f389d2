"""Local attention pooling (da Silva et al. 2020, equations 1 to 3; Mirsamadi et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AttentionPooling(nn.Module):
    """a_t = softmax_t(u . x_t); mean = sum a_t x_t; variance = sum a_t x_t^2 - mean^2, clamped at 0. In float32.

    Args:
        size: features a frame.
        variance: whether the variance is appended to the mean.
    """

    def __init__(self, size: int, variance: bool) -> None:
        super().__init__()
        self.attention = nn.Linear(size, 1, bias=False)
        self.variance = variance
        self.out_size = size * (2 if variance else 1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(batch, frames, size) and (batch,) lengths of at least 1 to (batch, out_size)."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            padding = torch.arange(x.shape[1], device=x.device) >= lengths[:, None]
            scores = self.attention(x).squeeze(2).masked_fill(padding, float("-inf"))
            weights = torch.softmax(scores, dim=1)[:, None, :]
            mean = torch.bmm(weights, x).squeeze(1)
            if not self.variance:
                return mean
            square = torch.bmm(weights, x.square()).squeeze(1)
            return torch.cat([mean, (square - mean.square()).clamp(min=0)], dim=1)


def mean(size: int) -> nn.Module:
    return AttentionPooling(size, variance=False)


def mean_and_variance(size: int) -> nn.Module:
    return AttentionPooling(size, variance=True)
