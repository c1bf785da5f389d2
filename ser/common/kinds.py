"""Values read from JSON, compared with the type that they must have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict


def of_kind(hint: Any, value: Any, name: str) -> Any:
    """A value as a type hint has it.

    Args:
        hint: bool, int, float, str or a class derived from one, Any, None, a union, Literal, list, dict with keys of
            text, a TypedDict, which may hold other keys too, or a dataclass, which may not.
        name: what the value is called in messages, with dots; "" for the whole.

    Returns:
        The value; an int where a float is wanted as float, and a dataclass made of the keys of a dict.

    Raises:
        ValueError: it is of another type, a key is missing, or a float is not finite.
    """
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin in (Union, UnionType):
        return _one_of(get_args(hint), value, name)
    if hint in (None, NoneType):
        if value is not None:
            raise ValueError(_differs(name, value, "null"))
        return None
    if is_typeddict(hint) or is_dataclass(hint):
        return _with_keys(hint, value, name)
    if origin is Literal:
        if not isinstance(value, str) or value not in get_args(hint):
            raise ValueError(_differs(name, value, f"one of {', '.join(get_args(hint))}"))
        return value
    if origin is list:
        if not isinstance(value, list):
            raise ValueError(_differs(name, value, "a list"))
        return [of_kind(get_args(hint)[0], item, f"{name}[{i}]") for i, item in enumerate(value)]
    if origin is dict or hint is dict:
        if not isinstance(value, dict):
            raise ValueError(_differs(name, value, "an object"))
        return {k: of_kind((get_args(hint) or (str, Any))[1], item, _inner(name, k)) for k, item in value.items()}
    return _plain(hint, value, name)


def _with_keys(hint: Any, value: Any, name: str) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(_differs(name, value, "an object"))
    hints = get_type_hints(hint)
    # Of annotations that are kept as text, __required_keys__ does not know which are NotRequired.
    marked = get_type_hints(hint, include_extras=True)
    required = {key for key, inner in marked.items() if get_origin(inner) is not NotRequired}
    if missing := sorted(required - value.keys()):
        raise ValueError(f"{_inner(name, missing[0])} is missing")
    made = {key: of_kind(hints[key], value[key], _inner(name, key)) for key in hints if key in value}
    if is_typeddict(hint):
        return {**value, **made}
    if unknown := sorted(value.keys() - hints.keys()):
        raise ValueError(f"{_inner(name, unknown[0])} is unknown")
    return hint(**made)


def _one_of(hints: tuple[Any, ...], value: Any, name: str) -> Any:
    reasons = []
    for hint in hints:
        try:
            return of_kind(hint, value, name)
        except ValueError as error:
            reasons.append(str(error))
    raise ValueError(reasons[0])


def _plain(hint: Any, value: Any, name: str) -> Any:
    plain = next(base for base in (bool, int, float, str) if issubclass(hint, base))
    if plain is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**1000 else math.inf
    if not isinstance(value, plain) or isinstance(value, bool) != (plain is bool):
        raise ValueError(_differs(name, value, {bool: "true or false", str: "text"}.get(plain, "a number")))
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(_differs(name, value, "a finite number"))
    return plain(hint(value))


def _inner(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _differs(name: str, value: Any, wanted: str) -> str:
    text = repr(value)
    found = text if len(text) <= 40 else f"{text[:37]}..."
    return f"{name or 'the file'} = {found}, expected {wanted}"
