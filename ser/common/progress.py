"""Progress bars for people, also where a launcher sends the output of a job to its log."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from ser.common.output import SafeStream, line

# run.sh keeps the terminal open under this file descriptor for the first job of a stage.
VARIABLE = "SER_TERMINAL_FD"


def terminal() -> TextIO | None:
    """Where a person is looking, or None."""
    stream = sys.stderr.stream if isinstance(sys.stderr, SafeStream) else sys.stderr  # a bar moves the cursor
    if stream.isatty():
        return stream
    number = os.environ.get(VARIABLE, "")
    try:
        if number.isdigit() and os.isatty(int(number)):
            return os.fdopen(int(number), "w", closefd=False)
    except OSError:
        pass
    return None


def report(text: str) -> None:
    """Print a line, and where the output goes to the log of a launcher, show it on the terminal as well."""
    from tqdm import tqdm

    print(text, flush=True)
    place = terminal()
    if place is not None and not sys.stderr.isatty():
        tqdm.write(line(text), file=place)


def progress(
    iterable: Iterable[Any] | None = None, *, text: str, unit: str, total: int | None = None, show: bool = True
) -> Any:
    """A tqdm bar on the terminal, and nothing at all where there is none."""
    from tqdm import tqdm

    place = terminal() if show else None
    return tqdm(
        iterable,
        line(text),
        total,
        unit=unit,
        file=place or sys.stderr,
        disable=place is None,
        leave=False,
        dynamic_ncols=True,
    )
