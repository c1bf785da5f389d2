"""Speech emotion recognition over several corpora: the library behind the recipes in egs/."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ser.inference.predict.api import load_model as load_model

__version__ = "0.1.0"
__all__ = ["__version__", "load_model"]


def __getattr__(name: str) -> Any:
    """`from ser import load_model`, which imports torch, only for whom asks for it."""
    if name == "load_model":
        from ser.inference.predict.api import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
