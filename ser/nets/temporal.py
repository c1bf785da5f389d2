"""Temporal blocks: (batch, frames, in) and a mask to (batch, frames, out). Padding never reaches a valid frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ser.config import Network
from ser.frontends.preprocess import valid_mask
from ser.nets.attention import RestrictedSelfAttention
from ser.nets.fast import ReLUWithin
from ser.nets.nin import NetworkInNetwork


class LSTM(nn.Module):
    """One direction of hidden_size units. Padding comes after every valid frame."""

    def __init__(self, in_size: int, hidden_size: int) -> None:
        super().__init__()
        self.forwards = nn.LSTM(in_size, hidden_size, batch_first=True)
        self.out_size = hidden_size

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.forwards(x)[0]


class BLSTM(nn.Module):
    """Both directions. The backward LSTM reads each utterance reversed within its length.

    So padding comes last in both directions, and the fused kernels can be used; packed sequences are four times slower
    on a CPU.
    """

    def __init__(self, in_size: int, hidden_size: int) -> None:
        super().__init__()
        self.forwards = nn.LSTM(in_size, hidden_size, batch_first=True)
        self.backwards = nn.LSTM(in_size, hidden_size, batch_first=True)
        self.out_size = 2 * hidden_size

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        frames = torch.arange(x.shape[1], device=x.device)
        turned = lengths[:, None] - 1 - frames
        turned = torch.where(turned >= 0, turned, frames)[..., None]
        backwards = self.backwards(x.gather(1, turned.expand(-1, -1, x.shape[2])))[0]
        backwards = backwards.gather(1, turned.expand(-1, -1, backwards.shape[2]))
        return torch.cat([self.forwards(x)[0], backwards], dim=2)


class TDNN(nn.Module):
    """Layers of convolution over time with context {-1, 0, 1} and ReLU; beyond the length, every layer sees zeros.

    Conv2d over (batch, size, 1, frames) with channels last: that is the layout of the input already, so nothing has
    to be rearranged for the products (docs/performance.md).
    """

    def __init__(self, in_size: int, size: int, layers: int, norm: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(in_size if i == 0 else size, size, kernel_size=(1, 3), padding=(0, 1)) for i in range(layers)
        ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(layers if norm == "layer" else 0))
        self.out_size = size

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        mask = valid_mask(x, lengths)
        padding = (~mask).flatten().nonzero().squeeze(1) if torch.is_grad_enabled() else None
        x = x.transpose(1, 2)[:, :, None, :]
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if padding is not None:
                x = ReLUWithin.apply(x, padding)
            else:
                x = torch.relu(x) * mask[:, None, None, :].to(x.dtype)
            if self.norms:
                x = self.norms[i](x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) * mask[:, None, None, :]
        return x.squeeze(2).transpose(1, 2)


class NoEncoder(nn.Module):
    """Frames as they are."""

    def __init__(self, in_size: int) -> None:
        super().__init__()
        self.out_size = in_size

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return x


def none(in_size: int, config: Network) -> nn.Module:
    return NoEncoder(in_size)


def lstm(in_size: int, config: Network) -> nn.Module:
    return LSTM(in_size, config.lstm.hidden_size)


def blstm(in_size: int, config: Network) -> nn.Module:
    return BLSTM(in_size, config.lstm.hidden_size)


def tdnn(in_size: int, config: Network) -> nn.Module:
    return TDNN(in_size, config.tdnn.size, config.tdnn.layers, config.tdnn.norm)


def attention(in_size: int, config: Network) -> nn.Module:
    a = config.attention
    return RestrictedSelfAttention(in_size, a.size, a.layers, a.heads, a.context)


def nin(in_size: int, config: Network) -> nn.Module:
    return NetworkInNetwork(in_size, config.nin.size, config.nin.layers, config.nin.hidden, config.nin.blocks)
