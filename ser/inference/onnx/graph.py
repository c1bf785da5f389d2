"""The predictor in tensor operations alone, for export as a graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ser.frontends.preprocess import valid_mask
from ser.inference.predictor import Predictor


class PredictorGraph(nn.Module):
    """`Predictor` for a padded batch of samples or log-spectra, without resampling and mixing of channels.

    With normalisation by speaker or corpus it holds the statistics of training as group_mean and group_deviation,
    (bins,) each.

    Args:
        kind: "waveform": (batch, samples) and (batch,) samples; "spectrum": (batch, frames, bins) and (batch,) frames.
    """

    group_mean: Tensor | None
    group_deviation: Tensor | None

    def __init__(self, predictor: Predictor, kind: str) -> None:
        super().__init__()
        self.network, self.pairs, self.classes = predictor.model.network, predictor.pairs, predictor.classes
        self.frontend = predictor.frontend.graph() if kind == "waveform" else None
        self.storage, self.preprocess = predictor.frontend.storage, predictor.preprocess
        mean, deviation = map(torch.from_numpy, predictor.statistics) if predictor.statistics else (None, None)
        self.register_buffer("group_mean", mean)
        self.register_buffer("group_deviation", deviation)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Posteriors of a padded batch.

        Args:
            x: samples, (batch, samples), or stored features, (batch, frames, width).
            lengths: valid samples or frames of each row, (batch,).

        Returns:
            (batch, classes).
        """
        if self.frontend is not None:
            x, lengths = self.frontend(x, lengths)
            x = rounded(x, lengths) if self.storage == "int16" else x
        x, lengths = self.preprocess(x, lengths, self.group_mean, self.group_deviation)
        return self.network.average(self.network.embed(x, lengths), self.pairs, self.classes)


def rounded(x: Tensor, lengths: Tensor) -> Tensor:
    """Features rounded to two bytes as by `ser.features.as_stored`, each row by its least and greatest value.

    Args:
        x: (batch, frames, width).
        lengths: valid frames of each row, (batch,).
    """
    padding = ~valid_mask(x, lengths)[..., None]
    low = x.masked_fill(padding, float("inf")).amin((1, 2), keepdim=True)
    high = x.masked_fill(padding, float("-inf")).amax((1, 2), keepdim=True)
    span = torch.where(high > low, high - low, 1 + low.abs())
    return ((x - low) / span * 65535 + 0.499).floor() * (span / 65535) + low
