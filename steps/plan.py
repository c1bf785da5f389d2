#!/usr/bin/env python3
"""What run.sh would do (--dry-run true): each stage, whether it is done, how long a training takes. Writes nothing."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import InputError, guarded
from ser.config import Experiment, load
from ser.config.schema import FrontendSettings

DONE, OPEN = "done", "to do"


@guarded
def main() -> int:
    """Print a line a stage."""
    parser = argparse.ArgumentParser(description=__doc__, usage="%(prog)s [options] exp_dir [key=value ...]")
    parser.add_argument("exp_dir", type=Path, help="root of the experiments")
    parser.add_argument("overrides", nargs="*", help="such as fold=2 training.learning_rate=1e-3")
    parser.add_argument("--preset", default="strict", help="conf/presets/<preset>.yaml")
    parser.add_argument("--recipe", type=Path, help="recipe folder whose conf/ comes first")
    parser.add_argument("--data", type=Path, required=True, help="where stage 1 writes")
    parser.add_argument("--dump", type=Path, required=True, help="root of the feature store")
    options = parser.parse_intermixed_args()
    experiment = load(options.preset, options.recipe, options.overrides)
    folder = options.exp_dir / experiment.folder
    print(f"experiment {folder}")
    model = _model_found(experiment.frontend)
    print(f"stage 0  front end {experiment.frontend.name}: {'there' if model else 'a model to fetch'}")
    prepared = [c for c in experiment.corpora if (options.data / c / "cuts.jsonl.gz").is_file()]
    for corpus in experiment.corpora:
        print(f"stage 1  prepare {corpus}: {DONE if corpus in prepared else OPEN}")
    copies = experiment.augment["copies"]
    print(f"stage 2  copies of training utterances: {copies or 'none'}")
    for corpus in experiment.corpora:
        there = model and corpus in prepared and _has_features(experiment, options.dump, options.data / corpus)
        print(f"stage 3  features of {corpus}: {DONE if there else OPEN}")
    print(f"stage 4  train: {_training(folder, options.exp_dir, experiment)}")
    result = (folder / "result.json").is_file()
    print(f"stage 5  decode: {DONE if result else OPEN}")
    print(f"stage 6  score: {DONE if result else OPEN}")
    print(f"stage 7  {options.exp_dir / 'RESULTS.md'}: written again")
    return 0


def _model_found(settings: FrontendSettings) -> bool:
    from ser.frontends.pretrained import Pretrained, find_model

    try:
        return settings.name != Pretrained.name or find_model(settings.model, settings.revision) is not None
    except InputError:
        return False


def _has_features(experiment: Experiment, dump: Path, data_dir: Path) -> bool:
    from ser.features import FeatureStore
    from ser.frontends import build_frontend

    return FeatureStore(dump, data_dir, build_frontend(experiment)).finished


def _training(folder: Path, exp_dir: Path, experiment: Experiment) -> str:
    """Done, continued from where, or how long trainings of the same cell took."""
    from statistics import median

    from ser.scoring.files import read_train
    from ser.training.checkpoint import load_tensors

    if (folder / "model.safetensors").is_file():
        return DONE
    if (folder / "checkpoint.safetensors").is_file():
        return f"goes on from step {load_tensors(folder / 'checkpoint.safetensors')[1]['step']}"
    others = [read_train(path.parent) for path in exp_dir.glob(f"{Path(experiment.folder).parent}/*/train.json")]
    if not others:
        return f"{OPEN}; no training of this cell is there to tell how long it takes"
    minutes = median(train["seconds_per_epoch"] * train["epochs"] for train in others) / 60
    return f"{OPEN}, about {minutes:.0f} min (median of {len(others)} trainings of this cell)"


if __name__ == "__main__":
    sys.exit(main())
