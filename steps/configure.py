#!/usr/bin/env python3
"""Resolve conf/, a preset and the command line; write config.yaml where the experiment lies, and print that folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import InputError, guarded
from ser.config import differences, load, read_experiment, save


@guarded
def main() -> int:
    """Refuse to mix two settings in one folder."""
    parser = argparse.ArgumentParser(description=__doc__, usage="%(prog)s [options] exp_dir [key=value ...]")
    parser.add_argument("exp_dir", type=Path, help="root of the experiments")
    parser.add_argument("overrides", nargs="*", help="such as fold=2 training.learning_rate=1e-3")
    parser.add_argument("--preset", default="strict", help="conf/presets/<preset>.yaml")
    parser.add_argument("--recipe", type=Path, help="recipe folder whose conf/ comes first")
    parser.add_argument(
        "--count-folds",
        type=Path,
        metavar="DATA",
        help="print the number of folds of corpora prepared there; write nothing",
    )
    options = parser.parse_intermixed_args()
    from ser.corpora import read_protocol
    from ser.corpora.splits import with_splits

    experiment = load(options.preset, options.recipe, options.overrides)
    if options.count_folds:
        prepared = [with_splits(read_protocol(c, options.recipe), options.count_folds / c) for c in experiment.corpora]
        print(max(len(protocol.folds(experiment.split)) for protocol in prepared))
        return 0
    if len(set(experiment.corpora)) != len(experiment.corpora) or not experiment.corpora:
        raise InputError(f"corpora = {','.join(experiment.corpora)}: name each corpus once, and at least one")
    protocols = {c: read_protocol(c, options.recipe) for c in experiment.corpora}
    folds = {c: p.num_folds(experiment.split) for c, p in protocols.items()}
    known = [number for number in folds.values() if number is not None]
    if len(known) == len(folds) and experiment.fold > max(known):
        raise InputError(
            f"fold = {experiment.fold}: split {experiment.split} of {', '.join(folds)} has folds 1 to {max(known)}"
        )
    if not any(p.has_test(experiment.split, experiment.fold) for p in protocols.values()):
        raise InputError(
            f"corpora = {','.join(experiment.corpora)}: none has test speakers, so there would be no result; add "
            "a corpus that has"
        )
    folder = options.exp_dir / experiment.folder
    path = folder / "config.yaml"
    if path.is_file():
        found = differences(read_experiment(path), experiment)
        changed = [f"{key}: {there} there, {now} now" for key, (there, now) in found.items()]
        begun = any((folder / name).exists() for name in ("checkpoint.safetensors", "model.safetensors"))
        if changed and begun:
            raise InputError(
                f"{folder}: holds a training with other settings ({'; '.join(changed)}); give another "
                "--exp folder, or remove this one"
            )
    save(experiment, path)
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
