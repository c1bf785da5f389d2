"""The upper part of Whisper's encoder as part of a network, to be trained with it."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ser.frontends.preprocess import valid_mask
from ser.frontends.whisper import POSITIONS, WhisperEncoder

WINDOW = 2 * POSITIONS  # mel frames that are encoded at once: 30 s


class TrainableLayers(nn.Module):
    """Stored outputs of the frozen lower part to those of the layers that are asked for.

    Args:
        encoder: its layers are copied.
        trained: last ones that are trained; more than there are: all of them and the convolutions, of log-mel frames.
        stored: numbers of the layers that are stored side by side, the input of the first trained one among them.
        wanted: numbers of those that come out side by side.

    Attributes:
        width: columns that come out.
        layers: that come out.
        subsampling: frames that go in for each that comes out.
    """

    def __init__(self, encoder: WhisperEncoder, trained: int, stored: Sequence[int], wanted: Sequence[int]) -> None:
        super().__init__()
        self.first = len(encoder.layers) - trained  # what goes into the first trained layer; -1: log-mel frames
        self.stored, self.wanted = tuple(stored), tuple(wanted)
        self.width, self.layers = encoder.size * len(wanted), len(wanted)
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
        found = dict(zip(self.stored, x.chunk(len(self.stored), dim=2), strict=True))
        mask = valid_mask(x, lengths)[:, None, None]
        for number, hidden in enumerate(self.encoder.upper(found[self.first], mask), start=self.first + 1):
            found[number] = hidden
        return torch.cat([found[number] for number in self.wanted], dim=2), lengths

    def _from_mel(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """30 s at a time; all windows of a row but its last are full, so its frames lie side by side."""
        batch, frames, bands = x.shape
        size = min(frames, WINDOW)
        windows = -(-frames // size)
        x = functional.pad(x, (0, 0, 0, windows * size - frames)).reshape(batch * windows, size, bands)
        own = (lengths[:, None] - size * torch.arange(windows, device=x.device)).clamp(0, size)
        layers = self.encoder(x.transpose(1, 2), own.flatten().clamp(min=1))
        found = torch.cat([layers[number] for number in self.wanted], dim=2)
        return found.reshape(batch, -1, found.shape[2]), ((own + 1) // 2).sum(1)
