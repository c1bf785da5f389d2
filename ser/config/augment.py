"""The section conf/augment.yaml: its keys are the fields of the augmentation transforms in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_type_hints

from ser.common import InputError
from ser.common.kinds import NonNegativeInt, PositiveInt
from ser.config.registry import KINDS, from_registry


def augment_types() -> dict[str, Any]:
    """Dotted keys of the section and the types of their values."""
    types: dict[str, Any] = {}
    for name in KINDS:
        transform = from_registry(KINDS, name)
        hints = get_type_hints(transform)
        types |= {f"augment.{name}.{field.name}": hints[field.name] for field in fields(transform)}
    return {"augment.copies": NonNegativeInt, "augment.chain": PositiveInt, "augment.kinds": list[str], **types}


def resolve_augment(augment: Mapping[str, Any], origin: Mapping[str, str], home: str) -> dict[str, Any]:
    """Check the section and sort its transforms in the order of the registry.

    All transforms are checked, whether they are in use or not. Their folders are read only when a transform is built.

    Args:
        augment: the nested section, with values of the right types.
        origin: dotted key -> file or command line that set it.
        home: conf/augment.yaml of the toolkit.

    Raises:
        InputError: `chain` exceeds the number of transforms in use, or a transform refuses its settings.
    """
    kinds, chain = augment["kinds"], augment["chain"]
    if chain > len(kinds):
        raise InputError(
            f"key augment.chain = {chain}: a copy goes through {len(kinds)} kinds at most, those of "
            f"augment.kinds: {', '.join(kinds)}",
            _source(["augment.chain", "augment.kinds"], origin, home),
        )
    for name in KINDS:
        values = augment.get(name, {})
        try:
            from_registry(KINDS, name)(**{key: "" if key == "folder" else value for key, value in values.items()})
        except InputError as error:
            what = error.what
            keys = sorted((f"{name}.{key}" for key in values), key=lambda key: not what.startswith(f"{key} "))
            source = _source([f"augment.{key}" for key in keys], origin, home)
            raise InputError(f"key augment.{what}", source, error.fix) from None
    return {**augment, "kinds": [name for name in KINDS if name in kinds]}


def _source(keys: list[str], origin: Mapping[str, str], home: str) -> str:
    """The file or command line that set the first of the keys that does not have the value of the toolkit."""
    return next((origin[key] for key in keys if origin[key] != home), home)
