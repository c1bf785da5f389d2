"""The upper part of Whisper's encoder as part of a network, to be trained with it."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ser.frontends.preprocess import valid_mask
from ser.frontends.whisper import POSITIONS, WhisperEncoder

WINDOW = 2 * POSITIONS  # mel frames of the encoder's input at most: 30 s


class TrainableLayers(nn.Module):
    """Stored outputs of the frozen lower layers to outputs of the layers that the settings name.

    Args:
        encoder: its layers are copied.
        trained: number of last layers that are trained; one more than the encoder has: also its convolutions.
        stored: numbers of the stored layers, side by side, with the input of the first trained one.
        outputs: numbers of the output layers, side by side.

    Attributes:
        width: columns of the output.
        layers: of the output.
        subsampling: input frames for each output frame.
    """

    def __init__(self, encoder: WhisperEncoder, trained: int, stored: Sequence[int], outputs: Sequence[int]) -> None:
        super().__init__()
        self.first = len(encoder.layers) - trained  # number of the input of the first trained layer; -1: log-mel
        self.stored, self.outputs = tuple(stored), tuple(outputs)
        self.width, self.layers = encoder.size * len(outputs), len(outputs)
        self.subsampling = 2 if self.first < 0 else 1
        self.encoder = copy.deepcopy(encoder).requires_grad_(True)
        if self.first >= 0:
            del self.encoder.conv1, self.encoder.conv2, self.encoder.embed_positions
            del self.encoder.layers[: self.first]
        else:
            self.encoder.embed_positions.requires_grad_(False)  # sines, as in Whisper's own training

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Run the trained layers on stored frames.

        Args:
            x: (batch, frames, stored columns).
            lengths: valid frames of each row, (batch,).

        Returns:
            (batch, frames, width), and the valid frames of each row, (batch,).
        """
        if self.first < 0:
            return self._from_mel(x, lengths)
        layers = dict(zip(self.stored, x.chunk(len(self.stored), dim=2), strict=True))
        upper = self.encoder.upper(layers[self.first], valid_mask(x, lengths)[:, None, None])
        layers |= dict(enumerate(upper, start=self.first + 1))
        return torch.cat([layers[number] for number in self.outputs], dim=2), lengths

    def _from_mel(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode 30 s at a time. All windows of a row but its last are full, so its valid frames have no gap."""
        batch, frames, bands = x.shape
        size = min(frames, WINDOW)
        windows = -(-frames // size)
        x = functional.pad(x, (0, 0, 0, windows * size - frames)).reshape(batch * windows, size, bands)
        valid = (lengths[:, None] - size * torch.arange(windows, device=x.device)).clamp(0, size)
        layers = self.encoder(x.transpose(1, 2), valid.flatten().clamp(min=1))
        output = torch.cat([layers[number] for number in self.outputs], dim=2)
        return output.reshape(batch, -1, output.shape[2]), ((valid + 1) // 2).sum(1)
