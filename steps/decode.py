#!/usr/bin/env python3
"""Stage 5: posteriors of the test part of every corpus of an experiment."""

from __future__ import annotations

import sys

from ser.common import InputError, guarded, read_json
from ser.common.cli import experiment_arguments
from ser.config import read_experiment


@guarded
def main() -> int:
    """Write decode_<corpus>_<part>/ with post.{ark,scp} and hyp."""
    parser = experiment_arguments(str(__doc__))
    parser.add_argument("--part", choices=["train", "valid", "test"], default="test")
    options = parser.parse_args()
    from dataclasses import replace

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
    # Decoding is exact whatever the batch, which bfloat16 is not.
    machine = find_machine(replace(experiment.training, precision="float32"))
    network.to(machine.device)
    parts = data.parts(options.part)
    if not parts:
        raise InputError(f"{options.folder}: none of {', '.join(experiment.corpora)} has {options.part} speakers")
    for corpus, part in parts.items():
        folder = options.folder / f"decode_{corpus}_{options.part}"
        done = folder / "decode.json"
        if done.is_file() and read_json(done)["fingerprint"] == meta["fingerprint"]:
            print(f"{folder}: done already")
            continue
        decode(
            network,
            part,
            experiment.batches.normalisation,
            machine,
            folder,
            {"fingerprint": meta["fingerprint"]},
        )
        print(f"{folder}: {len(part)} utterances")
    return 0


if __name__ == "__main__":
    sys.exit(main())
