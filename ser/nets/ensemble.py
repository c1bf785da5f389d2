"""Several networks that answer as one: the mean of their posteriors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ser.nets.network import SpeechEmotionNetwork, mean_of_heads


class Ensemble(nn.Module):
    """Networks of equal input and equal heads, with the methods of `SpeechEmotionNetwork` by which a model answers.

    Args:
        members: at least one; encoders, poolings and sizes may differ.
    """

    def __init__(self, members: Sequence[SpeechEmotionNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.classes = members[0].classes
        self.pooled_sizes = [member.pooled_size for member in members]

    def embed(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(batch, frames, bins) and lengths of at least 1 to the pooled vectors of all members, side by side."""
        return torch.cat([member.embed(features, lengths) for member in self._networks()], dim=1)

    def posteriors(self, pooled: Tensor, head: str, corpus: str) -> Tensor:
        """What `embed` gave to the mean over members of the posteriors of one head, (batch, classes)."""
        parts = pooled.split(self.pooled_sizes, dim=1)
        found = [member.posteriors(part, head, corpus) for member, part in zip(self._networks(), parts, strict=True)]
        return torch.stack(found).mean(0)

    def routes(self) -> dict[str, tuple[str, str]]:
        """As of each member."""
        return self._networks()[0].routes()

    def average(self, pooled: Tensor, routes: Sequence[tuple[str, str]], classes: Sequence[str]) -> Tensor:
        """Mean over routes of the mean over members, as `SpeechEmotionNetwork.average`."""
        return mean_of_heads([(self.classes[h], self.posteriors(pooled, h, corpus)) for h, corpus in routes], classes)

    def _networks(self) -> list[SpeechEmotionNetwork]:
        return cast(list[SpeechEmotionNetwork], list(self.members))
