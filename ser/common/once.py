"""Files that are parsed once in a process, until they change."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
# Files whose values one reader holds: those of a few corpora, which may be large.
HELD = 8


def parsed_once(read: Callable[[Path], T]) -> Callable[[Path], T]:
    """Have a reader of files parse a file again only where the file has been written again.

    Its values are shared by all that ask for them, and are not to be changed.
    """

    @lru_cache(maxsize=HELD)
    def held(path: Path, inode: int, size: int, modified: int, changed: int) -> T:
        collecting = gc.isenabled()
        gc.disable()  # which looks through all values again and again while a large file is read, and finds nothing
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
            return read(path)  # which reports what is wrong
        return held(path, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)

    return reader
