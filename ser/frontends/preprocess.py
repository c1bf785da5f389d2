"""Preprocessing of frames for the network, the same in training, evaluation, predict and graphs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ser.augment.spectral import NEPERS_PER_DECIBEL
from ser.config import Batches

LEAST_DEVIATION = 1e-3


class Preprocess(nn.Module):
    """Trimming by level, a floor below the maximum, frame subsampling, and CMVN by group or utterance.

    Padding beyond the lengths has no influence. Global CMVN is in the network.
    """

    def __init__(self, config: Batches) -> None:
        super().__init__()
        self.config = config

    def forward(
        self, x: Tensor, lengths: Tensor, mean: Tensor | None = None, deviation: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Stored features, (batch, frames, bins), and lengths from 1, (batch,), to the model input and its lengths.

        Args:
            mean, deviation: of the speaker or corpus, (bins,) each, if the normalisation is by these.
        """
        x, lengths = self.select(x, lengths)
        return self.normalise(x, lengths, mean, deviation), lengths

    def select(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Trim, floor and subsample frames; CMVN statistics are of these.

        Args:
            x: stored features, (batch, frames, bins).
            lengths: valid frames of each row, (batch,).

        Returns:
            Features, (batch, frames, bins), and the valid frames of each row, (batch,).
        """
        first, last = self.span(x, lengths)
        if self.config.floor_decibels:
            x = torch.maximum(x, self.floor(x, lengths)[:, None, None])
        if self.config.trim_decibels:
            index = (first[:, None] + torch.arange(x.shape[1], device=x.device)).clamp(max=x.shape[1] - 1)
            x = x.gather(1, index[..., None].expand(-1, -1, x.shape[2]))
        step = self.config.frame_step
        return x[:, ::step] if step > 1 else x, (last - first + step - 1) // step

    def span(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Start and end of each utterance after trimming.

        Args:
            x: stored features, (batch, frames, bins).
            lengths: valid frames of each row, (batch,).

        Returns:
            The first frame and the end, int64, (batch,) each.
        """
        if not self.config.trim_decibels:
            return torch.zeros_like(lengths), lengths
        return loud_span(x, lengths, self.config.trim_decibels)

    def floor(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The floor of log power.

        Args:
            x: stored features, (batch, frames, bins).
            lengths: valid frames of each row, (batch,).

        Returns:
            (batch,), natural logarithm of power.
        """
        return _peak(x, lengths) - self.config.floor_decibels * NEPERS_PER_DECIBEL

    def normalise(
        self, x: Tensor, lengths: Tensor, mean: Tensor | None = None, deviation: Tensor | None = None
    ) -> Tensor:
        """Subtract a mean and divide by a deviation.

        Args:
            x: as `select` gives it, (batch, frames, bins).
            lengths: valid frames of each row, (batch,).
            mean: (bins,); None: of the utterance if the normalisation is by utterance, else x is returned.
            deviation: (bins,), as `mean`.

        Returns:
            (batch, frames, bins).
        """
        if mean is None or deviation is None:
            if self.config.normalisation != "utterance":
                return x
            wide = x.double() * valid_mask(x, lengths)[..., None]
            mean, deviation = (m[:, None] for m in _moments(lengths[:, None], wide.sum(1), wide.square().sum(1)))
        return (x - mean) / deviation


class RunningStats:
    """Running mean and deviation of each bin."""

    def __init__(self, bins: int, count: int = 0, sums: Tensor | None = None) -> None:
        self.count = count
        self.sums = torch.zeros(2, bins, dtype=torch.float64) if sums is None else sums

    def add(self, values: np.ndarray) -> None:
        """Add frames, (frames, bins)."""
        wide = torch.from_numpy(values).double()
        self.count += len(wide)
        self.sums += torch.stack([wide.sum(0), wide.square().sum(0)])

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation, float32, (bins,) each."""
        mean, deviation = _moments(torch.tensor(max(self.count, 1)), *self.sums)
        return mean.numpy(), deviation.numpy()


def loud_span(x: Tensor, lengths: Tensor, decibels: float) -> tuple[Tensor, Tensor]:
    """Start and end of utterances: from the first to the last frame within `decibels` of the loudest.

    A frame's level is its total power, the sum over bins of exp(x).

    Args:
        x: natural logarithms of power, (batch, frames, bins).
        lengths: frames of each, at least 1, (batch,).

    Returns:
        The first frame and the end, int64, (batch,) each; the loudest frame lies between.
    """
    valid = valid_mask(x, lengths)
    power = (x.masked_fill(~valid[..., None], -torch.inf) - _peak(x, lengths)[:, None, None]).exp().sum(2)
    loud = power >= power.amax(1, keepdim=True) * 10 ** (-decibels / 10)
    frames = torch.arange(x.shape[1], device=x.device)
    return torch.where(loud, frames, x.shape[1]).amin(1), torch.where(loud, frames, -1).amax(1) + 1


def valid_mask(x: Tensor, lengths: Tensor) -> Tensor:
    """Mask of the frames or samples that are no padding.

    Args:
        x: (batch, time, ...).
        lengths: valid frames or samples of each row, (batch,).

    Returns:
        bool, (batch, time).
    """
    return torch.arange(x.shape[1], device=x.device) < lengths[:, None]


def _peak(x: Tensor, lengths: Tensor) -> Tensor:
    return x.masked_fill(~valid_mask(x, lengths)[..., None], -torch.inf).amax((1, 2))


def _moments(count: Tensor, total: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation, float32, of sums in float64."""
    mean = total / count
    return mean.float(), (squares / count - mean.square()).clamp(min=LEAST_DEVIATION**2).sqrt().float()
