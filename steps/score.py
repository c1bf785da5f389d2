#!/usr/bin/env python3
"""Stage 6: scores of the decoded parts, and result.json."""

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
    """Join hypotheses and truth by utterance id."""
    parser = experiment_arguments(str(__doc__))
    parser.add_argument("--part", choices=["train", "valid", "test"], default="test")
    parser.add_switch("--pictures", "also draw curves, confusion matrices and reliability")
    options = parser.parse_args()
    from ser.batches import open_data
    from ser.config.metrics import scores_text
    from ser.scoring.result import confusion_table, score_experiment

    experiment = read_experiment(options.folder / CONFIG)
    data = open_data(experiment, options.recipe, options.data, options.dump)
    result = score_experiment(data, options.folder, options.part, options.pictures)
    for corpus, s in result["targets"].items():
        print(f"{corpus} {options.part}: {scores_text(s)}, n {s['n']}")
        print(confusion_table(s))


if __name__ == "__main__":
    sys.exit(main())
