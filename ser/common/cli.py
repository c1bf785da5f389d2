"""Options of one style, and arguments that several stages share."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TRUTHS = {"true", "false", "yes", "no", "on", "off", "1", "0"}


class Parser(argparse.ArgumentParser):
    """A parser with switches as run.sh has them: `--name true` or `--name false`; `--name` alone is true.

    All have `--verbose`, which sends the log of the package to standard error.
    """

    def __init__(self, *args: Any, verbose: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if verbose and self.add_help:  # else it is a part of others
            self.add_switch("--verbose", help="log the files that are read and written, and what is left out")

    def add_switch(self, name: str, help: str, default: bool = False) -> None:
        """An option that is true or false.

        Args:
            name: with its dashes.
            help: what it does where it is true.
            default: its value where it is not given.
        """
        self.add_argument(name, type=_truth, default=default, metavar="true|false", help=help)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As of argparse, where a switch without a value gets one.

        Args:
            args: words of the command line; None: this program's.
            namespace: that gets the values; None: a new one.
        """
        given = list(sys.argv[1:] if args is None else args)
        switches = {name for action in self._actions if action.type is _truth for name in action.option_strings}
        for at in reversed(range(len(given))):
            # Another word for a truth goes to `_truth`, which refuses it; it is not meant as an argument of its own.
            if given[at] in switches and "".join(given[at + 1 : at + 2]).lower() not in TRUTHS:
                given.insert(at + 1, "true")
        found, rest = super().parse_known_args(given, namespace)
        if found.__dict__.pop("verbose", False):
            handler = logging.StreamHandler()
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
            logger = logging.getLogger("ser")
            logger.handlers = [handler]
            logger.setLevel(logging.DEBUG)
        return found, rest


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text == "true"


def experiment_arguments(description: str) -> Parser:
    """A parser with the folder of an experiment and where its data lie."""
    parser = Parser(description=description)
    parser.add_argument("folder", type=Path, help="the experiment's, with config.yaml")
    parser.add_argument("--recipe", type=Path, help="recipe folder whose conf/ comes first")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where stage 1 wrote")
    parser.add_argument("--dump", type=Path, default=Path("dump"), help="root of the feature store")
    return parser
