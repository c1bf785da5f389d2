"""Scores over all folds together, with bootstrap intervals over speakers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ser.common import InputError
from ser.common.metrics import is_collapsed, mean_recall, ua
from ser.common.output import markdown, markdown_code, markdown_table
from ser.common.run_folder import answers_path, result_path
from ser.config import Experiment, differences
from ser.config.metrics import columns, scores
from ser.scoring.files import RESCORE, read_answers, read_finished, read_scored_answers
from ser.scoring.posteriors import Posteriors, read_posteriors
from ser.scoring.results_table import (
    budget_notes,
    result_paths,
    setting_columns,
    settings_of,
    transductive_notes,
    varied_settings,
)

RESAMPLES = 2000
COVERAGE = 0.95
LEAST_SPEAKERS = 5  # fewer: no interval
CACHED = 256  # archives of posteriors in memory while pools are read
Interval = tuple[float, float]


@dataclass(frozen=True)
class Pool:
    """All folds and seeds of one cell on one target.

    Attributes:
        cell: folder of the cell below exp/<combination>/.
        protocol: hash of the labels and the split of the target.
        folds, seeds: every seed has all of the folds.
        speakers: second axis of `by_seed`, sorted.
        by_seed: confusion matrices, (seeds, speakers, classes, classes); an utterance that several folds test, of a
            corpus with fewer folds than another, counts once, as the mean of its answers.
        experiment: settings; None for a baseline.
        machines: devices and precisions of the trainings, such as "cuda in bfloat16".
        code: revisions of the toolkit.
        notes: on the data, of all runs.
        members: number of seeds of an ensemble; 1 for any other row.
    """

    combination: str
    target: str
    preset: str
    protocol: str
    cell: str
    normalisation: str
    folds: list[int]
    seeds: list[int]
    speakers: list[str]
    by_seed: np.ndarray
    experiment: Experiment | None
    machines: frozenset[str] = frozenset()
    code: frozenset[str] = frozenset()
    notes: frozenset[str] = frozenset()
    members: int = 1

    @property
    def confusions(self) -> np.ndarray:
        """Mean over seeds, (speakers, classes, classes)."""
        return np.asarray(self.by_seed.mean(0))

    @property
    def ua(self) -> float:
        """Over all folds, percent, mean over seeds' confusions."""
        return 100 * ua(self.confusions.sum(0))

    @property
    def is_baseline(self) -> bool:
        return self.cell.startswith("svm_")


def read_pools(exp_dirs: Sequence[Path], ensembles: bool = False) -> list[Pool]:
    """Pool every cell below some folders, in the order of their paths.

    Args:
        exp_dirs: roots of the experiments.
        ensembles: whether each network of several seeds is followed by its ensemble, the mean of their posteriors.

    Raises:
        InputError: a folder without results, a seed that lacks folds which another has, or, for ensembles, posteriors
            that are absent or not those of the results.
    """
    groups: dict[tuple[str, ...], list[tuple[dict[str, Any], Path]]] = {}
    for exp_dir in exp_dirs:
        for path in result_paths(exp_dir):
            result = read_finished(path.parent, answers=True)[0]
            for target in result["targets"]:
                key = (str(exp_dir), result["combination"], target, path.parents[1].name)
                groups.setdefault(key, []).append((result, path.parent))
    pools = []
    read = lru_cache(CACHED)(read_posteriors)  # an archive has all targets of a run
    for (_, _, target, cell), runs in groups.items():
        pool = _pool(target, cell, runs)
        pools.append(pool)
        if ensembles and len(pool.seeds) > 1 and not pool.is_baseline:  # a baseline has no posteriors
            pools.append(_ensemble(pool, runs, read))
    if ensembles and all(pool.members == 1 for pool in pools):
        raise InputError(
            f"no network below {', '.join(map(str, exp_dirs))} has several seeds", "--ensemble", "train more"
        )
    return pools


