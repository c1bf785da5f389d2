"""Checkpoint of a training: a file of `ser.common.tensors`."""

from __future__ import annotations

from typing import Any, TypedDict

import torch
from torch import Tensor

# The training takes from here all that it writes and reads.
from ser.common.tensors import Tensors, load_tensors, save_tensors, tensor_bytes  # noqa: F401


class Progress(TypedDict):
    """The values of a checkpoint that are not tensors.

    Attributes:
        fingerprint: digest of settings, data and split.
        code: hashes of all code that took part in the training.
        step: updates so far.
        stopping: the fields of `EarlyStopping`.
        history: the rows of epochs.jsonl.
        losses: corpus -> training losses of the current epoch.
        seconds: duration of each epoch.
    """

    fingerprint: str
    code: list[str]
    step: int
    stopping: dict[str, Any]
    history: list[dict[str, Any]]
    losses: dict[str, list[float]]
    seconds: list[float]


def with_new_names(progress: dict[str, Any]) -> dict[str, Any]:
    """The values of `Progress`, with `waited` of earlier versions renamed to `num_bad_epochs`."""

    def renamed(row: dict[str, Any]) -> dict[str, Any]:
        return {"num_bad_epochs" if key == "waited" else key: value for key, value in row.items()}

    return progress | {"stopping": renamed(progress["stopping"]), "history": list(map(renamed, progress["history"]))}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """The state of Adam by parameter number; a head that was never in a batch has none."""
    return {
        f"{index}.{name}": value
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Restore the state of Adam in the memory layout of the parameters, which the fused kernel requires."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:
            value = torch.empty_like(parameter).copy_(value)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
