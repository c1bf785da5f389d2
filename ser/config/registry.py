"""The parts that a setting names, and where each is built: adding one is one file and one line here.

Kept as text, so that a name is checked without importing torch. A temporal block is built by (input size, settings of
the network), a pooling by (frame size); a loss is called with (logits, target probabilities, class weights).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from ser.common import InputError

TEMPORAL = {
    "lstm": "ser.nets.temporal:lstm",
    "blstm": "ser.nets.temporal:blstm",
    "tdnn": "ser.nets.temporal:tdnn",
    "attention": "ser.nets.temporal:attention",
    "nin": "ser.nets.temporal:nin",
}
POOLING = {
    "mu": "ser.nets.pooling:mean",
    "mu_sigma2": "ser.nets.pooling:mean_and_variance",
}
LOSS = {
    "cross_entropy": "ser.training.losses:soft_cross_entropy",
}
REGISTRIES = {"temporal": TEMPORAL, "pooling": POOLING, "training.loss": LOSS}


def check_names(values: Mapping[str, Any], origin: Mapping[str, str]) -> None:
    """Refuse a name that its registry does not hold.

    Args:
        values: dotted keys and values of a configuration.
        origin: where each key was set.

    Raises:
        InputError: naming the nearest known one and all others.
    """
    for key, known in REGISTRIES.items():
        name = str(values[key])
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InputError(f"{origin[key]}: key {key} = {name!r}: {hint}there is: {', '.join(known)}")


def built(registry: Mapping[str, str], name: str) -> Callable[..., Any]:
    """The builder that a registry has under a name."""
    module, _, attribute = registry[name].partition(":")
    builder: Callable[..., Any] = getattr(import_module(module), attribute)
    return builder
