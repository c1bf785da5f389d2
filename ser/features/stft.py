"""Log-spectrum of the short-time Fourier transform."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ser.config import Features

if TYPE_CHECKING:
    import torch


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
    import torch

    return {"hann": torch.hann_window, "hamming": torch.hamming_window}[name](length)
