"""Layers of a pretrained front end as one (Yang et al. 2021, SUPERB)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LayerWeights(nn.Module):
    """Sum of the layers of a frame, weighted by a softmax over learned scalars, even at first."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(layers))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, frames, layers * dim), layers side by side, to (batch, frames, dim)."""
        weights = torch.softmax(self.scores, dim=0)
        # Not by unflatten, which ONNX export writes with the batch and frames of its example.
        return (x.reshape(*x.shape[:2], len(weights), -1) * weights[:, None]).sum(2)
