"""Progress bars on the terminal, also when a launcher sends the output of a job to its log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, TextIO

from ser.common.output import SafeStream, line

# Environment variable: file descriptor of the terminal, which run.sh keeps open for the first job of a stage.
VARIABLE = "SER_TERMINAL_FD"
SECONDS = 60  # between the lines of `Rate`


def terminal() -> TextIO | None:
    """The terminal, or None if nobody watches the output."""
    # The stream below the escaping one, since a bar moves the cursor.
    stream = sys.stderr.stream if isinstance(sys.stderr, SafeStream) else sys.stderr
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
    """Print a line; if the output goes to a log, show it on the terminal as well.

    Args:
        text: the line.
        echo: whether to print it; False: show it on the terminal only.
    """
    from tqdm import tqdm

    if echo:
        print(text, flush=True)
    stream = terminal()
    if stream is not None and not sys.stderr.isatty():
        tqdm.write(line(text), file=stream)


def progress(
    iterable: Iterable[Any] | None = None, *, text: str, unit: str, total: int | None = None, show: bool = True
) -> Any:
    """Show a tqdm bar on the terminal; nothing without a terminal.

    Args:
        iterable: the items to count; None: call `update` of the bar.
        text: name of the task.
        unit: of the items, such as utt.
        total: number of items, if `iterable` has no length.
        show: whether to show it.

    Returns:
        The bar of tqdm, which iterates over `iterable`.
    """
    from tqdm import tqdm

    stream = terminal() if show else None
    return tqdm(
        iterable,
        line(text),
        total,
        unit=unit,
        file=stream or sys.stderr,
        disable=stream is None,
        leave=False,
        dynamic_ncols=True,
    )


class Rate:
    """Without a terminal, prints a line to standard error every minute: count, rate and time left.

    Args:
        text: name of the task.
        total: number of items.
        unit: of the items, such as utt.
        show: whether to print anything.
    """

    def __init__(self, text: str, total: int, unit: str, show: bool = True) -> None:
        self.text, self.total, self.unit = text, total, unit
        self.show = show and terminal() is None
        self.count = 0
        self.started = self.last = time.monotonic()

    def update(self) -> None:
        """Count one more item."""
        self.count += 1
        now = time.monotonic()
        if self.show and now - self.last >= SECONDS:
            self.last, rate = now, self.count / (now - self.started)
            left = str(timedelta(seconds=round((self.total - self.count) / rate)))
            print(f"{self.text}: {self.count} of {self.total}, {rate:.1f} {self.unit}s/s, {left} left", file=sys.stderr)
