"""What is wrong with a corpus: an error at once, or noted while `prepare.py --check` lists all of it."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from ser.common import InputError
from ser.common.errors import listed

# Kind of finding, and the message of its error.
Finding = tuple[str, str]
# The list that is being filled, and which kinds go there; None: all.
_notes: ContextVar[tuple[list[Finding], Container[str] | None]] = ContextVar("_notes", default=([], ()))


def complain_of(kind: str, messages: Sequence[str]) -> None:
    """Refuse several parts of a corpus of one kind at once.

    Raises:
        InputError: with the first of them and their number, unless findings are being collected or there are none.
    """
    if messages and not _is_noted(kind):
        raise InputError(listed(messages))
    for message in messages:
        report_issue(kind, message)


def report_issue(kind: str, what: str, where: str | Path | None = None, fix: str | None = None) -> None:
    """Refuse a part of a corpus; the caller passes over that part where this returns.

    Args:
        kind: heads the list in which a check shows it, such as "stray files".
        what, where, fix: as of `InputError`.

    Raises:
        InputError: unless findings are being collected.
    """
    error = InputError(what, where, fix)
    if not _is_noted(kind):
        raise error
    _notes.get()[0].append((kind, str(error)))


def _is_noted(kind: str) -> bool:
    _, kinds = _notes.get()
    return kinds is None or kind in kinds


@contextmanager
def collect_issues(kinds: Container[str] | None = None) -> Iterator[list[Finding]]:
    """Note the findings of the block in a list instead of raising the first.

    Args:
        kinds: those to note, where others are still raised; None: all.
    """
    found: list[Finding] = []
    token = _notes.set((found, kinds))
    try:
        yield found
    finally:
        _notes.reset(token)
