"""Averages of a model's weights over a training (Izmailov et al. 2018; the last or the best checkpoints)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor


def average(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of states, summed in float64, each tensor in its own type; of tensors that are no floats, the last one.

    Raises:
        ValueError: there are none, or their names differ.
    """
    if not states:
        raise ValueError("an average of no states")
    if other := {name for state in states for name in state.keys() ^ states[0].keys()}:
        raise ValueError(f"states of other names: {', '.join(sorted(other))}")
    found = {}
    for name, first in states[0].items():
        if first.is_floating_point():
            total = reduce(torch.add, (state[name].double() for state in states))
            found[name] = (total / len(states)).to(first.dtype)
        else:
            found[name] = states[-1][name].clone()
    return found


class LastStates:
    """The last n states, on the CPU: n times the memory of one."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._kept: list[tuple[float, dict[str, Tensor]]] = []  # in the order they came

    def add(self, loss: float, state: Mapping[str, Tensor]) -> None:
        """Keep a copy of a state, and let one go when there are more than n."""
        self._kept.append((loss, {name: tensor.detach().cpu().clone() for name, tensor in state.items()}))
        if len(self._kept) > self.n:
            del self._kept[self._superfluous()]

    def _superfluous(self) -> int:
        return 0

    def state(self) -> dict[str, Tensor]:
        """Their average."""
        return average([state for _, state in self._kept])

    def tensors(self) -> dict[str, Tensor]:
        """What `load` needs, for a checkpoint."""
        states = {f"{i}.{name}": tensor for i, (_, state) in enumerate(self._kept) for name, tensor in state.items()}
        return {"losses": torch.tensor([loss for loss, _ in self._kept], dtype=torch.float64)} | states

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        self._kept = [(loss, part_of(tensors, f"{i}.")) for i, loss in enumerate(tensors["losses"].tolist())]


class BestStates(LastStates):
    """The n states of the least losses; of equal ones the first. A loss that is not a number is the greatest."""

    def _superfluous(self) -> int:
        return max(range(len(self._kept)), key=lambda i: (math.isnan(self._kept[i][0]), self._kept[i][0], i))


def part_of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors below a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
