"""Log-spectrum of the short-time Fourier transform."""

from __future__ import annotations

import numpy as np

from ser.common import InputError
from ser.config import Features


def log_stft(samples: np.ndarray, config: Features) -> np.ndarray:
    """log(max(|X|^2, floor)) of da Silva et al. (2020), section 2: natural logarithm, no centring, no padding.

    Args:
        samples: float32, (samples,), at `config.sampling_rate`, full scale 1.

    Returns:
        float32, (frames, bins) with frames = 1 + (samples - frame_length) // frame_shift.

    Raises:
        InputError: less than one frame.
    """
    import torch

    if len(samples) < config.frame_length:
        raise InputError(
            f"{len(samples)} samples at {config.sampling_rate} Hz are less than one frame of {config.frame_length}"
        )
    window = {"hann": torch.hann_window, "hamming": torch.hamming_window}[config.window](config.frame_length)
    spectrum = torch.stft(
        torch.from_numpy(np.ascontiguousarray(samples)),
        config.frame_length,
        config.frame_shift,
        window=window,
        center=False,
        return_complex=True,
    )
    power = torch.view_as_real(spectrum).square().sum(-1)
    return power.clamp_(min=config.floor).log_().T.contiguous().numpy()
