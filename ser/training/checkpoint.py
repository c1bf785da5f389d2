"""Checkpoint of a training: one safetensors file (no pickle) with a JSON text for everything that is not a tensor."""

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
# Raise it when earlier code cannot read the file.
FORMAT = 1


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


def save_tensors(path: Path, tensors: State, meta: dict[str, Any]) -> None:
    """Write tensors and a description to a safetensors file, atomically.

    Args:
        path: of the file.
        tensors: by name.
        meta: the description, as JSON allows.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(tensor_bytes(tensors, meta))


def tensor_bytes(tensors: State, meta: dict[str, Any]) -> bytes:
    """The content of a file of `save_tensors`; the description includes a checksum of itself and of the tensors."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    described = json.loads(json.dumps({"format": FORMAT, **meta}))
    return save(plain, {"meta": json.dumps({**described, "checksum": _checksum(plain, described)})})


def load_tensors(path: Path, verified: bool = False) -> tuple[State, dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Args:
        path: of the file.
        verified: whether the caller has compared the file with a recorded checksum, so that a file of an older version
            needs no checksum of its own.

    Raises:
        InputError: the file is absent, damaged, of another kind, or written by a newer version.
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
        if not verified:
            unchecked[path] = None
    elif checksum != _checksum(tensors, meta):
        raise InputError("damaged, for its checksum is of other values", path, "remove it and run stage 4")
    return tensors, meta


def _checksum(tensors: State, meta: dict[str, Any]) -> str:
    """SHA-256 (hexadecimal) of a description and of names, types, shapes and values of tensors."""
    state = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        state.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        state.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> State:
    """The state of Adam by parameter number; a head that was never in a batch has none."""
    return {
        f"{index}.{name}": value
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: State) -> None:
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
