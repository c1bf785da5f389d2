#!/usr/bin/env python3
"""A job of stage 3 after the features: levels and CMVN statistics of an experiment's parts."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import guarded
from ser.common.cli import experiment_arguments
from ser.common.jobs import start_job
from ser.common.run_folder import CONFIG
from ser.config import read_experiment


@guarded
def main() -> None:
    """Write dump/<corpus>/<key>/statistics/."""
    parser = experiment_arguments(str(__doc__))
    parser.add_argument("--job", type=int, default=1, help="compute this share, from 1")
    parser.add_argument("--nj", type=int, default=1, help="number of shares")
    options = parser.parse_args()
    start_job(options.job, options.nj)
    from ser.batches import compute_statistics

    experiment = read_experiment(options.folder / CONFIG)
    places = options.recipe, options.data, options.dump
    print(f"statistics of {compute_statistics(experiment, *places, options.job, options.nj)} parts")


if __name__ == "__main__":
    sys.exit(main())
