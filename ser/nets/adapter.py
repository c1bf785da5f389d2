"""Residual adapters: a few weights a corpus inside a trunk that all share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Adapter(nn.Module):
    """x + up(relu(down(layernorm(x)))) (Houlsby et al. 2019; one a corpus: Gerczuk et al. 2021, EmoNet).

    `up` starts at 0, so a new adapter is the identity. Each vector is changed on its own, so padding reaches no frame.

    Args:
        size: features a vector.
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

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(batch, size) or (batch, frames, size) to the same shape.

        Args:
            lengths: (batch,); with them frames beyond the length become 0, which a TDNN that follows counts on.
        """
        y = x + self.up(torch.relu(self.down(self.norm(x))))
        if lengths is None:
            return y
        return y * (torch.arange(y.shape[1], device=y.device) < lengths[:, None])[..., None]
