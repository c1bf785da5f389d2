"""Issues of a corpus: raised at once, or collected so that the rest of the corpus can be used."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path

from ser.common import InputError
from ser.common.errors import listed
from ser.common.output import line


class Issue(InputError):
    """A part of a corpus that cannot be used, while the rest can.

    Args:
        kind: heading under which a check lists the issue, such as "stray files".
        what, where, fix: as in `InputError`.
    """

    def __init__(self, kind: str, what: str, where: str | Path | None = None, fix: str | None = None) -> None:
        super().__init__(what, where, fix)
        self.args = kind, what, where, fix  # an error is pickled with its args
        self.kind = kind


class Issues(list[Issue]):
    """Issues in the order in which they were found.

    Args:
        kinds: kinds to collect; other issues are raised. None: all are collected.
    """

    def __init__(self, kinds: Container[str] | None = None) -> None:
        super().__init__()
        self.kinds = kinds

    def add(self, issue: Issue) -> None:
        """Collect an issue; the caller then skips the part of the corpus that it concerns.

        Raises:
            Issue: it is of a kind that is not collected.
        """
        if not self.collects(issue):
            raise issue
        self.append(issue)

    def report(self, issues: Sequence[Issue], hint: str = "") -> None:
        """Collect issues, or raise one error that lists all those of kinds that are not collected.

        Args:
            issues: those of a whole corpus.
            hint: text after the last line of the error.

        Raises:
            InputError: an issue is of a kind that is not collected.
        """
        raise_issues([issue for issue in issues if not self.collects(issue)], hint)
        self.extend(issues)

    def collects(self, issue: Issue) -> bool:
        """Whether an issue is of a kind that is collected instead of raised."""
        return self.kinds is None or issue.kind in self.kinds


RAISE_ALL = Issues(())  # collects nothing


def raise_issues(issues: Sequence[InputError], hint: str = "") -> None:
    """Raise one error that lists all issues, a line each; do nothing if there are none.

    Args:
        issues: equal ones are listed once.
        hint: text after the last line.

    Raises:
        InputError: there are issues; its `where` is that of the first.
    """
    messages = list(dict.fromkeys(line(issue) for issue in issues))
    if len(messages) == 1 and not hint:
        raise issues[0]
    if messages:
        where = issues[0].where
        raise InputError(listed(messages).removeprefix(f"{line(where)}: ") + hint, where)
