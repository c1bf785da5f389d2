"""Ensembles of networks: the mean of their posteriors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ser.nets.network import Answering, SpeechEmotionNetwork


class Ensemble(Answering):
    """Networks with the same input and heads, whose posteriors are averaged.

    Args:
        members: at least one; their encoders, poolings and sizes may differ.
    """

    def __init__(self, members: Sequence[SpeechEmotionNetwork]) -> None:
        super().__init__()
        self.members: Any = nn.ModuleList(members)
        self.classes = members[0].classes
        self.pooled_sizes = [member.pooled_size for member in members]

    def embed(self, features: Tensor, lengths: Tensor) -> Tensor:
        """The pooled vectors of all members, concatenated."""
        return torch.cat([member.embed(features, lengths) for member in self.members], dim=1)

    def posteriors(self, pooled: Tensor, head: str, corpus: str) -> Tensor:
        parts = pooled.split(self.pooled_sizes, dim=1)
        members = zip(self.members, parts, strict=True)
        return torch.stack([member.posteriors(part, head, corpus) for member, part in members]).mean(0)

    def head_adapter_pairs(self) -> dict[str, tuple[str, str]]:
        return self.members[0].head_adapter_pairs()
