"""Weights of pretrained models: where they lie, what names them, and safetensors alone."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ser.common import InputError, as_input_error, read_json, sha256

if TYPE_CHECKING:
    from torch import Tensor

COMMIT = re.compile(r"[0-9a-f]{40}")
HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
HUB_FILES = ["config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json", "model.bin"]


def hub_errors() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises: its own errors, and by their base those of its client, httpx or requests."""
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, ValueError, RuntimeError, *HfHubHTTPError.__bases__)


def first_line(error: Exception) -> str:
    """The first line of an error's message."""
    return str(error).strip().partition("\n")[0]


def load_safetensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a model folder of transformers, in one file or several.

    Raises:
        InputError: no safetensors (pickled weights are not read), or damaged ones.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    tensors: dict[str, Tensor] = {}
    for path in weight_files(folder):
        with as_input_error("not readable as safetensors", path, "fetch the model again", SafetensorError):
            tensors |= load_file(path)
    return tensors


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model's weights: *.safetensors, or model.bin of a CTranslate2 folder.

    Raises:
        InputError: no folder, or one without such files.
    """
    if not folder.is_dir():
        raise InputError("no such folder", folder, "give the folder of a pretrained model (frontend.model)")
    if not (folder / "config.json").is_file():
        raise InputError("no config.json, so no folder of a pretrained model", folder, "fetch the model again")
    if files := sorted(folder.glob("*.safetensors")):
        return files
    if (folder / "model.bin").is_file():
        return [folder / "model.bin"]
    pickled = sorted(path.name for kind in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(kind))
    if pickled:
        fix = "convert them to safetensors (transformers: save_pretrained), or fetch a revision that has these"
        raise InputError("pickled weights, which can run code when they are read", folder / pickled[0], fix)
    raise InputError("no *.safetensors", folder, "fetch the model again")


@lru_cache(maxsize=8)
def weights_digest(folder: Path) -> str:
    """SHA-256 of the weights; of several files the SHA-256 of each, shortened and joined."""
    files = weight_files(folder)
    return sha256(files[0]) if len(files) == 1 else "+".join(sha256(path)[:16] for path in files)


def fetch_from_hub(name: str, revision: str) -> Path:
    """The folder of a model of the hub, which is fetched once; configuration and safetensors alone.

    Args:
        name: `<owner>/<name>`.
        revision: commit, 40 hexadecimal digits.

    Raises:
        InputError: no pinned revision, huggingface_hub not installed, no such model, or no network.
    """
    if not COMMIT.fullmatch(revision):
        what = f"give the commit of {name} (40 hexadecimal digits, from its page on the hub)"
        raise InputError(f"{what}, so that the model cannot change", f"frontend.revision = {revision!r}")
    try:
        import huggingface_hub
    except ImportError:
        fix = "pip install -e '.[pretrained]', or give a folder"
        raise InputError("huggingface_hub is not installed", f"frontend.model = {name}", fix) from None
    where, fix = f"frontend.model = {name}", "check name, revision and network, or give a folder"
    with as_input_error("cannot be fetched", where, fix, *hub_errors(), reason=first_line):
        folder = Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=HUB_FILES))
    pickled = (folder / "model.bin").is_file() and not any(folder.glob("*.safetensors"))
    if pickled and "model_type" in read_json(folder / "config.json"):  # of transformers; CTranslate2 names no type
        raise InputError("pickled weights", folder / "model.bin", "choose a revision with safetensors")
    return folder
