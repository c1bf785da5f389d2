"""What is wrong with a corpus: an error at once, or noted while `prepare.py --check` lists all of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ser.common import InputError

# Kind of finding, and the message of its error.
Finding = tuple[str, str]
_noted: ContextVar[list[Finding] | None] = ContextVar("_noted", default=None)


def complain(kind: str, message: str) -> None:
    """Refuse a part of a corpus; the caller passes over that part where this returns.

    Args:
        kind: heads the list in which a check shows it, such as "stray files".
        message: file, reason and mend.

    Raises:
        InputError: unless findings are being collected.
    """
    noted = _noted.get()
    if noted is None:
        raise InputError(message)
    noted.append((kind, message))


@contextmanager
def collecting() -> Iterator[list[Finding]]:
    """Note the findings of the block in a list instead of raising the first."""
    found: list[Finding] = []
    token = _noted.set(found)
    try:
        yield found
    finally:
        _noted.reset(token)
