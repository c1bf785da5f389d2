"""Averages of a model's weights over a training (Izmailov et al. 2018; the last or the best checkpoints)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


class RunningAverage:
    """The mean of all states so far, summed in float64 on the CPU; of tensors that are no floats, the last one."""

    def __init__(self) -> None:
        self.count = 0
        self._sums: dict[str, Tensor] = {}
        self._last: dict[str, Tensor] = {}  # of floats only an empty tensor, which has the type

    def add(self, state: Mapping[str, Tensor]) -> None:
        """Count a state in; a ValueError if its names are others than before."""
        if self.count and state.keys() != self._last.keys():
            raise ValueError(f"states of other names: {', '.join(sorted(state.keys() ^ self._last.keys()))}")
        for name, tensor in state.items():
            value = tensor.detach().cpu()
            if value.is_floating_point():
                double = value.to(torch.float64, copy=True)
                self._sums[name] = self._sums[name] + double if self.count else double
                value = value.new_empty(0)
            self._last[name] = value.clone()
        self.count += 1

    def state(self) -> dict[str, Tensor]:
        """The average, each tensor in its own type, on the CPU; a ValueError if there is nothing to average."""
        if not self.count:
            raise ValueError("an average of no states")
        means = {name: (total / self.count).to(self._last[name].dtype) for name, total in self._sums.items()}
        return {name: means[name] if name in means else last.clone() for name, last in self._last.items()}

    def tensors(self) -> dict[str, Tensor]:
        """What `load` needs, for a checkpoint."""
        sums = {f"sum.{name}": tensor for name, tensor in self._sums.items()}
        return {"count": torch.tensor(self.count)} | sums | {f"last.{name}": t for name, t in self._last.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        self.count = int(tensors["count"])
        self._sums, self._last = _below(tensors, "sum."), _below(tensors, "last.")


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
        """Their average, as RunningAverage has it."""
        average = RunningAverage()
        for _, state in self._kept:
            average.add(state)
        return average.state()

    def tensors(self) -> dict[str, Tensor]:
        """What `load` needs, for a checkpoint."""
        states = {f"{i}.{name}": tensor for i, (_, state) in enumerate(self._kept) for name, tensor in state.items()}
        return {"losses": torch.tensor([loss for loss, _ in self._kept], dtype=torch.float64)} | states

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        self._kept = [(loss, _below(tensors, f"{i}.")) for i, loss in enumerate(tensors["losses"].tolist())]


class BestStates(LastStates):
    """The n states of the least losses; of equal ones the first. A loss that is not a number is the greatest."""

    def _superfluous(self) -> int:
        return max(range(len(self._kept)), key=lambda i: (math.isnan(self._kept[i][0]), self._kept[i][0], i))


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
