"""ser init-corpus."""

from __future__ import annotations

import argparse
from pathlib import Path

from ser.common.cli import Parser


def arguments(parser: Parser) -> None:
    """Add the options of the command."""
    parser.add_argument("name", help="of the corpus: lower-case letters, digits and _, such as mine")
    parser.add_argument(
        "table", type=Path, help="CSV, TSV or Excel file: a row an utterance, column names in the first"
    )
    parser.add_argument(
        "--column", action="append", default=[], metavar="emotion=Gefühl", help="a column by hand (start=: none)"
    )
    parser.add_argument(
        "--label", action="append", default=[], metavar="wütend=angry", help="a label by hand (=: left out)"
    )
    parser.add_argument("--language", default="und", help="BCP 47 code, such as de (%(default)s: undetermined)")
    parser.add_argument("--out", type=Path, help="recipe folder to make (default: egs/<name> of the toolkit)")
    parser.add_switch("--force", help="replace the protocol and run.sh of an earlier call")


def run(options: argparse.Namespace) -> int:
    """Make the recipe; 1 where something is wrong with the table or its recordings."""
    from ser.corpora.init_corpus import init_corpus

    return init_corpus(
        options.name,
        options.table,
        options.out,
        columns=options.column,
        labels=options.label,
        language=options.language,
        force=options.force,
    )
