"""Weights of pretrained models: where they lie, what names them, and safetensors alone."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ser.common import InputError, read_json, sha256

if TYPE_CHECKING:
    from torch import Tensor

COMMIT = re.compile(r"[0-9a-f]{40}")
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
WANTED = ["config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json", "model.bin"]


def hub_errors() -> tuple[type[BaseException], ...]:
    """What huggingface_hub raises: its own errors, and by their base those of its client, httpx or requests."""
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, ValueError, RuntimeError, *HfHubHTTPError.__bases__)


def load_safetensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder of transformers, of one file or several.

    Raises:
        InputError: none there (pickled weights are not read), or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    found: dict[str, Tensor] = {}
    try:
        for path in weight_files(folder):
            found |= load_file(path)
    except SafetensorError as error:
        raise InputError(f"not readable as safetensors ({error})", path, "fetch the model again") from None
    return found


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model's weights: *.safetensors, or model.bin of a CTranslate2 folder.

    Raises:
        InputError: no folder, or one without such files.
    """
    if not folder.is_dir():
        raise InputError("no such folder", folder, "give the folder of a pretrained model (frontend.model)")
    if not (folder / "config.json").is_file():
        raise InputError("no config.json, so no folder of a pretrained model", folder, "fetch the model again")
    if found := sorted(folder.glob("*.safetensors")):
        return found
    if (folder / "model.bin").is_file():
        return [folder / "model.bin"]
    pickled = sorted(path.name for kind in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(kind))
    if pickled:
        raise InputError(
            "pickled weights, which can run code when they are read",
            folder / pickled[0],
            "convert them to safetensors (transformers: save_pretrained), or fetch a revision that has these",
        )
    raise InputError("no *.safetensors", folder, "fetch the model again")


@lru_cache(maxsize=8)
def weights_digest(folder: Path) -> str:
    """SHA-256 of the weights, of several files those of all."""
    files = weight_files(folder)
    return sha256(files[0]) if len(files) == 1 else "+".join(sha256(path)[:16] for path in files)


def fetch_from_hub(name: str, revision: str) -> Path:
    """The folder of a model of the hub, fetched once; only configuration and safetensors.

    Args:
        name: `<owner>/<name>`.
        revision: commit, 40 hexadecimal digits.

    Raises:
        InputError: no pinned revision, huggingface_hub not installed, no such model, or no network.
    """
    if not COMMIT.fullmatch(revision):
        raise InputError(
            f"give the commit of {name} (40 hexadecimal digits, from its page on the hub), so that "
            "the model cannot change",
            f"frontend.revision = {revision!r}",
        )
    try:
        import huggingface_hub
    except ImportError:
        raise InputError(
            "huggingface_hub is not installed",
            f"frontend.model = {name}",
            "pip install -e '.[pretrained]', or give a folder",
        ) from None
    try:
        found = Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=WANTED))
    except hub_errors() as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"cannot be fetched ({reason})",
            f"frontend.model = {name}",
            "check name, revision and network, or give a folder",
        ) from None
    if (found / "model.bin").is_file() and not any(found.glob("*.safetensors")):
        spec = read_json(found / "config.json")
        if "model_type" in spec:  # of transformers, and pickled
            raise InputError("pickled weights", found / "model.bin", "choose a revision with safetensors")
    return found
