"""Cache parsed files in a process until they change."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
# Number of files that the cache of one reader holds: enough for a few corpora, whose tables may be large.
CACHED_FILES = 8


def parsed_once(read: Callable[[Path], T]) -> Callable[[Path], T]:
    """Decorate a reader: a file is parsed again only after it has changed.

    All callers share the returned value and must not change it.
    """

    @lru_cache(maxsize=CACHED_FILES)
    def cached(path: Path, inode: int, size: int, modified: int, changed: int) -> T:
        collecting = gc.isenabled()
        gc.disable()  # collections during the reading of a large file take long and free nothing
        try:
            return read(path)
        finally:
            if collecting:
                gc.enable()

    @wraps(read)
    def reader(path: Path) -> T:
        try:
            state = os.stat(path)
        except (OSError, ValueError):
            return read(path)  # it reports the error
        return cached(path, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)

    return reader
