"""Cache parsed files in a process until they change."""

from __future__ import annotations

import gc
import os
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
# The cache of a reader holds this many files of any size, and more as long as all together are not larger than this.
FILES, BYTES = 8, 64_000_000


def parsed_once(read: Callable[[Path], T]) -> Callable[[Path], T]:
    """Decorate a reader: a file is parsed again only after it has changed.

    All callers share the returned value and must not change it.
    """
    cache: OrderedDict[tuple[Path, int, int, int, int], T] = OrderedDict()

    @wraps(read)
    def reader(path: Path) -> T:
        try:
            state = os.stat(path)
        except (OSError, ValueError):
            return read(path)  # it reports the error
        key = path, state.st_size, state.st_ino, state.st_mtime_ns, state.st_ctime_ns
        if key not in cache:
            cache[key] = _read_uncollected(read, path)
            while len(cache) > FILES and sum(size for _, size, *_ in cache) > BYTES:
                cache.popitem(last=False)
        cache.move_to_end(key)
        return cache[key]

    return reader


def _read_uncollected(read: Callable[[Path], T], path: Path) -> T:
    """Read a file without garbage collections, which take long during the reading of a large file and free nothing."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        return read(path)
    finally:
        if collecting:
            gc.enable()
