"""Progress bars for people, also where a launcher sends the output of a job to its log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, TextIO

from ser.common.output import SafeStream, line

# run.sh keeps the terminal open under this file descriptor for the first job of a stage.
VARIABLE = "SER_TERMINAL_FD"
SECONDS = 60  # between two lines of `Rate`


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


def report(text: str, echo: bool = True) -> None:
    """Print a line, and where the output goes to a log, show it on the terminal as well.

    Args:
        echo: whether to print it; without, it is on the terminal alone.
    """
    from tqdm import tqdm

    if echo:
        print(text, flush=True)
    place = terminal()
    if place is not None and not sys.stderr.isatty():
        tqdm.write(line(text), file=place)


def progress(
    iterable: Iterable[Any] | None = None, *, text: str, unit: str, total: int | None = None, show: bool = True
) -> Any:
    """A tqdm bar on the terminal, and nothing at all where there is none.

    Args:
        iterable: what is counted; None: `update` of the result counts.
        text: what is done.
        unit: of the rate, such as utt.
        total: number of items, where `iterable` has no length.
        show: whether to show it.

    Returns:
        tqdm's bar, which iterates over `iterable`.
    """
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


class Rate:
    """A line on standard error each minute where there is no terminal: count, rate and time left.

    Args:
        total: how many there are.
        unit: what is counted.
    """

    def __init__(self, text: str, total: int, unit: str, show: bool = True) -> None:
        self.text, self.total, self.unit = text, total, unit
        self.show = show and terminal() is None
        self.count = 0
        self.begun = self.last = time.monotonic()

    def update(self) -> None:
        """Count one more."""
        self.count += 1
        now = time.monotonic()
        if self.show and now - self.last >= SECONDS:
            self.last, rate = now, self.count / (now - self.begun)
            left = str(timedelta(seconds=round((self.total - self.count) / rate)))
            print(f"{self.text}: {self.count} of {self.total}, {rate:.1f} {self.unit}s/s, {left} left", file=sys.stderr)
