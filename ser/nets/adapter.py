"""Residual adapters: a few weights for each corpus in a shared trunk."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Adapter(nn.Module):
    """x + up(relu(down(layernorm(x)))) (Houlsby et al. 2019; one a corpus: Gerczuk et al. 2021, EmoNet).

    `up` starts at 0, so a new adapter is the identity.

    Args:
        size: features of a vector.
        bottleneck: features between `down` and `up`.
    """

    def __init__(self, size: int, bottleneck: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.down = nn.Linear(size, bottleneck)
        self.up = nn.Linear(bottleneck, size)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        self.out_size = size

    def forward(self, x: Tensor) -> Tensor:
        """(..., size) to the same shape."""
        return x + self.up(torch.relu(self.down(self.norm(x))))
