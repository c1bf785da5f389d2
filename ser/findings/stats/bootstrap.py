"""Hierarchical paired bootstrap: speakers of a target, then seeds, with the same draws for every cell.

There are two kinds of interval, for two kinds of figure.

A share of wins (Tables 3 to 5) has the percentiles of its resamples. Noise moves such a share towards chance, in a
resample as in the grid itself. So these intervals lean towards chance, and contain it in at least 95 of 100 grids of
noise.

A score or an effect, which is linear in the cells, has value +- t * SE. Percentiles would be too narrow with few
speakers (they contained the truth in 88 of 100 simulated grids of 8 speakers, 73 of 3) and too wide where noise is
between runs (99 of 100), since resampling speakers and seeds together counts the noise of a speaker in a run three
times. So SE is that of two crossed samples (Cameron, Gelbach and Miller 2011, Robust inference with multiway
clustering), V(speakers) + V(seeds) - V(seeds drawn separately for each speaker), each from resamples, with n / (n - 1)
for the resampling of n; t has Satterthwaite's degrees of freedom. In simulations they contain the truth in 93 to 97 of
100 grids (tests/findings/test_calibration.py). With one seed the noise between trainings cannot be estimated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ser.common import derive_seed
from ser.common.metrics import mean_recall
from ser.findings.scores import Target
from ser.scoring.pooled import COVERAGE, LEAST_SPEAKERS

RESAMPLES = 2000
CHUNK = 250  # resamples at once: about 40 MB for the full grid


@dataclass(frozen=True)
class Resampled:
    """WA and UA of the cells of a target, as fractions.

    Attributes:
        observed: mean over seeds, (metrics, cells).
        both: speakers and seeds resampled, (metrics, resamples, cells).
        speakers, seeds, pairs: only speakers resampled; only seeds; seeds separately for each speaker.
        counts: number of speakers, folds and seeds.
    """

    observed: np.ndarray
    both: np.ndarray
    speakers: np.ndarray
    seeds: np.ndarray
    pairs: np.ndarray
    counts: tuple[int, int, int]


@dataclass(frozen=True)
class Estimate:
    """Values with their intervals, each (metrics, effects)."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def bootstrap(target: Target, resamples: int = RESAMPLES) -> Resampled:
    """Resample speakers and seeds, and score every cell on each resample.

    Seeds are drawn for each fold, since each fold and seed is a separate training. Targets share these draws, as they
    share the trainings.
    """
    from threadpoolctl import threadpool_limits

    hits, counts = target.hits, target.counts
    cells, seeds, speakers, _ = hits.shape
    of_fold = np.unique(target.folds, return_inverse=True)[1]
    rng = _generator("speakers", target.name, speakers)
    drawn = rng.multinomial(speakers, np.full(speakers, 1 / speakers), resamples)[:, :, None]
    even = np.full(seeds, 1 / seeds)
    by_fold = [_generator("seeds", int(f), seeds).multinomial(seeds, even, resamples) for f in np.unique(target.folds)]
    by_seed = np.stack(by_fold, axis=1)[:, of_fold] / seeds
    by_speaker = _generator("pairs", target.name, seeds).multinomial(seeds, even, (resamples, speakers)) / seeds
    weights = {"both": drawn * by_seed, "speakers": drawn * even, "seeds": by_seed, "pairs": by_speaker}
    scores = {name: np.empty((2, resamples, cells)) for name in weights}
    with threadpool_limits(1):  # for such small products several threads are slower
        for start in range(0, resamples, CHUNK):
            part = slice(start, start + CHUNK)
            for name, values in weights.items():
                scores[name][:, part] = weighted_scores(hits, counts, values[part])
    observed = weighted_scores(hits, counts, np.full((1, speakers, seeds), 1 / seeds))[:, 0]
    return Resampled(observed, **scores, counts=(speakers, len(by_fold), seeds))


def _generator(*purpose: str | int) -> np.random.Generator:
    return np.random.default_rng(derive_seed("bootstrap", *purpose))


def weighted_scores(hits: np.ndarray, counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """WA and UA of each cell.

    Args:
        hits: (cells, seeds, speakers, classes).
        counts: (speakers, classes).
        weights: weight of each speaker and seed, (draws, speakers, seeds).

    Returns:
        (metrics, draws, cells). The recall of a class without any utterance in a draw is left out.
    """
    cells, seeds, speakers, classes = hits.shape
    flat = hits.transpose(2, 1, 0, 3).reshape(speakers * seeds, cells * classes)
    correct = (weights.reshape(len(weights), -1) @ flat).reshape(len(weights), cells, classes)
    class_counts = (weights.sum(2) @ counts)[:, None]
    return np.stack([correct.sum(2) / class_counts.sum(2), mean_recall(correct, class_counts)])


def estimate(resampled: Resampled, weights: np.ndarray) -> Estimate:
    """Estimate linear combinations of cells.

    Args:
        weights: (effects, cells).

    Returns:
        The interval is NaN with fewer than LEAST_SPEAKERS; with one seed it leaves out the noise between trainings.
    """
    from scipy.stats import t

    def variance(samples: np.ndarray) -> np.ndarray:
        return np.asarray((samples @ weights.T).var(1, ddof=1))

    value = resampled.observed @ weights.T
    count, folds, runs = resampled.counts
    if count < LEAST_SPEAKERS:
        return Estimate(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
    speakers = variance(resampled.speakers) * count / (count - 1)
    seeds = np.zeros_like(speakers)
    if runs > 1:
        seeds = np.maximum(variance(resampled.seeds) - variance(resampled.pairs), 0) * runs / (runs - 1)
    total = speakers + seeds
    terms = speakers**2 / (count - 1) + seeds**2 / max(folds * (runs - 1), 1)
    df = np.divide(total**2, terms, out=np.full_like(total, count - 1), where=terms > 0)
    half = t.ppf((1 + COVERAGE) / 2, df) * np.sqrt(total)
    return Estimate(value, value - half, value + half)
