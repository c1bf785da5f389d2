"""Statistics of a part, computed once for all trainings and stored next to the features."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from ser.common import InputError, locked
from ser.common.tensors import Tensors, load_tensors, save_tensors

log = logging.getLogger(__name__)
# Name of the folder in that of a feature set.
FOLDER = "statistics"
# Part of every digest: raise it when the same features and settings give other statistics.
VERSION = 1


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
            save_tensors(path, tensors, {})
    return tensors


def can_store(features: Path) -> bool:
    """Whether the folder of a feature set is writable."""
    folder = features / FOLDER
    return os.access(folder if folder.is_dir() else features, os.W_OK)


def read_stored(path: Path) -> Tensors | None:
    """Read what `load_or_compute` wrote; None if it is absent or damaged."""
    try:
        return load_tensors(path, verified=True)[0]
    except InputError:
        return None
