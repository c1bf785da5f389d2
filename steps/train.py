#!/usr/bin/env python3
"""Stage 4: train the experiment of a folder, or continue it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import InputError, guarded
from ser.common.cli import experiment_arguments
from ser.common.run_folder import CONFIG, MODEL, is_trained
from ser.config import read_experiment


@guarded
def main() -> int:
    """Write epochs.jsonl, checkpoint, train.json and model.safetensors."""
    options = experiment_arguments(str(__doc__)).parse_args()
    from ser.batches import open_data
    from ser.training import Trainer
    from ser.training.checkpoint import load_tensors
    from ser.training.engine import Interrupted

    experiment = read_experiment(options.folder / CONFIG)
    data = open_data(experiment, options.recipe, options.data, options.dump)
    model = options.folder / MODEL
    if is_trained(options.folder):
        if what := data.differs_in(load_tensors(model)[1]):
            raise InputError(
                f"trained with another {what}", model, f"remove {options.folder}, or give another --exp folder"
            )
        print(f"{model}: done already")
        return 0
    data.check_confounded(experiment.batches.normalisation)
    parts = data.parts("train"), data.parts("valid")
    trainer = Trainer(experiment, options.folder, data.heads, *parts, data.hashes(), data.warnings(), True)
    try:
        trainer.run()
    except Interrupted as signal:
        print(
            f"error: {signal} at step {trainer.step}. Checkpoint saved. Rerun the same command to resume.",
            file=sys.stderr,
        )
        return signal.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
