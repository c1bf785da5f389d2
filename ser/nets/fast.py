"""Two elementwise functions whose plain forms cost a third of a TDNN's step on a CPU (docs/performance.md)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Dropout(nn.Module):
    """Dropout as nn.Dropout's; on a CPU a value takes 16 random bits, where torch draws a float64 on one thread.

    Args:
        p: probability that a value becomes 0, kept to the next multiple of 2**-16.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not 0 < self.p < 1 or x.device.type != "cpu":
            return functional.dropout(x, self.p, self.training)
        words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        draws = words.view(torch.int16)[: x.numel()].view(x.shape)
        kept = (draws >= round(self.p * 65536) - 32768).to(x.dtype)
        return x * kept.mul_(1 / (1 - self.p))


class ReLUWithin(torch.autograd.Function):
    """relu(x) with zeros in some rows, in place: a row that is 0 gets no gradient from ReLU's own rule.

    x: (batch, size, 1, frames) with channels last; rows: positions of padded frames in (batch x frames).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor) -> Tensor:
        y = x.relu_()
        y.permute(0, 2, 3, 1).view(-1, y.shape[1]).index_fill_(0, rows, 0)
        ctx.mark_dirty(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (y,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradients[0], y, 0), None
