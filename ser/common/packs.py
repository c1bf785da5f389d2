"""Several things at once, as many as some amount allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def packs(items: Iterable[T], size: Callable[[T], float], most: float) -> Iterator[list[T]]:
    """Items in their order, so many at once as have no more than `most` together, or one that has more.

    Args:
        items: any number.
        size: of an item.
        most: of a pack.
    """
    pack: list[T] = []
    total = 0.0
    for item in items:
        own = size(item)
        if pack and total + own > most:
            yield pack
            pack, total = [], 0.0
        pack.append(item)
        total += own
    if pack:
        yield pack
