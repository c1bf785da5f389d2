"""Stages 2 and 3 for all experiments of a grid, in one process or in jobs; shared data are computed once."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from tabulate import tabulate

from ser.augment import build_augment
from ser.batches.load import compute_statistics, open_train_sets
from ser.common import InputError
from ser.common.progress import progress, report
from ser.corpora.confounding import check_confounded
from ser.features import FeatureStore
from ser.frontends import build_frontend
from ser.grid.cells import Grid


def prepare_grid(grid: Grid) -> str:
    """Choose the augmented copies of training utterances by combination and fold, and prepare the jobs.

    Returns:
        A table of the number of examples of each training utterance, by combination.
    """
    places, batches = grid.places, grid.settings.batches
    trained = [c for c in grid.available if any(c in combination for combination in grid.combinations)]
    check_confounded(places.data, trained, batches.normalisation, batches.allow_confounded)
    rows: dict[str, dict[str, int]] = {}
    for experiment in progress(grid.trainings, text="copies", unit="training", total=len(grid.trainings)):
        sets = open_train_sets(experiment, places.recipe, places.data, places.dump)
        for train_set in sets.values():
            if train_set.oversampling > 1 and not train_set.finished:
                train_set.write()
        if sets:
            rows.setdefault(experiment.combination, {c: train_set.oversampling for c, train_set in sets.items()})
    for store in stores(grid):
        if not store.finished:
            store.prepare()
    if not rows:
        return "augment.copies is 0: no copies"
    table = [[name, *(examples.get(corpus, "") for corpus in grid.available)] for name, examples in rows.items()]
    return tabulate(table, ["examples of each training utterance", *grid.available])


def compute(grid: Grid, job: int, jobs: int) -> tuple[int, int]:
    """Compute a job's share of the features.

    Returns:
        Number of utterances and copies that were computed, and that existed.
    """
    computed = existing = 0
    for store in stores(grid):
        if not store.finished:
            new, old = store.compute(job, jobs)
            computed, existing = computed + new, existing + old
    return computed, existing


def finish(grid: Grid) -> int:
    """Join the jobs' shares; returns the number of data dirs."""
    joined = stores(grid)
    for store in joined:
        store.finish()
        store.link()
    return len(joined)


def grid_statistics(grid: Grid, job: int, jobs: int) -> tuple[int, int]:
    """Compute a job's share of the levels and statistics that experiments read, also of corpora for zero-shot scoring.

    Args:
        job: this job, from 1.
        jobs: number of jobs.

    Returns:
        Number of data sets, and how many of them failed with a warning; their experiments will fail, too.
    """
    places, failed, trained = grid.places, 0, set(chain(*grid.combinations))
    folds = {e.fold: e for e in grid.trainings}
    alone = [(e, c) for e in folds.values() for c in grid.unseen(e) if c not in trained]
    share = [*alone, *((e, "") for e in grid.trainings)][job - 1 :: jobs]
    for experiment, corpus in progress(share, text="statistics", unit="training", show=job == 1):
        try:
            if corpus:
                experiment = grid.alone(experiment, corpus)
            compute_statistics(experiment, places.recipe, places.data, places.dump)
        except InputError as error:
            failed += 1
            report(f"warning: {experiment.combination}, fold {experiment.fold}: {error}")
    return len(share), failed


def stores(grid: Grid) -> list[FeatureStore]:
    """The features of each corpus, and of each training part with its copies, in the order of the grid."""
    places, settings = grid.places, grid.settings
    frontend = build_frontend(settings)
    kinds = build_augment(settings.augment, places.dump / "rooms") if settings.augment["copies"] else None
    folders: dict[Path, None] = dict.fromkeys(places.data / corpus for corpus in grid.available)
    for experiment in grid.trainings if kinds else []:
        sets = open_train_sets(experiment, places.recipe, places.data, places.dump)
        folders |= dict.fromkeys(s.folder for s in sets.values() if s.oversampling > 1)
    return [FeatureStore(places.dump, folder, frontend, kinds) for folder in folders]
