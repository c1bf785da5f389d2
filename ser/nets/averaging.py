"""Weight averaging over the last or the best checkpoints of a training (Izmailov et al. 2018)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor


def average(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of state dicts, summed in float64, in the type of each tensor; integer tensors are those of the last.

    Raises:
        ValueError: there are no states, or their names differ.
    """
    if not states:
        raise ValueError("an average of no states")
    if other := {name for state in states for name in state.keys() ^ states[0].keys()}:
        raise ValueError(f"states of other names: {', '.join(sorted(other))}")
    mean = {}
    for name, first in states[0].items():
        if first.is_floating_point():
            total = reduce(torch.add, (state[name].double() for state in states))
            mean[name] = (total / len(states)).to(first.dtype)
        else:
            mean[name] = states[-1][name].clone()
    return mean


class SavedStates:
    """The last n states or, of equal losses the first, the n of the least losses; in the memory of the CPU.

    Args:
        n: number of states.
        best: whether they are those of the least losses; NaN is the greatest loss.
    """

    def __init__(self, n: int, best: bool) -> None:
        self.n, self.best = n, best
        self._states: list[tuple[float, dict[str, Tensor]]] = []  # in order of time

    def add(self, loss: float, state: Mapping[str, Tensor]) -> None:
        """Store a copy of a state, and drop one if there are more than n."""
        self._states.append((loss, {name: tensor.detach().cpu().clone() for name, tensor in state.items()}))
        if len(self._states) > self.n:
            losses = [(math.isnan(loss), loss, i) for i, (loss, _) in enumerate(self._states)]
            del self._states[max(losses)[2] if self.best else 0]

    def state(self) -> dict[str, Tensor]:
        """Their average."""
        return average([state for _, state in self._states])

    def tensors(self) -> dict[str, Tensor]:
        """All states as tensors of a checkpoint, for `load`."""
        states = {f"{i}.{name}": tensor for i, (_, state) in enumerate(self._states) for name, tensor in state.items()}
        return {"losses": torch.tensor([loss for loss, _ in self._states], dtype=torch.float64)} | states

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        self._states = [(loss, part_of(tensors, f"{i}.")) for i, loss in enumerate(tensors["losses"].tolist())]


def part_of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors below a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
