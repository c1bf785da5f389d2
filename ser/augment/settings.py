"""The kinds in use with their settings, from_registry from the section of an experiment."""

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
    """What copies a training gets, and what may be done to them.

    Attributes:
        copies: examples of each utterance of the largest corpus; 0: no copies.
        chain: kinds that a copy goes through.
        kinds: those in use, by name, in the order of the registry, which is that in which they are applied.
    """

    copies: int
    chain: int
    kinds: dict[str, Transform]

    @cached_property  # it is asked for at each copy
    def digest(self) -> str:
        """Names what is done to a copy, however many there are and wherever folders lie: what is in them counts."""
        return digest(self.chain, {name: _result_affecting(kind) for name, kind in self.kinds.items()})


def augmentation(values: Mapping[str, Any], rooms: Path) -> Augment:
    """Build the kinds in use.

    Args:
        values: the section `augment` of an experiment, as `ser.config` gives it.
        rooms: folder in which simulated rooms are kept.

    Raises:
        InputError: a folder that cannot be used.
    """
    kinds = {name: _built(name, values.get(name, {}), rooms) for name in KINDS if name in values["kinds"]}
    return Augment(values["copies"], values["chain"], kinds)


def _built(name: str, values: Mapping[str, Any], rooms: Path) -> Transform:
    kind = from_registry(KINDS, name)
    hints = get_type_hints(kind)
    given = {key: tuple(value) if get_origin(hints[key]) is tuple else value for key, value in values.items()}
    if "cache" in hints:
        given["cache"] = str(rooms)
    made: Transform = kind(**given)
    return made


def _result_affecting(kind: Any) -> dict[str, Any]:
    values = {field.name: getattr(kind, field.name) for field in fields(kind) if field.name != "cache"}
    if values.pop("folder", ""):
        values["files"] = dict(kind.sources())
    return values
