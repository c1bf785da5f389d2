"""Command-line options in one style, and arguments that several stages share."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TRUTHS = {"true", "false", "yes", "no", "on", "off", "1", "0"}


class Parser(argparse.ArgumentParser):
    """A parser with switches as in run.sh: `--name true` or `--name false`; `--name` alone means true.

    Every parser has `--verbose`, which sends the log of the package to standard error.
    """

    def __init__(self, *args: Any, verbose: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if verbose and self.add_help:  # without help it is a parent of other parsers
            self.add_switch("--verbose", help="log the files that are read and written, and what is left out")

    def add_switch(self, name: str, help: str, default: bool = False) -> None:
        """Add an option that is true or false.

        Args:
            name: with its dashes.
            help: what it does if true.
            default: its value if it is not given.
        """
        self.add_argument(name, type=_truth, default=default, metavar="true|false", help=help)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse arguments as argparse does; a switch without a value is true.

        Args:
            args: words of the command line; None: those of this program.
            namespace: receives the values; None: a new one.
        """
        words = list(sys.argv[1:] if args is None else args)
        switches = {name for action in self._actions if action.type is _truth for name in action.option_strings}
        for i in reversed(range(len(words))):
            # A word such as "yes" is meant as the value: `_truth` refuses it.
            if words[i] in switches and "".join(words[i + 1 : i + 2]).lower() not in TRUTHS:
                words.insert(i + 1, "true")
        options, rest = super().parse_known_args(words, namespace)
        if options.__dict__.pop("verbose", False):
            handler = logging.StreamHandler()
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
            logger = logging.getLogger("ser")
            logger.handlers = [handler]
            logger.setLevel(logging.DEBUG)
        return options, rest


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text == "true"


def experiment_arguments(description: str) -> Parser:
    """A parser for the folder of an experiment and the folders of its data."""
    parser = Parser(description=description)
    parser.add_argument("folder", type=Path, help="the experiment's, with config.yaml")
    parser.add_argument("--recipe", type=Path, help="recipe folder whose conf/ comes first")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where stage 1 wrote")
    parser.add_argument("--dump", type=Path, default=Path("dump"), help="root of the feature store")
    return parser
