"""Batches of limited total size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def batched_by_size(items: Iterable[T], size: Callable[[T], float], limit: float) -> Iterator[list[T]]:
    """Group items, in their order, into batches of limited total size.

    Args:
        items: to group.
        size: returns the size of an item.
        limit: on the total size of a batch; a larger item is a batch by itself.
    """
    batch: list[T] = []
    total = 0.0
    for item in items:
        item_size = size(item)
        if batch and total + item_size > limit:
            yield batch
            batch, total = [], 0.0
        batch.append(item)
        total += item_size
    if batch:
        yield batch
