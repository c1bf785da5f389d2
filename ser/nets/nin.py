"""TDNN whose non-linearity is a micro network (Ghahremani et al. 2016; Lin et al. 2014, "Network in network")."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ser.frontends.preprocess import valid_mask


class NetworkInNetwork(nn.Module):
    """Layers of convolution over time with context {-1, 0, 1}, ReLU, and a micro network on each block of its outputs.

    A micro network is two linear transforms with ReLU after each; those of all blocks are one block-diagonal transform
    of a frame. Here each block has weights of its own, where Ghahremani et al. repeat one: as fast, and no larger to
    speak of (2 size hidden / blocks weights a layer). Beyond the length, every convolution sees zeros, as in TDNN.

    Args:
        in_size: features a frame.
        size: outputs of a layer's convolution, and of its micro networks.
        hidden: hidden units of all micro networks of a layer together.
        blocks: micro networks a layer; divides size and hidden.
    """

    def __init__(self, in_size: int, size: int, layers: int, hidden: int, blocks: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(in_size if i == 0 else size, size, kernel_size=(1, 3), padding=(0, 1)) for i in range(layers)
        ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.hidden = nn.ModuleList(BlockDiagonal(size, hidden, blocks) for _ in range(layers))
        self.outer = nn.ModuleList(BlockDiagonal(hidden, size, blocks) for _ in range(layers))
        self.blocks = blocks
        self.out_size = size

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(batch, frames, in_size), 0 beyond the (batch,) lengths, to (batch, frames, size), 0 there too."""
        batch, frames = x.shape[:2]
        mask = valid_mask(x, lengths).flatten()[:, None, None]
        for convolution, hidden, outer in zip(self.layers, self.hidden, self.outer, strict=True):
            # Channels last is the layout of x already (see TDNN), and blocks of a frame are views of it.
            y = torch.relu(convolution(x.transpose(1, 2)[:, :, None, :]))
            y = y.permute(0, 2, 3, 1).reshape(batch * frames, self.blocks, -1).transpose(0, 1)
            y = torch.relu(outer(torch.relu(hidden(y))))
            x = (y.transpose(0, 1) * mask).reshape(batch, frames, -1)
        return x


class BlockDiagonal(nn.Module):
    """A linear transform by blocks: (blocks, frames, in_size / blocks) to (blocks, frames, size / blocks).

    A batched product, not a grouped convolution, which takes twice as long on a CPU. Weights start as He et al. (2015)
    have them for ReLU: with nn.Linear's a signal fades in the 18 transforms of six layers.
    """

    def __init__(self, in_size: int, size: int, blocks: int) -> None:
        super().__init__()
        bound = (6 * blocks / in_size) ** 0.5
        self.weight = nn.Parameter(torch.empty(blocks, in_size // blocks, size // blocks).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(blocks, 1, size // blocks))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)
