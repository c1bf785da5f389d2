"""Scores over all folds together, with intervals over speakers, who are what is drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from ser.common import InputError, read_json
from ser.common.metrics import confusion_matrix, scores

RESAMPLES = 2000
COVERAGE = 0.9
Interval = tuple[float, float]


@dataclass(frozen=True)
class Pool:
    """All folds and seeds of one cell on one target.

    Attributes:
        cell: folder of the cell below exp/<combination>/.
        protocol: hash of the labels and the split of the target.
        folds, seeds: those found; every seed has all of the folds.
        speakers: in order; the first axis of `confusions`.
        confusions: (speakers, classes, classes), the mean over seeds.
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
    confusions: np.ndarray

    @property
    def is_baseline(self) -> bool:
        return self.cell.startswith("svm_")


def read_pools(exp_dirs: Sequence[Path]) -> list[Pool]:
    """Pool every cell below some folders, in the order of their paths.

    Raises:
        InputError: no result, or a seed that lacks folds which another has.
    """
    groups: dict[tuple[str, ...], list[tuple[dict[str, Any], Path]]] = {}
    for exp_dir in exp_dirs:
        for path in sorted(exp_dir.glob("*/*/*/result.json")):
            result = read_json(path)
            for target in result["targets"]:
                key = (str(exp_dir), result["combination"], target, path.parents[1].name)
                groups.setdefault(key, []).append((result, path.parent))
    if not groups:
        raise InputError(f"{exp_dirs[0]}: holds no result.json; run stages 4 to 6")
    return [_pool(target, cell, runs) for (_, _, target, cell), runs in groups.items()]


def _pool(target: str, cell: str, runs: Sequence[tuple[dict[str, Any], Path]]) -> Pool:
    found = {(result["seed"], result["fold"]) for result, _ in runs}
    seeds, folds = sorted({s for s, _ in found}), sorted({f for _, f in found})
    missing = [f"seed {s} fold {f}" for s in seeds for f in folds if (s, f) not in found]
    if missing:
        raise InputError(f"{runs[0][1].parent}: {missing[0]} is missing, of which other seeds have it; run it")
    classes = runs[0][0]["targets"][target]["classes"]
    index = {name: i for i, name in enumerate(classes)}
    sums: dict[str, np.ndarray] = {}
    for result, folder in runs:
        table = folder / f"decode_{target}_{result['part']}" / "scoring" / "utterances.tsv"
        if not table.is_file():
            raise InputError(f"{table}: no such file; run stage 6 again")
        for line in table.read_text(encoding="utf-8").splitlines():
            _, speaker, truth, hypothesis = line.split("\t")
            own = sums.setdefault(speaker, np.zeros((len(classes), len(classes))))
            own += confusion_matrix(np.array([index[truth]]), np.array([index[hypothesis]]), len(classes))
    first = runs[0][0]
    speakers = sorted(sums)
    confusions = np.stack([sums[s] for s in speakers]) / len(seeds)
    hashes = {result.get("protocol_hash", {}).get(target, "not recorded") for result, _ in runs}
    return Pool(
        first["combination"],
        target,
        first["preset"],
        ", ".join(sorted(hashes)),
        cell,
        first["normalisation"],
        folds,
        seeds,
        speakers,
        confusions,
    )


def ua_samples(pool: Pool, weights: np.ndarray) -> np.ndarray:
    """UA of resampled speakers.

    Args:
        weights: how often each speaker was drawn, (resamples, speakers).
    """
    summed = np.einsum("bs,sij->bij", weights, pool.confusions)
    return np.mean(np.diagonal(summed, axis1=1, axis2=2) / summed.sum(2), axis=1)


def draws(speakers: int) -> np.ndarray:
    """Speakers drawn with replacement, as counts, (RESAMPLES, speakers); the same for every cell, so that they pair."""
    rng = np.random.default_rng(0)
    return rng.multinomial(speakers, np.full(speakers, 1 / speakers), RESAMPLES).astype(np.float64)


def interval(samples: np.ndarray) -> Interval:
    """Percentile interval of COVERAGE; resamples without an utterance of some class do not count."""
    low, high = np.nanquantile(samples, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)


def pooled_table(pools: Sequence[Pool], command: str) -> str:
    """Markdown: a row a cell, with its interval over speakers and its difference to the SVM of equal normalisation."""
    rows = []
    for pool in pools:
        weights = draws(len(pool.speakers))
        s = scores(pool.confusions.sum(0))
        low, high = interval(ua_samples(pool, weights))
        rows.append(
            {
                "target": pool.target,
                "protocol": pool.protocol,
                "preset": pool.preset,
                "cell": pool.cell,
                "normalisation": pool.normalisation,
                "folds": len(pool.folds),
                "seeds": len(pool.seeds),
                "speakers": len(pool.speakers),
                "n": round(float(pool.confusions.sum())),
                "WA %": f"{100 * s.wa:.1f}",
                "UA %": f"{100 * s.ua:.1f} ({100 * low:.1f} to {100 * high:.1f})",
                "UA minus SVM": _difference(pool, pools, weights),
            }
        )
    table = tabulate([list(r.values()) for r in rows], list(rows[0]), tablefmt="github", disable_numparse=True)
    notes = [
        f"In brackets: {COVERAGE:.0%} of {RESAMPLES} resamples of the test speakers; seeds of a speaker go together.",
        "UA minus SVM: to the SVM of the same normalisation on the same speakers, paired, in points.",
        "Normalisation by speaker uses all test utterances of the speaker, unlabelled (transductive).",
        f"Printed by `{command}`.",
    ]
    return "\n".join(["## All folds together", "", table, "", *(f"- {note}" for note in notes), ""])


def _difference(pool: Pool, pools: Sequence[Pool], weights: np.ndarray) -> str:
    if pool.is_baseline:
        return ""
    for other in pools:
        alike = (other.target, other.normalisation, other.speakers) == (pool.target, pool.normalisation, pool.speakers)
        if other.is_baseline and alike:
            samples = 100 * (ua_samples(pool, weights) - ua_samples(other, weights))
            low, high = interval(samples)
            found = 100 * (scores(pool.confusions.sum(0)).ua - scores(other.confusions.sum(0)).ua)
            return f"{found:+.1f} ({low:+.1f} to {high:+.1f})"
    return ""
