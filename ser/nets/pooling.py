"""Local attention pooling (da Silva et al. 2020, equations 1 to 3; Mirsamadi et al. 2017)."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ser.frontends.preprocess import valid_mask


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
            padding = ~valid_mask(x, lengths)
            if torch.is_grad_enabled():
                return cast(Tensor, Pooled.apply(x, self.attention.weight, padding, self.variance))
            return _pooled(x.float(), self.attention.weight, padding, self.variance)[0]

    def weights(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The weights a_t, (batch, frames): 0 beyond the length, with sum 1."""
        with torch.autocast(x.device.type, enabled=False):
            return _weights(x.float(), self.attention.weight, ~valid_mask(x, lengths)).squeeze(1)


def _weights(frames: Tensor, attention: Tensor, padding: Tensor) -> Tensor:
    """(batch, 1, frames)."""
    scores = functional.linear(frames, attention).squeeze(2).masked_fill(padding, float("-inf"))
    return torch.softmax(scores, dim=1)[:, None, :]


def _pooled(frames: Tensor, attention: Tensor, padding: Tensor, variance: bool) -> tuple[Tensor, list[Tensor]]:
    """Pooled vectors, (batch, out_size), and for the gradient: weights, mean and the variance before it is clamped."""
    weights = _weights(frames, attention, padding)
    mean = torch.bmm(weights, frames)
    if not variance:
        return mean.squeeze(1), [weights, mean]
    spread = torch.bmm(weights, frames.square()) - mean.square()
    return torch.cat([mean, spread.clamp(min=0)], dim=2).squeeze(1), [weights, mean, spread]


class Pooled(torch.autograd.Function):
    """The pooling with its own gradient, which reads the frames a third as often as automatic differentiation."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, attention: Tensor, padding: Tensor, variance: bool) -> Tensor:
        pooled, saved = _pooled(x.float(), attention, padding, variance)
        ctx.save_for_backward(x, attention, *saved)
        return pooled

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, attention, weights, mean, *spread = ctx.saved_tensors
        frames = x.float()
        grad_mean = gradients[0][:, None, : mean.shape[2]]
        if spread:
            grad_square = gradients[0][:, None, mean.shape[2] :] * (spread[0] >= 0)
            grad_mean = grad_mean - 2 * mean * grad_square
        grad_weights = torch.bmm(grad_mean, frames.transpose(1, 2))
        if spread:
            grad_weights += torch.bmm(grad_square, frames.square().transpose(1, 2))
        grad_scores = weights * (grad_weights - (weights * grad_weights).sum(2, keepdim=True))
        both = torch.cat([weights, grad_scores], dim=1).transpose(1, 2)
        grad_frames = torch.bmm(both, torch.cat([grad_mean, attention.expand_as(grad_mean)], dim=1))
        grad_attention = grad_scores.reshape(1, -1) @ frames.flatten(0, 1)
        if spread:
            grad_frames.addcmul_(frames * (2 * grad_square), weights.transpose(1, 2))
        return grad_frames.to(x.dtype), grad_attention, None, None


mean = partial(AttentionPooling, variance=False)
mean_and_variance = partial(AttentionPooling, variance=True)
