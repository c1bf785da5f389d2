"""Build the augmentation transforms in use from the settings of an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from ser.augment.transforms import Transform
from ser.common import digest
from ser.config.registry import KINDS, from_registry


@dataclass(frozen=True)
class Augment:
    """Number of augmented copies, and the transforms in use.

    Attributes:
        copies: oversampling factor of the largest corpus; 0: no copies.
        chain: number of transforms of a copy.
        kinds: name -> transform in use, in the order of the registry, in which they are applied.
    """

    copies: int
    chain: int
    kinds: dict[str, Transform]

    @cached_property  # used for every copy
    def digest(self) -> str:
        """Digest of what affects a copy: not the number of copies; the content of folders, not their path."""
        return digest(self.chain, {name: _result_affecting(transform) for name, transform in self.kinds.items()})


def build_augment(values: Mapping[str, Any], rooms: Path) -> Augment:
    """Build the transforms in use.

    Args:
        values: the section `augment` of an experiment.
        rooms: folder for simulated rooms.

    Raises:
        InputError: a folder of the settings cannot be used.
    """
    kinds = {name: _build(name, values.get(name, {}), rooms) for name in KINDS if name in values["kinds"]}
    return Augment(values["copies"], values["chain"], kinds)


def _build(name: str, values: Mapping[str, Any], rooms: Path) -> Transform:
    transform = from_registry(KINDS, name)
    hints = get_type_hints(transform)
    arguments = {key: tuple(value) if get_origin(hints[key]) is tuple else value for key, value in values.items()}
    if "cache" in hints:
        arguments["cache"] = str(rooms)
    built: Transform = transform(**arguments)
    return built


def _result_affecting(transform: Any) -> dict[str, Any]:
    values = {field.name: getattr(transform, field.name) for field in fields(transform) if field.name != "cache"}
    if values.pop("folder", ""):
        values["files"] = dict(transform.sources())
    return values
