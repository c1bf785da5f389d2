"""The section conf/augment.yaml: its keys are the fields of the kinds that the registry names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_type_hints

from ser.common import InputError
from ser.common.kinds import NonNegativeInt, PositiveInt
from ser.config.registry import KINDS, from_registry


def types() -> dict[str, Any]:
    """Dotted keys of the section and the types of their values."""
    kinds: dict[str, Any] = {}
    for name in KINDS:
        hints = get_type_hints(from_registry(KINDS, name))
        kinds |= {f"augment.{name}.{field.name}": hints[field.name] for field in fields(from_registry(KINDS, name))}
    return {"augment.copies": NonNegativeInt, "augment.chain": PositiveInt, "augment.kinds": list[str], **kinds}


def resolve_augment(augment: Mapping[str, Any], origin: Mapping[str, str], home: str) -> dict[str, Any]:
    """The section with its kinds in the order of the registry.

    Kinds are checked in use or not, but for their folders: those are read when a kind in use is made.

    Args:
        augment: nested, with values of the right types.
        origin: where each dotted key was set.
        home: the toolkit's own file.

    Raises:
        InputError: more kinds a copy than there are in use, or values that a kind refuses.
    """
    kinds, chain = augment["kinds"], augment["chain"]
    if chain > len(kinds):
        raise InputError(
            f"key augment.chain = {chain}: a copy goes through {len(kinds)} kinds at most, those of "
            f"augment.kinds: {', '.join(kinds)}",
            _place(["augment.chain", "augment.kinds"], origin, home),
        )
    for name in KINDS:
        values = augment.get(name, {})
        try:
            from_registry(KINDS, name)(**{key: "" if key == "folder" else value for key, value in values.items()})
        except InputError as error:
            what = error.what
            keys = sorted((f"{name}.{key}" for key in values), key=lambda key: not what.startswith(f"{key} "))
            place = _place([f"augment.{key}" for key in keys], origin, home)
            raise InputError(f"key augment.{what}", place, error.fix) from None
    return {**augment, "kinds": [name for name in KINDS if name in kinds]}


def _place(keys: list[str], origin: Mapping[str, str], home: str) -> str:
    """Where the first of some keys was set that does not have the toolkit's own value."""
    return next((origin[key] for key in keys if origin[key] != home), home)
