"""What a trained model is used for: the model package, predictions, robustness check, export, pictures."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ser.inference.model import Model, open_model
    from ser.inference.predictor import Predictor

__all__ = ["Model", "Predictor", "open_model"]
HOMES = {"Model": "model", "open_model": "model", "Predictor": "predictor"}


def __getattr__(name: str) -> Any:
    """These are imported, and torch with them, when they are asked for: a command's --help needs neither."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
