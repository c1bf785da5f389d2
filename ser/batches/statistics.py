"""Statistics of a part, computed once for all trainings and stored next to the features."""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ser.common import atomic_path, locked

log = logging.getLogger(__name__)
# Name of the folder in that of a feature set.
FOLDER = "statistics"
# Part of every digest: raise it when the same features and settings give other statistics.
VERSION = 1
Tensors = dict[str, Tensor]


def load_or_compute(features: Path, name: str, compute: Callable[[], Tensors]) -> Tensors:
    """Load stored tensors, or compute and store them.

    If the folder is read-only, such as the store of another user, they are computed each time.

    Args:
        features: folder of the feature set.
        name: of the tensors; it contains a digest of everything that they depend on.
        compute: returns the tensors.
    """
    path = features / FOLDER / f"{name}.safetensors"
    if (tensors := read_stored(path)) is not None:
        return tensors
    if not can_store(features):
        return compute()
    log.info("computing %s", path)
    with locked(path, f"{path}: statistics are being computed"):
        if (tensors := read_stored(path)) is None:
            tensors = compute()
            with atomic_path(path) as temporary:
                temporary.write_bytes(save(tensors, {"checksum": _checksum(tensors)}))
    return tensors


def can_store(features: Path) -> bool:
    """Whether the folder of a feature set is writable."""
    folder = features / FOLDER
    return os.access(folder if folder.is_dir() else features, os.W_OK)


def read_stored(path: Path) -> Tensors | None:
    """Read what `load_or_compute` wrote; None if it is absent or damaged."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
            return tensors if (file.metadata() or {}).get("checksum") == _checksum(tensors) else None
    except (OSError, SafetensorError):
        return None


def _checksum(tensors: Tensors) -> str:
    checksum = 0
    for name in sorted(tensors):
        checksum = zlib.crc32(tensors[name].numpy().tobytes(), zlib.crc32(name.encode(), checksum))
    return str(checksum)
