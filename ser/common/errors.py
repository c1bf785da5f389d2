"""Errors that a user can mend, and how an entry point reports them."""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any


class InputError(Exception):
    """Something outside the program is wrong: one line that names file, reason and mend."""


def listed(problems: Sequence[str], shown: int = 5) -> str:
    """The first problems, one a line, and how many more there are."""
    rest = len(problems) - shown
    tail = [f"... and {rest} more"] if rest > 0 else []
    return "\n       ".join([*problems[:shown], *tail])


def guarded(main: Callable[..., int]) -> Callable[..., int]:
    """Turn a user's mistake, a full disk or Ctrl-C into one line and an exit code, without a traceback."""

    @functools.wraps(main)
    def run(*args: Any, **kwargs: Any) -> int:
        form, warnings.formatwarning = warnings.formatwarning, _one_line
        try:
            return main(*args, **kwargs)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
        except BrokenPipeError:
            # The reader of our output has gone (`... | head`): nothing to say, and nobody to say it to.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            name = f"{error.filename}: " if error.filename else ""
            print(f"error: {name}{error.strerror or error}; mend that and run the same command again", file=sys.stderr)
        except KeyboardInterrupt:
            print("error: interrupted; the same command continues", file=sys.stderr)
            return 130
        finally:
            warnings.formatwarning = form
            from ser.common.records import unchecked_note  # which imports this module

            if note := unchecked_note():
                print(f"warning: {note}", file=sys.stderr)
        return 1

    return run


def _one_line(message: Warning | str, *_: Any, **__: Any) -> str:
    """A warning without the line of code that gave it."""
    return f"warning: {message}\n"