def _pool(target: str, cell: str, runs: Sequence[tuple[dict[str, Any], Path]]) -> Pool:
    available: dict[tuple[int, int], Path] = {}
    for result, folder in runs:
        other = available.setdefault((result["seed"], result["fold"]), folder)
        if other != folder:
            raise InputError(f"is the same experiment as {other}", folder, "keep one of the two, or two --exp folders")
    seeds, folds = (sorted(set(numbers)) for numbers in zip(*available, strict=True))
    if missing := [pair for pair in product(seeds, folds) if pair not in available]:
        seed, fold = missing[0]
        what = f"seed {seed} fold {fold} is missing, of which other seeds have it"
        fix = f"run it (--seed {seed} --fold {fold}), or remove the folders of seed {seed}"
        raise InputError(what, runs[0][1].parent, fix)
    classes = runs[0][0]["targets"][target]["classes"]
    index = {name: i for i, name in enumerate(classes)}
    answers: dict[tuple[int, str], list[tuple[str, int, int]]] = {}  # of each seed and utterance
    for result, folder in runs:
        path, scored = result_path(folder, result["part"]), result["targets"][target]
        if odd := sorted(set(scored["classes"]).symmetric_difference(classes)):
            raise InputError(f"{target}: {odd[0]} is a class of only some runs of this cell", path, RESCORE)
        seed = seeds.index(result["seed"])
        for utterance, speaker, truth, hypothesis, _ in read_scored_answers(path, target, scored):
            answer = str(speaker), index[str(truth)], index[str(hypothesis)]
            answers.setdefault((seed, str(utterance)), []).append(answer)
    speakers = sorted({name for of_folds in answers.values() for name, _, _ in of_folds})
    rows = {name: i for i, name in enumerate(speakers)}
    by_seed = np.zeros((len(seeds), len(speakers), len(classes), len(classes)))
    for (seed, _), of_folds in answers.items():
        for name, true, given in of_folds:
            by_seed[seed, rows[name], true, given] += 1 / len(of_folds)
    first = runs[0][0]
    return Pool(
        first["combination"],
        target,
        first["preset"],
        ", ".join(sorted({result["protocol_hash"][target] for result, _ in runs})),
        cell,
        first["normalisation"],
        folds,
        seeds,
        speakers,
        by_seed,
        _settings(runs),
        frozenset("{device} in {precision}".format(**result["machine"]) for result, _ in runs),
        frozenset(result["git_revision"] for result, _ in runs),
        frozenset(note for result, _ in runs for note in result["notes"]),
    )


def _settings(runs: Sequence[tuple[dict[str, Any], Path]]) -> Experiment | None:
    """The settings of a cell's runs; None for a baseline.

    Raises:
        InputError: they differ in more than fold and seed.
    """
    first = settings_of(runs[0][1])
    for _, folder in runs[1:]:
        other = settings_of(folder)
        values = differences(first, other) if first and other else {}
        changed = [f"{key}: {a} there, {b} here" for key, (a, b) in values.items() if key not in ("fold", "seed")]
        if changed:
            raise InputError(
                f"of other settings than {runs[0][1].name} ({'; '.join(changed)})",
                folder,
                "keep one --exp folder for each settings",
            )
    return first


def _ensemble(pool: Pool, runs: Sequence[tuple[dict[str, Any], Path]], read: Callable[[Path, str], Posteriors]) -> Pool:
    """The mean of the posteriors of the seeds of a pool, fold by fold, as one seed."""
    classes = runs[0][0]["targets"][pool.target]["classes"]
    total = np.zeros((len(pool.speakers), len(classes), len(classes)))
    speakers = {speaker: i for i, speaker in enumerate(pool.speakers)}
    answers: dict[str, list[tuple[int, int, int]]] = {}  # of each utterance
    for fold in pool.folds:
        truth: dict[str, tuple[int, int]] = {}  # utterance -> indices of speaker and class
        sums: dict[str, np.ndarray] = {}
        for result, folder in runs:
            if result["fold"] != fold:
                continue
            path = result_path(folder, result["part"])
            table, rows = answers_path(path), read_answers(path, pool.target)
            posteriors = read(folder, result["part"]).array(pool.target, [str(row[0]) for row in rows], classes)
            labels = {}
            for (utterance, speaker, label, hypothesis, _), values in zip(rows, posteriors, strict=True):
                key = str(utterance)
                if classes[values.argmax()] != hypothesis:
                    raise InputError(f"{key}: {hypothesis} does not follow from its posteriors", table, RESCORE)
                labels[key] = speakers[str(speaker)], classes.index(str(label))
                sums[key] = sums.get(key, 0.0) + values.astype(np.float64)
            if truth and labels != truth:
                different = min(key for key in labels.keys() | truth.keys() if labels.get(key) != truth.get(key))
                raise InputError(f"{different}: another seed lacks it or has another truth", table, RESCORE)
            truth = labels
        for key, indices in truth.items():
            answers.setdefault(key, []).append((*indices, int(sums[key].argmax())))
    for of_folds in answers.values():
        for answer in of_folds:
            total[answer] += 1 / len(of_folds)
    return replace(pool, cell=f"{pool.cell}, mean of posteriors", by_seed=total[None], members=len(pool.seeds))


