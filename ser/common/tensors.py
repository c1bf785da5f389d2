"""Tensors in a safetensors file (no pickle), with a checksum and a JSON text for everything that is not a tensor."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ser.common.errors import InputError, as_input_error
from ser.common.files import atomic_path, check_regular
from ser.common.kinds import of_kind
from ser.common.records import unchecked

Tensors = dict[str, Tensor]
# Raise it when earlier code cannot read the file.
FORMAT = 1


def save_tensors(path: Path, tensors: Tensors, meta: dict[str, Any]) -> None:
    """Write tensors and a description to a safetensors file, atomically.

    Args:
        path: of the file.
        tensors: by name.
        meta: the description, as JSON allows.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(tensor_bytes(tensors, meta))


def tensor_bytes(tensors: Tensors, meta: dict[str, Any]) -> bytes:
    """Make the content of a file of `save_tensors`.

    Args:
        tensors: by name.
        meta: the description, to which a checksum of itself and of the tensors is added.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    described = json.loads(json.dumps({"format": FORMAT, **meta}))
    return save(plain, {"meta": json.dumps({**described, "checksum": _checksum(plain, described)})})


def load_tensors(path: Path, verified: bool = False) -> tuple[Tensors, dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Args:
        path: of the file.
        verified: whether the caller has compared the file with a recorded checksum, so that a file of an older version
            needs no checksum of its own.

    Raises:
        InputError: the file is absent, damaged, of another kind, or written by a newer version.
    """
    check_regular(path, "run stage 4")
    what, fix = "not readable as a model of this toolkit", "remove it and run stage 4"
    errors = (SafetensorError, KeyError, ValueError, RecursionError, OSError)
    with as_input_error(what, path, fix, *errors), safe_open(path, "pt") as file:
        meta = of_kind(dict[str, Any], json.loads((file.metadata() or {})["meta"]), "meta")
        if of_kind(int, meta.get("format", FORMAT), "format") > FORMAT:
            raise InputError(
                f"written by a newer version of this toolkit (format {meta['format']}, this one reads {FORMAT})",
                path,
                "update the toolkit, or give another --exp folder",
            )
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    checksum = meta.pop("checksum", None)
    if checksum is None:
        if not verified:
            unchecked[path] = None
    elif checksum != _checksum(tensors, meta):
        raise InputError("damaged, for its checksum is of other values", path, fix)
    return tensors, meta


def _checksum(tensors: Tensors, meta: dict[str, Any]) -> str:
    """SHA-256 (hexadecimal) of a description and of names, types, shapes and values of tensors."""
    state = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        state.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        state.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()
