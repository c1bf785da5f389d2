"""A training's whole state in one file, without pickle: tensors, and a JSON text for the rest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ser.common import InputError, atomic_path
from ser.common.kinds import of_kind
from ser.common.records import unchecked

State = dict[str, Tensor]
# Raise it when a file of this version cannot be read by the code before.
FORMAT = 1


class Progress(TypedDict):
    """How far a training is, beside the tensors of its checkpoint.

    Attributes:
        stopping: the fields of `Stopping`.
        losses: by corpus, those of the epoch at work.
        seconds: of each epoch.
    """

    fingerprint: str
    code: list[str]
    step: int
    stopping: dict[str, Any]
    history: list[dict[str, Any]]
    losses: dict[str, list[float]]
    seconds: list[float]


def with_new_names(progress: dict[str, Any]) -> dict[str, Any]:
    """The values of `Progress`, with the name that `waited` of earlier versions has now."""

    def renamed(row: dict[str, Any]) -> dict[str, Any]:
        return {"num_bad_epochs" if key == "waited" else key: value for key, value in row.items()}

    return progress | {"stopping": renamed(progress["stopping"]), "history": list(map(renamed, progress["history"]))}


def save_tensors(path: Path, tensors: State, meta: dict[str, Any]) -> None:
    """Write tensors and a JSON-able description, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(tensor_bytes(tensors, meta))


def tensor_bytes(tensors: State, meta: dict[str, Any]) -> bytes:
    """What `save_tensors` writes: the description records a checksum of itself and of the tensors."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    described = json.loads(json.dumps({"format": FORMAT, **meta}))
    return save(plain, {"meta": json.dumps({**described, "checksum": _checksum(plain, described)})})


def load_tensors(path: Path, vouched: bool = False) -> tuple[State, dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Args:
        vouched: whether another file has a checksum of it, so that one of an older version needs none of its own.

    Raises:
        InputError: absent, no such file, damaged, or written by a newer version.
    """
    try:
        with safe_open(path, "pt") as file:
            meta = of_kind(dict[str, Any], json.loads((file.metadata() or {})["meta"]), "meta")
            if of_kind(int, meta.get("format", FORMAT), "format") > FORMAT:
                raise InputError(
                    f"written by a newer version of this toolkit (format {meta['format']}, this one reads {FORMAT})",
                    path,
                    "update the toolkit, or give another --exp folder",
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise InputError("no such file", path, "run stage 4") from None
    except (SafetensorError, KeyError, ValueError, RecursionError, OSError) as error:
        raise InputError(
            f"not readable as a model of this toolkit ({error})", path, "remove it and run stage 4"
        ) from None
    checksum = meta.pop("checksum", None)
    if checksum is None:
        if not vouched:
            unchecked[path] = None
    elif checksum != _checksum(tensors, meta):
        raise InputError("damaged, for its checksum is of other values", path, "remove it and run stage 4")
    return tensors, meta


def _checksum(tensors: State, meta: dict[str, Any]) -> str:
    """SHA-256, in hexadecimal digits, of a description and of names, types, shapes and values of tensors."""
    state = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        state.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        state.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> State:
    """Adam's state by parameter number; a head that was never in a batch has none."""
    return {
        f"{index}.{name}": value
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: State) -> None:
    """Put back what `optimizer_tensors` gave, in the memory layout of the parameters: the fused kernel counts on it."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:
            value = torch.empty_like(parameter).copy_(value)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
