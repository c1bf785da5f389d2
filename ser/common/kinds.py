"""Check values read from JSON against a type."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

PLAIN = (bool, int, float, str)


class Limit(NamedTuple):
    """A condition on a value, in addition to its type.

    Attributes:
        words: follow "expected" in messages.
        holds: whether a value fulfils it.
    """

    words: str
    holds: Callable[[Any], bool]


PositiveInt = Annotated[int, Limit("a whole number from 1", lambda value: value >= 1)]
NonNegativeInt = Annotated[int, Limit("a whole number from 0", lambda value: value >= 0)]
PositiveFloat = Annotated[float, Limit("a number above 0", lambda value: value > 0)]
NonNegativeFloat = Annotated[float, Limit("a number from 0", lambda value: value >= 0)]
SpeedFactor = Annotated[float, Limit("a factor from 0.25 to 4", lambda value: 0.25 <= value <= 4)]
Share = Annotated[float, Limit("a number from 0 to 1", lambda value: 0 <= value <= 1)]


def of_kind(hint: Any, value: Any, name: str) -> Any:
    """Check a value against a type hint, and convert it.

    Args:
        hint: bool, int, float, str, Any, None, a union, Literal, list, tuple of a fixed length, dict with text keys, a
            TypedDict (other keys are allowed), a dataclass (other keys are errors), or Annotated with a `Limit`.
        value: as JSON gives it.
        name: dotted name of the value for messages; "" for a whole file.

    Returns:
        The value; an int becomes a float if the hint is float, a tuple a list, and a dict a dataclass.

    Raises:
        ValueError: the type differs, a key is missing, or a float is not finite.
    """
    if hint is Any:
        return value
    if hint in PLAIN:
        return _plain(hint, value, name)
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return _one_of(get_args(hint), value, name)
    if hint in (None, NoneType):
        if value is not None:
            raise ValueError(_differs(name, value, "null"))
        return None
    if is_typeddict(hint) or is_dataclass(hint):
        return _with_keys(hint, value, name)
    if origin is Literal:
        choices = get_args(hint)
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            raise ValueError(_differs(name, value, "one of " * (len(choices) > 1) + ", ".join(map(str, choices))))
        return value
    if origin is Annotated:
        kind, limit = get_args(hint)
        converted = of_kind(kind, value, name)
        if not limit.holds(converted):
            raise ValueError(_differs(name, value, limit.words))
        return converted
    if origin in (list, tuple):
        hints = get_args(hint)
        many = origin is list or hints[1:] == (...,)
        if not isinstance(value, list | tuple) or not (many or len(value) == len(hints)):
            raise ValueError(_differs(name, value, "a list" if many else f"a list of {len(hints)}"))
        return [of_kind(hints[0 if many else i], item, f"{name}[{i}]") for i, item in enumerate(value)]
    if origin is dict or hint is dict:
        if not isinstance(value, dict):
            raise ValueError(_differs(name, value, "an object"))
        return {k: of_kind((get_args(hint) or (str, Any))[1], item, _inner(name, k)) for k, item in value.items()}
    raise TypeError(f"{name}: {hint} is no type of a setting or record")


def of_setting(hint: Any, value: Any, name: str) -> Any:
    """Check a setting as `of_kind` does, but accept 3.0 as a whole number, also in a list.

    Args:
        hint: see `of_kind`; not dict.
        value: that a user wrote.
        name: of the value, for messages.
    """
    if isinstance(value, list):
        value = [int(item) if isinstance(item, float) and item.is_integer() else item for item in value]
    return of_kind(hint, int(value) if isinstance(value, float) and value.is_integer() else value, name)


def _with_keys(hint: Any, value: Any, name: str) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(_differs(name, value, "an object"))
    hints, required = _hints_of(hint)
    if missing := sorted(required - value.keys()):
        raise ValueError(f"{_inner(name, missing[0])} is missing")
    converted = {key: of_kind(hints[key], value[key], _inner(name, key)) for key in hints if key in value}
    if is_typeddict(hint):
        return {**value, **converted}
    if unknown := sorted(value.keys() - hints.keys()):
        raise ValueError(f"{_inner(name, unknown[0])} is unknown")
    return hint(**converted)


@cache
def _hints_of(hint: Any) -> tuple[dict[str, Any], set[str]]:
    """Type hints of the keys of a TypedDict or dataclass, and the keys that must be there."""
    hints = get_type_hints(hint, include_extras=True)
    # __required_keys__ ignores NotRequired if annotations are strings.
    required = {key for key, inner in hints.items() if get_origin(inner) is not NotRequired}
    return {key: inner if key in required else get_args(inner)[0] for key, inner in hints.items()}, required


def _one_of(hints: tuple[Any, ...], value: Any, name: str) -> Any:
    reasons = []
    for hint in hints:
        try:
            return of_kind(hint, value, name)
        except ValueError as error:
            reasons.append(str(error))
    start = _differs(name, value, "")
    others = [reason.removeprefix(start) for reason in reasons[1:] if reason.startswith(start)]
    raise ValueError(" or ".join([reasons[0], *others]))


def _plain(hint: Any, value: Any, name: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**1000 else math.inf
    if not isinstance(value, hint) or isinstance(value, bool) != (hint is bool):
        words = {bool: "true or false", str: "text", int: "a whole number"}
        raise ValueError(_differs(name, value, words.get(hint, "a number")))
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(_differs(name, value, "a finite number"))
    return value


def _inner(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _differs(name: str, value: Any, wanted: str) -> str:
    text = repr(value)
    text = text if len(text) <= 40 else f"{text[:37]}..."
    return f"{name or 'the file'} = {text}, expected {wanted}"
