#!/usr/bin/env python3
"""Search for settings with Optuna, by UA on validation speakers; test speakers are never used."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

import yaml

from ser.common import InputError, derive_seed, guarded, write_text
from ser.common.cli import experiment_arguments
from ser.common.output import markdown_table
from ser.common.run_folder import CONFIG
from ser.config import Experiment, changed, dotted, read_experiment
from ser.config.yaml_file import parse_option

SPACE = ("training.learning_rate=3e-4:1e-2:log", "training.weight_decay=1e-6:1e-3:log", "network.head_dropout=0:0.7")


def read_range(text: str, experiment: Experiment) -> tuple[str, Any]:
    """Read "key=low:high", "key=low:high:log" or "key=a,b,c": the key, and the Optuna distribution of its values.

    Raises:
        InputError: another form, or a key that there is not.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    key, sign, values = text.partition("=")
    if not sign or key not in dotted(experiment):
        raise InputError(f"expected a key of conf/ and a range, such as {SPACE[0]}", f"--space {text}")
    if ":" not in values:
        return key, CategoricalDistribution([parse_option(word, f"--space {text}") for word in values.split(",")])
    low, high, *log = values.split(":")
    try:
        if log not in ([], ["log"]) or not float(low) < float(high):
            raise ValueError
        if all(end.lstrip("-").isdecimal() for end in (low, high)):
            return key, IntDistribution(int(low), int(high), log=bool(log))
        return key, FloatDistribution(float(low), float(high), log=bool(log))
    except ValueError:
        what = "low:high or low:high:log, with low below high (above 0 with log)"
        raise InputError(what, f"--space {text}") from None


@guarded
def main() -> None:
    """Run trials up to --trials; a search that was stopped continues."""
    parser = experiment_arguments(str(__doc__))
    parser.add_argument("--trials", type=int, default=20, help="in all (%(default)s)")
    parser.add_argument("--space", action="append", default=[], metavar="KEY=LOW:HIGH[:log]", help="or KEY=A,B,C")
    options = parser.parse_args()
    if options.trials < 1:
        raise InputError("a number of trials from 1", f"--trials {options.trials}")
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        raise InputError("the package optuna is not installed", "--search", "give --extras search") from None
    experiment = read_experiment(options.folder / CONFIG)
    space = dict(read_range(text, experiment) for text in options.space or SPACE)
    out = options.folder / "search"
    out.mkdir(exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(out / "study.log"))),
        study_name=" ".join(options.space or SPACE),
        direction="maximize",
        load_if_exists=True,
    )
    # A continued search draws other values than before.
    study.sampler = optuna.samplers.TPESampler(seed=derive_seed("search", experiment.seed, len(study.trials)) % 2**32)
    done = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
    print(f"{out}: {len(done)} of {options.trials} trials are there")
    for _ in range(options.trials - len(done)):
        trial = study.ask(space)
        try:
            score = validated(experiment, trial.params, out / f"trial{trial.number}", options)
        except BaseException:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            raise
        done.append(study.tell(trial, score))
        print(f"trial {trial.number}: valid UA {100 * score:.1f} %, {trial.params}", flush=True)
    best = sorted(done, key=lambda t: -t.values[0])[:5]
    rows = [[t.number, f"{100 * t.values[0]:.1f}", *(shown(t.params[key]) for key in space)] for t in best]
    print(markdown_table(["trial", "valid UA %", *space], rows))
    write_text(out / "best.yaml", yaml.safe_dump(dict(best[0].params)))
    print(f"{out / 'best.yaml'}: ", *(f"--{key} {shown(value)}" for key, value in best[0].params.items()))


def shown(value: Any) -> str:
    """A value as in the table and on the command line."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def validated(experiment: Experiment, values: Mapping[str, Any], folder: Path, options: argparse.Namespace) -> float:
    """Train with some settings; the mean over corpora of the UA on validation speakers, at the best epoch."""
    from ser.batches import open_data
    from ser.scoring.files import read_train
    from ser.training import Trainer

    data = open_data(changed(experiment, values, "--space"), options.recipe, options.data, options.dump)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    Trainer(data.experiment, folder, data.heads, data.parts("train"), data.parts("valid"), data.hashes(), []).run()
    by_corpus = read_train(folder)["valid"]
    shutil.rmtree(folder)
    return float(sum(scores["ua"] for scores in by_corpus.values()) / len(by_corpus))


if __name__ == "__main__":
    sys.exit(main())