def ua_samples(pool: Pool, weights: np.ndarray) -> np.ndarray:
    """UA of resampled speakers, percent, (resamples,).

    Args:
        pool: a cell.
        weights: how often each speaker was drawn, (resamples, speakers).
    """
    summed = np.einsum("bs,sij->bij", weights, pool.confusions)
    of_class = summed.sum(2)
    values = 100 * mean_recall(np.diagonal(summed, axis1=1, axis2=2), of_class)
    return np.where((of_class > 0).all(1), values, np.nan)


def draws(speakers: int) -> np.ndarray:
    """Counts of speakers drawn with replacement, (RESAMPLES, speakers); the same draws for every cell."""
    rng = np.random.default_rng(0)
    return rng.multinomial(speakers, np.full(speakers, 1 / speakers), RESAMPLES).astype(np.float64)


def _interval(pool: Pool, samples: np.ndarray) -> Interval:
    """Percentile interval; NaN with fewer than LEAST_SPEAKERS."""
    if len(pool.speakers) < LEAST_SPEAKERS:
        return math.nan, math.nan
    low, high = percentiles(samples)
    return float(low), float(high)


def percentiles(samples: np.ndarray, axis: int = 0) -> np.ndarray:
    """Ends of the percentile intervals of COVERAGE, (2, ...); a NaN, of a resample that lacks a class, does not count.

    Args:
        samples: of resamples.
        axis: of the resamples.
    """
    return np.asarray(np.nanquantile(samples, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2], axis))


