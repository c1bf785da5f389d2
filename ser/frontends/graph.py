"""Front ends as torch modules of padded batches, for export: (samples, lengths) to (features, lengths)."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ser.config import Features
from ser.frontends import whisper
from ser.frontends.log_stft import window
from ser.frontends.preprocess import valid_mask

# Endings of the names of buffers that are no weights, and stay in full precision.
ANALYSIS = ("basis", "filters")


class SpectrumGraph(nn.Module):
    """`LogStft` or `LogMel` of a padded batch; a row shorter than a frame is padded with zeros to one.

    Args:
        filters: of the mel bands, (bins, bands); None: bins.
    """

    basis: Tensor
    filters: Tensor | None

    def __init__(self, features: Features, filters: np.ndarray | None = None) -> None:
        super().__init__()
        self.length, self.shift, self.floor = features.frame_length, features.frame_shift, features.floor
        self.register_buffer("basis", fourier_basis(window(features.window, features.frame_length)))
        self.register_buffer("filters", None if filters is None else torch.from_numpy(filters).float())

    def forward(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Features of a padded batch.

        Args:
            samples: float32, (batch, samples), of full scale 1; padding is ignored.
            lengths: valid samples of each row, (batch,).

        Returns:
            (batch, frames, bins), and the valid frames of each row, (batch,).
        """
        samples = functional.pad(torch.where(valid_mask(samples, lengths), samples, 0.0), (0, self.length - 1))
        power = power_spectrum(samples, self.basis, self.shift).transpose(1, 2).clamp(min=self.floor)
        if self.filters is not None:
            power = (power @ self.filters).clamp(min=self.floor)
        return power.log(), (lengths - self.length).clamp(min=0) // self.shift + 1


class WhisperGraph(nn.Module):
    """`Pretrained` with Whisper's encoder for a padded batch; all windows of 30 s of a recording are encoded together.

    Args:
        numbers: of the layers, 0 the convolutions; none: log-mel frames.
        trim: length and shift in samples of the frames by whose level the audio is trimmed.
        decibels: below the loudest of these frames; 0: no trimming.
        shortest: samples; shorter recordings are padded with zeros.
    """

    basis: Tensor
    filters: Tensor

    def __init__(
        self,
        encoder: whisper.WhisperEncoder,
        numbers: tuple[int, ...],
        trim: tuple[int, int],
        decibels: float,
        shortest: int,
    ) -> None:
        super().__init__()
        self.encoder, self.numbers, self.shortest = encoder, numbers, shortest
        self.trim, self.decibels = trim, decibels
        self.register_buffer("basis", fourier_basis(torch.hann_window(whisper.N_FFT)))
        self.register_buffer("filters", whisper.mel_filters(encoder.bands))

    def forward(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Features of a padded batch.

        Args:
            samples: float32, (batch, samples), of full scale 1; padding is ignored.
            lengths: valid samples of each row, (batch,).

        Returns:
            (batch, frames, layers * size), and the valid frames of each row, (batch,).
        """
        samples = torch.where(valid_mask(samples, lengths), samples, 0.0)
        start, count = self._span(samples, lengths)
        mel, frames = self._log_mel(samples, start, count)
        if not self.numbers:
            return mel.transpose(2, 3).flatten(1, 2), frames.sum(1)
        layers = self.encoder(mel.flatten(0, 1), frames.flatten().clamp(min=1))
        # All windows of a row but its last are full, so its valid frames have no gap.
        output = torch.cat([layers[i] for i in self.numbers], dim=2)
        return output.reshape(samples.shape[0], -1, output.shape[2]), ((frames + 1) // 2).sum(1)

    def _span(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """First sample and number of samples after trimming, as of `trim_samples`, (batch,) each."""
        if not self.decibels:
            return torch.zeros_like(lengths), lengths
        length, shift = self.trim
        total = functional.pad(samples.double().square().cumsum(1), (1, 0))
        total = functional.pad(total, (0, length))  # a row of fewer samples still has a frame, which is not used
        power = total[:, length::shift] - total[:, :-length:shift]
        first = torch.arange(power.shape[1]) * shift
        valid = first + length <= lengths[:, None]
        power = power.masked_fill(~valid, -1.0)
        loud = valid & (power >= power.amax(1, keepdim=True) * 10 ** (-self.decibels / 10))
        start = torch.where(loud, first, samples.shape[1]).amin(1)
        end = torch.where(loud, first, -1).amax(1) + length
        end = torch.where(end + shift > lengths, lengths, end)  # the last frame is loud: to the end
        short = lengths < length
        return torch.where(short, 0, start), torch.where(short, lengths, end - start)

    def _log_mel(self, samples: Tensor, start: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """`whisper.log_mel` of the windows of the samples from `start`.

        Returns:
            (batch, windows, bands, frames), and the number of valid frames, (batch, windows); the others are zeros.
        """
        length = count.clamp(min=self.shortest)
        size = length.amax().clamp(max=whisper.POSITIONS * whisper.FRAME)
        first = torch.arange(cast(int, (length.amax() + size - 1) // size)) * size  # of each window
        length = torch.minimum(length[:, None] - first, size)
        length = torch.where((first > 0) & (length < whisper.FRAME), 0, length)[..., None]
        half = whisper.N_FFT // 2
        index = (torch.arange(cast(int, size + 2 * half)) - half).abs()
        index = torch.where(index < length, index, 2 * (length - 1) - index).clamp(min=0) + first[:, None]
        source = (start[:, None, None] + index).clamp(max=samples.shape[1] - 1)
        reflected = samples.gather(1, source.flatten(1)).reshape(source.shape) * (index < count[:, None, None])
        power = power_spectrum(reflected.flatten(0, 1), self.basis, whisper.HOP)[:, :, :-1]
        mel = (self.filters @ power).clamp(min=1e-10).log10()
        mel = mel.reshape(source.shape[0], source.shape[1], mel.shape[1], -1)
        frames = length // whisper.HOP
        valid = (torch.arange(mel.shape[3]) < frames)[:, :, None]
        peak = mel.masked_fill(~valid, -math.inf).amax((2, 3), keepdim=True)
        return (torch.maximum(mel, peak - 8) + 4) / 4 * valid, frames[..., 0]


def fourier_basis(window: Tensor) -> Tensor:
    """The windowed real Fourier transform as kernels of a convolution: cosines, then sines, (length + 2, 1, length)."""
    transform = torch.fft.rfft(torch.eye(len(window), dtype=torch.float64))
    basis = torch.cat([transform.real, transform.imag], dim=1) * window.double()[:, None]
    return basis.T[:, None].float().contiguous()


def power_spectrum(samples: Tensor, basis: Tensor, shift: int) -> Tensor:
    """Power spectrum of frames.

    Args:
        samples: (batch, samples).
        basis: windowed cosines, then sines, (2 * bins, 1, frame length).
        shift: samples from frame to frame.

    Returns:
        (batch, bins, frames).
    """
    real, imaginary = functional.conv1d(samples[:, None], basis, stride=shift).chunk(2, dim=1)
    return real.square() + imaginary.square()
