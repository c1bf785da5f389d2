"""What is wrong with a corpus: raised at once, or listed for who goes on without the parts concerned."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path

from ser.common import InputError
from ser.common.errors import listed
from ser.common.output import line


class Issue(InputError):
    """A part of a corpus that cannot be used, while the rest can.

    Args:
        kind: heads the list in which a check shows it, such as "stray files".
        what, where, fix: as of `InputError`.
    """

    def __init__(self, kind: str, what: str, where: str | Path | None = None, fix: str | None = None) -> None:
        super().__init__(what, where, fix)
        self.args = kind, what, where, fix  # how an error passes between processes
        self.kind = kind


class Issues(list[Issue]):
    """Issues in the order in which they were found.

    Args:
        kinds: those to list, where others are raised; None: all.
    """

    def __init__(self, kinds: Container[str] | None = None) -> None:
        super().__init__()
        self.kinds = kinds

    def add(self, issue: Issue) -> None:
        """List an issue; the caller passes over the part that it concerns.

        Raises:
            Issue: of a kind that is not listed.
        """
        if not self.lists(issue):
            raise issue
        self.append(issue)

    def lists(self, issue: Issue) -> bool:
        """Whether an issue is of a kind that is listed, and not raised."""
        return self.kinds is None or issue.kind in self.kinds


# Lists none: every issue is raised.
RAISED = Issues(())


def raise_issues(issues: Sequence[InputError], hint: str = "") -> None:
    """Raise what was found, unless it is nothing: the first of several with a line for each of the next.

    Args:
        issues: equal ones are listed once.
        hint: behind the last line.

    Raises:
        InputError: its `where` is that of the first.
    """
    messages = list(dict.fromkeys(line(issue) for issue in issues))
    if len(messages) == 1 and not hint:
        raise issues[0]
    if messages:
        where = issues[0].where
        raise InputError(listed(messages).removeprefix(f"{line(where)}: ") + hint, where)
