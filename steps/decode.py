#!/usr/bin/env python3
"""Stage 5: posteriors of the test part of every corpus of an experiment."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import InputError, digest, guarded, read_json
from ser.common.cli import experiment_arguments
from ser.config import read_experiment


@guarded
def main() -> int:
    """Write decode_<corpus>_<part>/ with post.{ark,scp} and hyp."""
    parser = experiment_arguments(str(__doc__))
    parser.add_argument("--part", choices=["train", "valid", "test"], default="test")
    options = parser.parse_args()
    from ser.batches import open_data
    from ser.nets import build
    from ser.scoring import decode
    from ser.training.checkpoint import load_tensors
    from ser.training.machine import find_machine

    experiment = read_experiment(options.folder / "config.yaml")
    data = open_data(experiment, options.recipe, options.data, options.dump)
    tensors, meta = load_tensors(options.folder / "model.safetensors")
    network = build(experiment, meta["classes"])
    network.load_state_dict(tensors)
    machine = find_machine(experiment.training)
    network.to(machine.device)
    mark = {"model": digest(options.folder / "model.safetensors")}
    parts = data.parts(options.part)
    if not parts:
        raise InputError(f"{options.folder}: none of {', '.join(experiment.corpora)} has {options.part} speakers")
    for corpus, part in parts.items():
        folder = options.folder / f"decode_{corpus}_{options.part}"
        done = folder / "decode.json"
        if done.is_file() and read_json(done).get("model") == mark["model"]:
            print(f"{folder}: done already")
            continue
        decode(network, part, experiment.batches, machine.device, folder, mark)
        print(f"{folder}: {len(part)} utterances")
    return 0


if __name__ == "__main__":
    sys.exit(main())
