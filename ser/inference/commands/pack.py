"""ser pack."""

from __future__ import annotations

import argparse
from pathlib import Path

from ser.common.cli import Parser


def arguments(parser: Parser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "experiment",
        type=Path,
        nargs="+",
        help="folder of a finished experiment; of several, such as the seeds of a cell, the mean of their posteriors "
        "answers",
    )
    parser.add_argument("out", type=Path, help="the model package to write")
    parser.add_argument("--recipe", type=Path, help="recipe folder (default: the one that holds the exp folder)")
    parser.add_argument("--data", type=Path, help="prepared corpora (default: data in the recipe folder)")
    parser.add_switch("--reference", help="name a pretrained encoder by its hash, in place of a copy of its weights")
    parser.add_argument(
        "--findings",
        type=Path,
        metavar="JSON",
        help="findings.json of a grid of the same settings: its leave-one-corpus-out UA goes on the card",
    )
    parser.add_argument("--dump", type=Path, help="feature store (default: dump in the toolkit's folder)")


def run(options: argparse.Namespace) -> int:
    """Write the package and print its scores."""
    from ser.inference.pack import pack

    description = pack(
        options.experiment, options.out, options.recipe, options.data, options.dump, options.reference, options.findings
    )
    print(f"{options.out}: {', '.join(f'{head} ({len(c)} labels)' for head, c in description['heads'].items())}")
    for head, c in description["calibration"].items():
        print(
            f"{head}: UA {100 * c['ua']:.1f} % on validation (n {c['n']}), temperature {c['temperature']:.2f}, "
            f"calibration error {100 * c['ece_before']:.1f} % before and {100 * c['ece_after']:.1f} % after"
        )
    return 0
