"""ser card."""

from __future__ import annotations

import argparse
from pathlib import Path

from ser.common import InputError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("model", type=Path, help="model package")
    parser.add_argument(
        "--seen", nargs="+", metavar="ID", help="<corpus>/<utterance id>: only print of each whether it was trained on"
    )


def run(options: argparse.Namespace) -> int:
    """Write README.md again, or print which utterances are in the training data."""
    from ser.audio import AUDIO_SUFFIXES
    from ser.inference.card import training_hashes, utterance_hash, write_card
    from ser.inference.model import CARD, read_description, verify_checksums, write_sums

    verify_checksums(options.model)
    if options.seen:
        known, corpora = training_hashes(options.model), read_description(options.model)["corpora"]
        for name in options.seen:
            corpus, _, key = name.partition("/")
            if not key or Path(key).suffix.lower() in AUDIO_SUFFIXES:
                raise InputError("<corpus>/<utterance id>, the id as in data/<corpus>", f"--seen {name}")
            other = "" if corpus in corpora else f", nor on any of {corpus}: its corpora are {', '.join(corpora)}"
            print(f"{name}: {'trained on' if utterance_hash(name) in known else f'not trained on{other}'}")
        return 0
    write_card(options.model)
    write_sums(options.model)
    print(f"{options.model / CARD}: written")
    return 0
