#!/usr/bin/env python3
"""A linear SVM on functionals, with the corpora, the fold and the normalisation of an experiment, as its baseline."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import InputError, guarded
from ser.common.cli import experiment_arguments
from ser.common.run_folder import CONFIG, RESULT
from ser.config import read_experiment

NORMALISATIONS = ("global", "speaker", "none")


@guarded
def main() -> None:
    """Write svm_<features>_<normalisation>/fold<k>_seed<s>/ beside the experiment, with hypotheses and result.json."""
    parser = experiment_arguments(str(__doc__))
    parser.add_argument(
        "--features",
        choices=["logmel", "statistics", "opensmile"],
        help="what is summarised: log-mel bands of the log-STFT, mean and deviation of what the front end gives, or "
        "audio (default: logmel of the log-STFT, statistics of other front ends)",
    )
    parser.add_argument(
        "--normalisation",
        choices=NORMALISATIONS,
        help="whose mean and deviation are taken out (default: as in config.yaml)",
    )
    parser.add_switch("--allow-confounded", help="speaker statistics also where the class follows from the speaker")
    options = parser.parse_args()

    experiment = read_experiment(options.folder / CONFIG)
    if options.folder.resolve().parts[-3:] != tuple(experiment.folder.split("/")):
        raise InputError(f"its config.yaml is of {experiment.folder}", options.folder, "run steps/configure.py")
    features = options.features or ("logmel" if experiment.frontend.name == "log_stft" else "statistics")
    normalisation = options.normalisation or experiment.batches.normalisation
    if normalisation not in NORMALISATIONS:
        what = f"the baseline has no normalisation by {normalisation}"
        raise InputError(what, options.folder, f"give --normalisation {'|'.join(NORMALISATIONS)}")
    from ser.batches import open_data
    from ser.config.metrics import scores_text
    from ser.scoring.baseline import baseline_folder, run

    allow = experiment.batches.allow_confounded or options.allow_confounded
    experiment = replace(experiment, task="unified", batches=replace(experiment.batches, allow_confounded=allow))
    data = open_data(experiment, options.recipe, options.data, options.dump)
    folder = baseline_folder(options.folder, features, normalisation)
    result, existed = run(data, features, normalisation, folder)
    if existed:
        print(f"{folder / RESULT}: done already")
    for corpus, s in result["targets"].items():
        print(f"{corpus} test: {scores_text(s)}, n {s['n']}; C {result['C']:g}")


if __name__ == "__main__":
    sys.exit(main())
