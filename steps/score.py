#!/usr/bin/env python3
"""Stage 6: scores of the decoded parts, and result.json."""

from __future__ import annotations

import sys

from ser.common import digest, guarded
from ser.common.cli import experiment_arguments
from ser.config import decisive, read_experiment


@guarded
def main() -> int:
    """Join hypotheses and truth by utterance id."""
    parser = experiment_arguments(str(__doc__))
    parser.add_argument("--part", choices=["train", "valid", "test"], default="test")
    options = parser.parse_args()
    from ser.batches import open_data
    from ser.scoring import score

    experiment = read_experiment(options.folder / "config.yaml")
    data = open_data(experiment, options.recipe, options.data, options.dump)
    result = score(
        data,
        options.folder,
        options.part,
        {
            "config_hash": digest(decisive(experiment)),
            "data_hash": data.data_hash(),
            "split_hash": data.split_hash(),
        },
    )
    for corpus, s in result["targets"].items():
        print(f"{corpus} {options.part}: WA {s['wa']:.3f}, UA {s['ua']:.3f}, macro F1 {s['macro_f1']:.3f}, n {s['n']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
