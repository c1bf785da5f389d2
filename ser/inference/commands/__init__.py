"""A module a command of `ser`."""

from __future__ import annotations

import argparse


def add_head(parser: argparse.ArgumentParser) -> None:
    """The option --head."""
    parser.add_argument(
        "--head", help="corpus whose head answers (default: the mean of all heads, if they have one set of labels)"
    )
