"""Time-restricted self-attention (Povey et al. 2018, "A time-restricted self-attention layer for ASR")."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# Queries of a block at least, for matrix products of short rows are slow.
BLOCK = 16


class RestrictedSelfAttention(nn.Module):
    """Linear and ReLU, then layers in which each frame attends to those within +-context of it in its utterance.

    Povey's layer, linear -> attention -> ReLU, has a LayerNorm before it and a residual connection around it in place
    of batch normalisation. The residual path is not normalised, so it keeps loudness.

    Memory is linear in frames: blocks of b = max(context, BLOCK) frames each meet the b + 2 context keys around them.
    A banded mask over all pairs would hold 4 times the scores for 200 frames and a context of 15, and 43 times for the
    2000 of IEMOCAP's longest utterances, and as many biases, which differ by frame.

    Args:
        size: width of queries, keys, values and the output, a multiple of heads.
    """

    def __init__(self, in_size: int, size: int, layers: int, heads: int, context: int) -> None:
        super().__init__()
        self.context, self.block = context, max(context, BLOCK)
        self.inner = nn.Linear(in_size, size)
        self.layers = nn.ModuleList(Layer(size, heads, context, self.block) for _ in range(layers))
        self.out_size = size

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(batch, frames, in_size) and (batch,) lengths to (batch, frames, size), 0 beyond the length."""
        frames = x.shape[1]
        x = torch.relu(self.inner(functional.pad(x, (0, 0, 0, -frames % self.block))))
        queries = torch.arange(x.shape[1], device=x.device)
        keys = queries[:, None] + torch.arange(-self.context, self.context + 1, device=x.device)
        valid = ((keys >= 0) & (keys < lengths[:, None, None])).unflatten(1, (-1, 1, self.block))
        for layer in self.layers:
            x = layer(x, valid)
        return (x * (queries < lengths[:, None])[..., None])[:, :frames]


class Layer(nn.Module):
    """x + linear(ReLU(attention(LayerNorm(x)))), several heads.

    Offsets are Povey's: keys and values are extended by the one-hot offset of the other frame. So a query is a vector
    and a bias for each offset, both linear in its frame, and the output holds the weights themselves. Only the product
    of vectors is scaled (Kaldi, src/nnet3/attention.cc).
    """

    def __init__(self, size: int, heads: int, context: int, block: int) -> None:
        super().__init__()
        self.heads, self.context, self.block, self.scale = heads, context, block, (size / heads) ** -0.5
        self.parts = [size, size, size, heads * (2 * context + 1)]
        self.norm = nn.LayerNorm(size)
        self.project = nn.Linear(size, sum(self.parts))
        self.out = nn.Linear(size + self.parts[3], size)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """(batch, frames, size), of whole blocks; valid: (batch, blocks, 1, b, offsets), False for keys in padding."""
        query, key, value, bias = self.project(self.norm(x)).split(self.parts, 2)
        query, bias = (self._blocks(y, 0).transpose(3, 4) for y in (query, bias))
        key, value = (self._blocks(y, self.context) for y in (key, value))
        scores = by_offset(query * self.scale @ key, 2 * self.context + 1).float() + bias
        weights = scores.masked_fill(~valid, torch.finfo(scores.dtype).min).softmax(4).to(value.dtype)
        attended = torch.cat([by_frame(weights) @ value.transpose(3, 4), weights], dim=4)
        return x + self.out(torch.relu(attended).transpose(2, 3).flatten(3).flatten(1, 2))

    def _blocks(self, x: Tensor, context: int) -> Tensor:
        """(batch, frames, n) to blocks with their context, (batch, blocks, heads, n / heads, b + 2 context)."""
        width, frames = self.block + 2 * context, x.shape[1]
        x = functional.pad(x, (0, 0, context, context)).unflatten(2, (self.heads, -1))
        if torch.onnx.is_in_onnx_export():  # an exported unfold has a fixed number of blocks
            rows = torch.arange(0, frames, self.block)[:, None] + torch.arange(width)
            return x[:, rows].permute(0, 1, 3, 4, 2)
        return x.unfold(1, width, self.block)


def by_offset(x: Tensor, width: int) -> Tensor:
    """(..., b, b + width - 1) to (..., b, width), the i-th row from its i-th column on, without a copy by index."""
    return functional.pad(x.flatten(-2), (0, x.shape[-2])).unflatten(-1, (x.shape[-2], -1))[..., :width]


def by_frame(x: Tensor) -> Tensor:
    """The inverse: (..., b, width) to (..., b, b + width - 1), with zeros beyond the offsets."""
    b, width = x.shape[-2:]
    return functional.pad(x, (0, b)).flatten(-2)[..., :-b].unflatten(-1, (b, b + width - 1))
