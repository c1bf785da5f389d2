#!/usr/bin/env python3
"""Stage 2: choose the augmented copies of training utterances. Or: preview the copies of one utterance."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import InputError, did_you_mean, guarded
from ser.common.cli import experiment_arguments
from ser.common.run_folder import CONFIG
from ser.config import Experiment, read_experiment


@guarded
def main() -> None:
    """Write cut manifests of the copies; stage 3 computes their features."""
    parser = experiment_arguments(str(__doc__))
    parser.add_switch("--dirs", help="just print what stage 3 is for")
    parser.add_argument("--preview", metavar="UTT", help="write this utterance as each kind changes it, and a picture")
    parser.add_argument("--out", type=Path, help="where to, instead of the experiment's preview/<utterance>")
    options = parser.parse_args()
    from ser.batches.load import open_train_sets

    experiment = read_experiment(options.folder / CONFIG)
    if options.preview:
        return preview(options, experiment)
    sets = open_train_sets(experiment, options.recipe, options.data, options.dump)
    if options.dirs:
        copied = [train_set.folder for train_set in sets.values() if train_set.oversampling > 1]
        print(*(options.data / corpus for corpus in experiment.corpora), *copied, sep="\n")
        return
    from ser.augment.train_set import copies_table

    for train_set in sets.values():
        if train_set.oversampling > 1 and not train_set.finished:
            train_set.write()
    print(copies_table(sets) if sets else "augment.copies is 0: no copies")


def preview(options: argparse.Namespace, experiment: Experiment) -> None:
    """Write the copies of an utterance and their picture, whether the settings ask for copies or not."""
    from ser.augment.preview import write_preview
    from ser.batches.load import open_train_sets
    from ser.corpora.kaldi import read_table
    from ser.frontends import build_frontend

    experiment = replace(experiment, augment=experiment.augment | {"copies": 1})
    sets = open_train_sets(experiment, options.recipe, options.data, options.dump)
    key = options.preview
    train_set = next((each for each in sets.values() if key in each.cuts), None)
    if train_set is None:
        hint = did_you_mean(key, [cut for each in sets.values() for cut in each.cuts], cutoff=0)
        raise InputError(f"no such utterance in {', '.join(sets)}{hint}", f"--preview {key}")
    speaker = read_table(train_set.train / "utt2spk").get(key, "")
    babble_pool = train_set.babble_pool().exclude_speaker(speaker)
    out = options.out or options.folder / "preview" / key
    rate = build_frontend(experiment).sampling_rate
    for path in write_preview(train_set.cuts[key], babble_pool, train_set.augment, rate, out):
        print(path)


if __name__ == "__main__":
    sys.exit(main())
