#!/usr/bin/env python3
"""Stage 4: train the experiment of a folder, or continue it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import guarded
from ser.common.cli import experiment_arguments
from ser.common.run_folder import CONFIG, MODEL, is_trained
from ser.config import read_experiment


@guarded
def main() -> int:
    """Write epochs.jsonl, checkpoint, train.json and model.safetensors."""
    options = experiment_arguments(str(__doc__)).parse_args()
    from ser.batches import open_data
    from ser.scoring.files import read_train
    from ser.training import Trainer
    from ser.training.checkpoint import load_tensors
    from ser.training.engine import Interrupted
    from ser.training.processes import training_processes

    experiment, model = read_experiment(options.folder / CONFIG), options.folder / MODEL
    if is_trained(options.folder):
        data = open_data(experiment, options.recipe, options.data, options.dump)
        data.check_trained(load_tensors(model)[1], options.folder)
        read_train(options.folder)
        print(f"{model}: done already")
        return 0
    with training_processes(experiment.training) as (processes, training):
        experiment = replace(experiment, training=training)
        data = open_data(experiment, options.recipe, options.data, options.dump)
        data.check_confounded(experiment.batches.normalisation)
        trainer = Trainer(
            experiment,
            options.folder,
            data.heads,
            data.parts("train"),
            data.parts("valid"),
            data.hashes(),
            data.warnings(),
            keep_checkpoint=True,
            processes=processes,
        )
        try:
            trainer.run()
        except Interrupted as signal:
            if processes.is_main:
                print(
                    f"error: {signal} at step {trainer.step}. Checkpoint saved. Rerun the same command to resume.",
                    file=sys.stderr,
                )
            return signal.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
