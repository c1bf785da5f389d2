#!/usr/bin/env python3
"""Resolve conf/, a preset and the command line; write config.yaml where the experiment lies, and print that folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import InputError, guarded
from ser.common.cli import Parser
from ser.common.files import check_cluster_locks
from ser.common.run_folder import CHECKPOINT, CONFIG, MODEL, TRAIN, is_scored, is_trained
from ser.config import Experiment, differences, load, read_experiment, write_experiment
from ser.config.schema import FrontendSettings

DONE, OPEN = "done", "to do"


@guarded
def main() -> None:
    """Write or print what the options ask for; two settings in one folder are refused."""
    parser = Parser(description=__doc__, usage="%(prog)s [options] exp_dir [key=value ...]")
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
    parser.add_argument(
        "--plan",
        type=Path,
        nargs=2,
        metavar=("DATA", "DUMP"),
        help="print each stage, whether it is done, and how long a training takes; write nothing",
    )
    options = parser.parse_intermixed_args()
    experiment = load(options.preset, options.recipe, options.overrides)
    if options.count_folds:
        from ser.corpora import read_protocol
        from ser.corpora.splits import with_splits

        prepared = [with_splits(read_protocol(c, options.recipe), options.count_folds / c) for c in experiment.corpora]
        print(max(protocol.count_folds(experiment.split) for protocol in prepared))
        return
    check_corpora(experiment, options.recipe)
    folder = options.exp_dir / experiment.folder
    path, continued = folder / CONFIG, False
    if path.is_file():
        changes = differences(read_experiment(path), experiment)
        begun = any((folder / name).exists() for name in (CHECKPOINT, MODEL))
        continued = is_longer(changes, experiment) and (folder / CHECKPOINT).exists()
        if changes and begun and not continued:
            changed = "; ".join(f"{key}: {before} there, {now} now" for key, (before, now) in changes.items())
            raise InputError(
                f"holds a training with other settings ({changed})",
                folder,
                "give a --tag or another --exp folder, or remove this one",
            )
    if options.plan:
        print(*plan(experiment, options.exp_dir, *options.plan), sep="\n")
        return
    check_cluster_locks(options.exp_dir)
    if continued:  # before config.yaml, so that a kill between the two leaves a training of the earlier settings
        (folder / MODEL).unlink(missing_ok=True)
    write_experiment(experiment, path)
    print(folder)


def check_corpora(experiment: Experiment, recipe: Path | None) -> None:
    """Check that each corpus is named once, and that there is such a fold, with test speakers.

    Args:
        recipe: folder whose protocols come first.
    """
    from ser.corpora import read_protocol

    named = f"corpora = {','.join(experiment.corpora)}"
    if len(set(experiment.corpora)) != len(experiment.corpora) or not experiment.corpora:
        raise InputError("name each corpus once, and at least one", named)
    protocols = {c: read_protocol(c, recipe) for c in experiment.corpora}
    folds = {c: p.num_folds(experiment.split) for c, p in protocols.items()}
    known = [number for number in folds.values() if number is not None]
    if len(known) == len(folds) and experiment.fold > max(known):
        raise InputError(
            f"split {experiment.split} of {', '.join(folds)} has folds 1 to {max(known)}", f"fold = {experiment.fold}"
        )
    if not any(p.has_test(experiment.split, experiment.fold) for p in protocols.values()):
        raise InputError("none has test speakers, so there would be no result", named, "add a corpus that has")


def is_longer(changes: Mapping[str, tuple[Any, Any]], experiment: Experiment) -> bool:
    """Whether the only changes are a later end of the training, and a training can continue to it."""
    later = {"training.max_epochs", "training.patience"}
    grown = all(now >= before for key, (before, now) in changes.items() if key in later)
    return bool(changes) and changes.keys() <= later and grown and experiment.training.can_continue


def plan(experiment: Experiment, exp_dir: Path, data: Path, dump: Path) -> Iterator[str]:
    """What run.sh would do (--dry-run true), a line for each stage.

    Args:
        data, dump: where stage 1 writes; root of the feature store.
    """
    from ser.features import FeatureStore
    from ser.frontends import build_frontend

    folder = exp_dir / experiment.folder
    yield f"experiment {folder}"
    fetched = _is_fetched(experiment.frontend)
    yield f"stage 0  front end {experiment.frontend.name}: {'there' if fetched else 'a model to fetch'}"
    prepared = [c for c in experiment.corpora if (data / c / "cuts.jsonl.gz").is_file()]
    for corpus in experiment.corpora:
        yield f"stage 1  prepare {corpus}: {DONE if corpus in prepared else OPEN}"
    yield f"stage 2  copies of training utterances: {experiment.augment['copies'] or 'none'}"
    for corpus in experiment.corpora:
        done = fetched and corpus in prepared and FeatureStore(dump, data / corpus, build_frontend(experiment)).finished
        yield f"stage 3  features of {corpus}: {DONE if done else OPEN}"
    yield f"stage 4  train: {_training(folder, exp_dir, experiment)}"
    result = DONE if is_scored(folder) else OPEN
    yield f"stage 5  decode: {result}"
    yield f"stage 6  score: {result}"
    yield f"stage 7  {exp_dir / 'RESULTS.md'}: written again"


def _is_fetched(settings: FrontendSettings) -> bool:
    from ser.frontends.pretrained import Pretrained, find_model

    try:
        if settings.name == Pretrained.name:
            find_model(settings.model, settings.revision)
    except InputError:
        return False
    return True


def _training(folder: Path, exp_dir: Path, experiment: Experiment) -> str:
    """Whether the training is done or at which step it continues, or how long trainings of the same cell took."""
    from statistics import median

    from ser.scoring.files import read_train
    from ser.training.checkpoint import load_tensors

    if is_trained(folder):
        return DONE
    if (folder / CHECKPOINT).is_file():
        return f"goes on from step {load_tensors(folder / CHECKPOINT)[1]['step']}"
    others = [read_train(path.parent) for path in exp_dir.glob(f"{Path(experiment.folder).parent}/*/{TRAIN}")]
    if not others:
        return f"{OPEN}; no training of this cell is there to estimate the time from"
    minutes = median(train["seconds_per_epoch"] * train["epochs"] for train in others) / 60
    return f"{OPEN}, about {minutes:.0f} min (median of {len(others)} trainings of this cell)"


if __name__ == "__main__":
    sys.exit(main())
