"""ser card."""

from __future__ import annotations

import argparse
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("model", type=Path, help="model package")
    parser.add_argument(
        "--seen", nargs="+", metavar="ID", help="<corpus>/<utterance id>: only print of each whether it was trained on"
    )


def run(options: argparse.Namespace) -> int:
    """Write README.md again, or print which utterances are in the training data."""
    from ser.inference.card import training_hashes, utterance_hash, write_card
    from ser.inference.model import CARD, verify_checksums, write_sums

    verify_checksums(options.model)
    if options.seen:
        known = training_hashes(options.model)
        for name in options.seen:
            print(f"{name}: {'trained on' if utterance_hash(name) in known else 'not trained on'}")
        return 0
    write_card(options.model)
    write_sums(options.model)
    print(f"{options.model / CARD}: written")
    return 0
