"""Progress bars for people, also where a launcher sends the output of a job to its log."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO

# run.sh keeps the terminal open under this file descriptor for the first job of a stage.
VARIABLE = "SER_TERMINAL_FD"


def terminal() -> TextIO | None:
    """Where a person is looking, or None."""
    if sys.stderr.isatty():
        return sys.stderr
    number = os.environ.get(VARIABLE, "")
    try:
        if number.isdigit() and os.isatty(int(number)):
            return os.fdopen(int(number), "w", closefd=False)
    except OSError:
        pass
    return None


def progress(
    iterable: Iterable[Any] | None = None, *, text: str, unit: str, total: int | None = None, show: bool = True
) -> Any:
    """A tqdm bar on the terminal, and nothing at all where there is none."""
    from tqdm import tqdm

    place = terminal() if show else None
    return tqdm(
        iterable,
        text,
        total,
        unit=unit,
        file=place or sys.stderr,
        disable=place is None,
        leave=False,
        dynamic_ncols=True,
    )
