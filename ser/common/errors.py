"""Errors that a user can fix, and how programs report them."""

from __future__ import annotations

import difflib
import functools
import gc
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from ser.common.output import SafeStream, line

LISTED = "\n       "  # between the lines of one message


class InputError(Exception):
    """An error in the input or the environment: one line that names file, reason and fix.

    Args:
        what: what is wrong.
        where: the file, option, key or row.
        fix: what to do about it.
    """

    def __init__(self, what: str, where: str | Path | None = None, fix: str | None = None) -> None:
        super().__init__(what, where, fix)  # pickled by its args when it passes between processes
        self.what, self.where, self.fix = what, where, fix

    def __str__(self) -> str:
        where = "" if self.where is None else f"{self.where}: "
        return f"{where}{self.what}" + ("" if self.fix is None else f"; {self.fix}")


def one_line(error: Exception) -> str:
    """The message of an error in one line."""
    return " ".join(str(error).split())


def typed_line(error: Exception) -> str:
    """Type and message of an error in one line, such as KeyError: 'rows'."""
    return " ".join(f"{type(error).__name__}: {error}".split())


@contextmanager
def as_input_error(
    what: str,
    where: str | Path | None,
    fix: str,
    *errors: type[Exception],
    reason: Callable[[Exception], str] = one_line,
) -> Iterator[None]:
    """Raise errors of the block as an InputError, which ends in their reason: `<where>: <what> (<reason>); <fix>`.

    Args:
        what: what is wrong.
        where: the file, option, key or row.
        fix: what to do about it.
        errors: types of the errors; others pass unchanged.
        reason: makes the reason of an error.
    """
    try:
        yield
    except errors as error:
        raise InputError(f"{what} ({reason(error)})", where, fix) from None


def listed(problems: Sequence[str], shown: int = 5) -> str:
    """List the first problems, one per line, and count the rest.

    Args:
        problems: one line each.
        shown: limit on the problems that are listed.
    """
    rest = len(problems) - shown
    problems = [line(problem) for problem in problems]
    tail = [f"... and {rest} more"] if rest > 0 else []
    return LISTED.join([*problems[:shown], *tail])


INTERRUPTED = "error: interrupted. Rerun the same command to resume."


def _short_interrupt(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print(INTERRUPTED, file=sys.stderr)
    else:
        sys.__excepthook__(kind, value, trace)


if Path(sys.argv[0]).parent.name == "steps":  # for an interrupt during the imports of a step, before `guarded`
    sys.excepthook = _short_interrupt


def did_you_mean(name: object, known: Iterable[str], before: str = "; ", after: str = "?", cutoff: float = 0.4) -> str:
    """Suggest the closest known name for an unknown one; "" if none is close.

    Args:
        name: the unknown name.
        known: the known names.
        before: text before the suggestion.
        after: text after it.
        cutoff: least similarity, from 0 to 1, of difflib.
    """
    matches = difflib.get_close_matches(str(name), list(known), n=1, cutoff=cutoff)
    return f"{before}did you mean {matches[0]}{after}" if matches else ""


def guarded(main: Callable[..., int | None]) -> Callable[..., int]:
    """Decorate `main`: report user errors, a full disk and Ctrl-C in one line with an exit code, without traceback.

    None, which a `main` without a `return` gives, is the exit code 0.
    """

    @functools.wraps(main)
    def run(*args: Any, **kwargs: Any) -> int:
        from ser.common.records import unchecked_note  # which imports this module

        gc.set_threshold(100_000, 50, 50)  # imported modules and loaded data live to the end and have few cycles
        os.environ.pop("MPLBACKEND", None)  # pictures need none, and one that is not installed stops matplotlib
        formatwarning, warnings.formatwarning = warnings.formatwarning, _one_line
        streams = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = map(SafeStream, streams)
        try:
            code = main(*args, **kwargs)
            if note := unchecked_note():
                print(f"warning: {note}", file=sys.stderr)
            return code or 0
        except InputError as error:
            print("error:", LISTED.join(map(line, str(error).split(LISTED))), file=sys.stderr)
        except ModuleNotFoundError as error:
            if (error.name or "ser").partition(".")[0] == "ser":
                raise
            extra = "predict" if error.name == "torch" else "train"
            fix = f"pip install '.[{extra}]' in the toolkit's folder"
            print(f"error: the package {error.name} is not installed. Fix: {fix}", file=sys.stderr)
        except BrokenPipeError:
            # The reader of the output has closed it (`... | head`): nothing to report.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            name = f"{line(error.filename)}: " if error.filename else ""
            print(f"error: {name}{error.strerror or error}; fix that and rerun the same command", file=sys.stderr)
        except KeyboardInterrupt:
            print(INTERRUPTED, file=sys.stderr)
            return 130
        finally:
            warnings.formatwarning = formatwarning
            sys.stdout, sys.stderr = streams
        return 1

    return run


def _one_line(message: Warning | str, *_: Any, **__: Any) -> str:
    """Format a warning without its line of code."""
    return f"warning: {line(message)}\n"