def pooled_table(pools: Sequence[Pool], command: str) -> str:
    """Markdown: a row a cell, with its interval over speakers, its seeds, and its differences to two other rows.

    These are the first of its target and classes, and the SVM of equal normalisation.

    Args:
        pools: cells over their folds, each a row.
        command: that prints the table.
    """
    varied = varied_settings([(pool.preset, pool.experiment) for pool in pools])
    rows, noise, intervals = [], [], []
    for number, pool in enumerate(pools, 1):
        weights = draws(len(pool.speakers))
        low, high = _interval(pool, ua_samples(pool, weights))
        intervals.append((low, high))
        first = next(other for other in pools if _comparable(pool, other))
        svm = next((other for other in pools if other.is_baseline and _comparable(pool, other, same=True)), pool)
        seed_uas = [] if pool.members > 1 else [100 * ua(confusions.sum(0)) for confusions in pool.by_seed]
        to_first, to_svm = _difference(pool, first, weights), _difference(pool, svm, weights)
        if to_first and to_first[1] <= 0 <= to_first[2]:
            noise.append(str(number))
        rows.append(
            {
                "row": number,
                "combination": pool.combination,
                "target": pool.target,
                "protocol": pool.protocol,
                "preset": pool.preset,
                "cell": pool.cell,
                "normalisation": pool.normalisation,
                **setting_columns(pool.experiment, varied),
                "folds": len(pool.folds),
                "speakers": len(pool.speakers),
                "n": round(float(pool.confusions.sum())),
                **columns(scores(pool.confusions.sum(0))),
                "UA %": f"{pool.ua:.1f}" if math.isnan(low) else f"{pool.ua:.1f} ({low:.1f} to {high:.1f})",
                "UA of each seed %": ", ".join(f"{v:.1f}" for v in seed_uas),
                "UA minus first": _points(to_first),
                "UA minus SVM": _points(to_svm),
            }
        )
    table = markdown_table(list(rows[0]), [list(r.values()) for r in rows])
    machines = sorted({machine for pool in pools if not pool.is_baseline for machine in pool.machines})
    code = sorted({revision for pool in pools for revision in pool.code})
    few = [str(number) for number, pool in enumerate(pools, 1) if len(pool.speakers) < LEAST_SPEAKERS]
    notes = [
        *map(markdown, sorted({note for pool in pools for note in pool.notes})),
        f"In brackets: {COVERAGE:.0%} of {RESAMPLES} resamples of the test speakers; seeds of a speaker go together.",
        "UA minus first: to the first row of the same target; minus SVM: to that of the same normalisation; paired by "
        "speaker, in points.",
        *([f"Fewer than {LEAST_SPEAKERS} speakers, too few for an interval: rows {', '.join(few)}."] if few else []),
        *_chance_notes(pools, intervals),
        *_ensemble_notes(pools),
        *([f"Within noise of the first, for their interval holds 0: rows {', '.join(noise)}."] if noise else []),
        "No interval holds the noise of training: the UAs of the seeds of one row show it.",
        *transductive_notes(pool.normalisation for pool in pools),
        *map(markdown, budget_notes(pool.experiment for pool in pools)),
        *([f"Networks were trained on {markdown(', '.join(machines))}."] if machines else []),
        f"Code: {markdown(', '.join(code))}. Printed by {markdown_code(command)}.",
    ]
    return "\n".join(["## All folds together", "", table, "", *(f"- {note}" for note in notes), ""])


def _chance_notes(pools: Sequence[Pool], intervals: Sequence[Interval]) -> list[str]:
    """Chance level, and the rows whose interval holds it."""
    chances, not_better = {}, []
    for number, (pool, (low, high)) in enumerate(zip(pools, intervals, strict=True), 1):
        confusion = pool.confusions.sum(0)
        chance = 100 / np.count_nonzero(confusion.sum(1))
        chances[pool.target] = f"{markdown(pool.target)} {chance:.1f} %"
        if low <= chance <= high or pool.ua < chance:
            not_better.append(f"{number}{' (one answer for all utterances)' if is_collapsed(confusion) else ''}")
    notes = [f"UA by chance: {', '.join(chances.values())}."]
    return notes + (
        [f"No better than chance, collapsed or not trained: rows {', '.join(not_better)}."] if not_better else []
    )


def _ensemble_notes(pools: Sequence[Pool]) -> list[str]:
    """What ensembles are, and which rows have none."""
    if all(pool.members == 1 for pool in pools):
        return []
    after = [pool.members for pool in pools[1:]] + [1]  # an ensemble's row is the next
    without = [str(i) for i, pool in enumerate(pools, 1) if pool.members == after[i - 1] == 1]
    ensemble = "Mean of posteriors: the seeds of a fold answer together, as `ser pack` makes one model of them."
    return [ensemble, *([f"None of rows {', '.join(without)}, of one seed or without posteriors."] if without else [])]


def _comparable(pool: Pool, other: Pool, same: bool = False) -> bool:
    """Whether both have the same target and speakers and, where `same` is true, the same normalisation."""
    same_target = (pool.target, pool.speakers) == (other.target, other.speakers)
    return same_target and (not same or pool.normalisation == other.normalisation)


def _difference(pool: Pool, other: Pool, weights: np.ndarray) -> tuple[float, float, float] | None:
    """UA minus that of another cell, in points, with its interval; None where both are one cell."""
    if pool is other:
        return None
    return pool.ua - other.ua, *_interval(pool, ua_samples(pool, weights) - ua_samples(other, weights))


def _points(difference: tuple[float, float, float] | None) -> str:
    if difference is None:
        return ""
    value, low, high = difference
    return f"{value:+.1f}" if math.isnan(low) else f"{value:+.1f} ({low:+.1f} to {high:+.1f})"
