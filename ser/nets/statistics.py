"""Statistics pooling: mean, mean and deviation (Snyder et al. 2018), attentive statistics (Okabe et al. 2018)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from ser.frontends.preprocess import valid_mask

LEAST_VARIANCE = 1e-6  # under the root, whose slope at 0 is infinite


class StatisticsPooling(nn.Module):
    """Mean over the frames of an utterance, with or without their standard deviation. In float32.

    Args:
        size: values of a frame.
        deviation: whether the deviation is appended to the mean.
        hidden: units of the attention over frames; 0: all frames have the same weight.
    """

    def __init__(self, size: int, deviation: bool, hidden: int = 0) -> None:
        super().__init__()
        self.deviation = deviation
        self.attention = (
            nn.Sequential(nn.Linear(size, hidden), nn.Tanh(), nn.Linear(hidden, 1, bias=False)) if hidden else None
        )
        self.out_size = size * (2 if deviation else 1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(batch, frames, size) and (batch,) lengths of at least 1 to (batch, out_size)."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            weights = self.weights(x, lengths)[:, None]
            mean = torch.bmm(weights, x)
            if not self.deviation:
                return mean.squeeze(1)
            centred = (x - mean) * valid_mask(x, lengths)[..., None]
            variance = torch.bmm(weights, centred.square())
            return torch.cat([mean, variance.clamp(min=LEAST_VARIANCE).sqrt()], dim=2).squeeze(1)

    def weights(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Weights of frames, (batch, frames): 0 beyond the length, with sum 1."""
        valid = valid_mask(x, lengths)
        if self.attention is None:
            return valid.float() / lengths[:, None]
        return torch.softmax(self.attention(x.float()).squeeze(2).masked_fill(~valid, float("-inf")), dim=1)


mean = partial(StatisticsPooling, deviation=False)
statistics = partial(StatisticsPooling, deviation=True)
attentive_statistics = partial(StatisticsPooling, deviation=True, hidden=128)
