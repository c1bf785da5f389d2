#!/usr/bin/env python3
"""Stage 5: posteriors of the test part of every corpus of an experiment, and with it of the validation part."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import guarded
from ser.common.cli import experiment_arguments
from ser.common.run_folder import CONFIG
from ser.config import read_experiment


@guarded
def main() -> None:
    """Write decode_<part>/post.ark, and decode.json."""
    parser = experiment_arguments(str(__doc__))
    parser.add_argument("--part", choices=["train", "valid", "test"], default="test")
    options = parser.parse_args()
    from ser.batches import open_data
    from ser.scoring.decode import Decoder

    experiment = read_experiment(options.folder / CONFIG)
    data = open_data(experiment, options.recipe, options.data, options.dump)
    print(*Decoder(experiment, options.folder).decode_parts(data, options.part), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
