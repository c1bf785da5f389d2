"""Log-spectrum of the short-time Fourier transform (da Silva et al. 2020)."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ser.config import Features, FrontendSettings
from ser.frontends.base import Frontend

if TYPE_CHECKING:
    import torch
    from torch import nn


class LogStft(Frontend):
    """The paper's front end: settings are those of conf/features.yaml."""

    name = "log_stft"
    log_power = linear_frequency = True

    def __init__(self, features: Features, settings: FrontendSettings | None = None) -> None:
        self.features = features
        self.sampling_rate, self.frame_shift = features.sampling_rate, features.frame_shift
        self.frame_length = self.shortest = features.frame_length
        self.dim, self.storage = features.bins, features.storage

    def identity(self) -> dict[str, Any]:
        return asdict(self.features)

    def num_frames(self, num_samples: int) -> int:
        return max(0, 1 + (num_samples - self.features.frame_length) // self.features.frame_shift)

    def extract(self, samples: np.ndarray) -> np.ndarray:
        return log_stft(samples, self.features)

    def graph(self) -> nn.Module:
        from ser.frontends.graph import SpectrumGraph

        return SpectrumGraph(self.features)


def log_stft(samples: np.ndarray, config: Features) -> np.ndarray:
    """log(max(|X|^2, floor)) of da Silva et al. (2020), section 2: natural logarithm, no centring.

    Less than one frame is padded with zeros to one; nothing else is padded.

    Args:
        samples: float32, (samples,), at `config.sampling_rate`, full scale 1.

    Returns:
        float32, (frames, bins) with frames = 1 + (samples - frame_length) // frame_shift, and 1 at least.
    """
    import torch

    if len(samples) < config.frame_length:
        samples = np.pad(samples, (0, config.frame_length - len(samples)))
    frames = torch.from_numpy(np.ascontiguousarray(samples)).unfold(0, config.frame_length, config.frame_shift)
    spectrum = torch.fft.rfft(frames * window(config.window, config.frame_length))
    # A sum over the axis of real and imaginary part takes three times as long.
    squares = torch.view_as_real(spectrum).square_()
    return (squares[..., 0] + squares[..., 1]).clamp_(min=config.floor).log_().numpy()


@lru_cache(maxsize=4)
def window(name: str, length: int) -> torch.Tensor:
    """A periodic window.

    Args:
        name: hann or hamming.
        length: samples.

    Returns:
        float32, (length,).
    """
    import torch

    return {"hann": torch.hann_window, "hamming": torch.hamming_window}[name](length)
