"""What predict does as tensor operations alone, so that it can be written down as a graph."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ser.augment.spectral import NEPERS_PER_DECIBEL
from ser.batches.view import LEAST_DEVIATION
from ser.frontends.graph import within
from ser.inference.predictor import Predictor


class Graph(nn.Module):
    """What `Predictor` does, from samples or log-spectrum on, of a padded batch and in tensor operations alone.

    Not in it: resampling and mixing down of channels.
    Where the normalisation is by speaker or corpus, the training's statistics are in it as group_mean and
    group_deviation, (bins,) each.

    Args:
        kind: "waveform": (batch, samples) and (batch,) samples; "spectrum": (batch, frames, bins) and (batch,) frames.
    """

    group_mean: Tensor
    group_deviation: Tensor

    def __init__(self, predictor: Predictor, kind: str) -> None:
        super().__init__()
        self.network, self.ways = predictor.model.network, predictor.ways
        self.frontend = predictor.frontend.graph() if kind == "waveform" else None
        self.storage, self.batches = predictor.frontend.storage, predictor.batches
        self.classes, bins = predictor.classes, predictor.frontend.width
        mean, deviation = predictor.statistics or (np.zeros(bins, np.float32), np.ones(bins, np.float32))
        self.register_buffer("group_mean", torch.from_numpy(mean))
        self.register_buffer("group_deviation", torch.from_numpy(deviation))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Posteriors, (batch, classes)."""
        if self.frontend is not None:
            x, lengths = self.frontend(x, lengths)
            x = as_stored(x, lengths) if self.storage == "int16" else x
        x, lengths = self._shaped(x, lengths)
        pooled = self.network.embed(self._normalised(x, lengths), lengths)
        return self.network.average(pooled, self.ways, self.classes)

    def _shaped(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """As `Predictor.shaped`."""
        config, there = self.batches, within(x, lengths)
        peak = x.masked_fill(~there[..., None], float("-inf")).amax((1, 2), keepdim=True)
        first, last = torch.zeros_like(lengths), lengths
        if config.trim_decibels:
            power = (x - peak).exp().sum(2) * there
            loud = power >= power.amax(1, keepdim=True) * 10 ** (-config.trim_decibels / 10)
            frames = torch.arange(x.shape[1])
            first = torch.where(loud, frames, x.shape[1]).amin(1)
            last = torch.where(loud, frames, -1).amax(1) + 1
        if config.floor_decibels:
            x = torch.maximum(x, peak - config.floor_decibels * NEPERS_PER_DECIBEL)
        if config.trim_decibels or config.frame_step > 1:
            index = first[:, None] + torch.arange(0, x.shape[1], config.frame_step)
            index = index.clamp(max=x.shape[1] - 1)[..., None]
            x = x.gather(1, index.expand(-1, -1, x.shape[2]))
        return x, (last - first + config.frame_step - 1) // config.frame_step

    def _normalised(self, x: Tensor, lengths: Tensor) -> Tensor:
        """As `Predictor.normalised`."""
        if self.batches.normalisation in ("speaker", "corpus"):
            return (x - self.group_mean) / self.group_deviation
        if self.batches.normalisation != "utterance":
            return x
        there, count = within(x, lengths)[..., None], lengths[:, None, None]
        centred = x - (x * there).sum(1, keepdim=True) / count
        variance = (centred.square() * there).sum(1, keepdim=True) / count
        return centred / variance.clamp(min=LEAST_DEVIATION**2).sqrt()


def as_stored(x: Tensor, lengths: Tensor) -> Tensor:
    """As `ser.features.as_stored` rounds them to two bytes, each row by its own least and greatest value."""
    padding = ~within(x, lengths)[..., None]
    low = x.masked_fill(padding, float("inf")).amin((1, 2), keepdim=True)
    high = x.masked_fill(padding, float("-inf")).amax((1, 2), keepdim=True)
    span = torch.where(high > low, high - low, 1 + low.abs())
    return ((x - low) / span * 65535 + 0.499).floor() * (span / 65535) + low
