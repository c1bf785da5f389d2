"""Log of mel bands of the short-time Fourier transform's power."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ser.config import Features, FrontendSettings
from ser.frontends.log_stft import LogStft

if TYPE_CHECKING:
    from torch import nn


class LogMel(LogStft):
    """Mel bands over the spectrum of `LogStft`, under the same floor."""

    name = "logmel"
    linear_frequency = False

    def __init__(self, features: Features, settings: FrontendSettings) -> None:
        super().__init__(features)
        self.dim = settings.bands
        self.filters = mel_filters(features.bins, features.sampling_rate, settings.bands)

    def identity(self) -> dict[str, Any]:
        return {"frontend": "logmel", "bands": self.dim, **super().identity()}

    def extract(self, samples: np.ndarray) -> np.ndarray:
        return mel_bands(super().extract(samples), self.filters, self.features.floor).astype(np.float32)

    def graph(self) -> nn.Module:
        from ser.frontends.graph import SpectrumGraph

        return SpectrumGraph(self.features, self.filters)


def mel(frequency: np.ndarray | float) -> np.ndarray:
    """Hertz to mel as HTK has it (Young et al., The HTK Book, section 5.4): 2595 log10(1 + f / 700)."""
    return 2595 * np.log10(1 + np.asarray(frequency, np.float64) / 700)


def mel_filters(bins: int, sampling_rate: int, bands: int) -> np.ndarray:
    """Triangles of equal width on the mel scale, from 0 Hz to half the sampling rate.

    A triangle begins and ends at the centres of its neighbours, so between the first and the last centre a bin's
    weights sum to 1.

    Args:
        bins: of the power spectrum.
        sampling_rate: in Hz.
        bands: number of triangles.

    Returns:
        Weights, float64, (bins, bands).
    """
    step = mel(sampling_rate / 2) / (bands + 1)
    position = mel(np.linspace(0, sampling_rate / 2, bins)) / step
    return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(1, bands + 1)))


def mel_bands(log_power: np.ndarray, filters: np.ndarray, floor: float) -> np.ndarray:
    """From the power of bins to that of mel bands.

    Args:
        log_power: natural logarithm of power, (frames, bins).
        filters: as of `mel_filters`.
        floor: least power of a band.

    Returns:
        Natural logarithm, float64, (frames, bands), of at least log(floor).
    """
    return np.log(np.maximum(np.exp(log_power.astype(np.float64)) @ filters, floor))
