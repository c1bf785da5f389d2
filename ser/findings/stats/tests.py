"""Paired sign-flip test by blocks, Holm's correction, and a negative control: runs that are the same network twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ser.common import derive_seed
from ser.findings.design import Design
from ser.findings.scores import METRICS, Target
from ser.findings.stats.bootstrap import weighted_scores
from ser.findings.stats.effects import main_effects

FLIPS = 9999


@dataclass(frozen=True)
class SignFlip:
    """Two-sided; None where there is one block alone.

    Attributes:
        p: how often flipped signs give as large an effect.
        least: the smallest p that so many blocks can give.
    """

    p: float | None
    least: float
    blocks: int


Key = tuple[str, tuple[str, ...], int]  # target, sources, metric


@dataclass(frozen=True)
class Tested:
    """p values of a main effect: with speakers for blocks, that corrected for its family, and with seeds for blocks."""

    speakers: SignFlip
    holm: float | None
    seeds: SignFlip


def sign_flip(values: np.ndarray) -> SignFlip:
    """Test that the sum of the blocks' values is 0, by flipping their signs: all ways, or FLIPS drawn ones.

    A block is what is drawn at random as a whole: a speaker with all of its utterances, or a seed.
    """
    from scipy.stats import permutation_test

    blocks = len(values)
    exact = 2.0 ** (1 - blocks)
    if blocks < 2:
        return SignFlip(None, 1.0, blocks)
    found = permutation_test(
        (values,),
        lambda x, axis: x.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=FLIPS,
        rng=np.random.default_rng(derive_seed("sign flips", blocks)),
    )
    return SignFlip(float(found.pvalue), max(exact, 2 / (FLIPS + 1)), blocks)


def holm(values: Sequence[float]) -> list[float]:
    """p values corrected for the size of their family (Holm 1979)."""
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(values, method="holm")[1]] if values else []


def by_speaker(target: Target, weights: np.ndarray) -> np.ndarray:
    """What each speaker contributes to an effect, (metrics, speakers); their sum is the effect.

    Args:
        weights: of the cells, (cells,).
    """
    right = np.einsum("x,xksc->sc", weights, target.hits) / len(target.seeds)
    totals = target.counts.sum(0)
    there = totals > 0
    return np.stack([right.sum(1) / totals.sum(), (right[:, there] / totals[there]).mean(1)])


def by_seed(target: Target, weights: np.ndarray) -> np.ndarray:
    """The effect in each seed, (metrics, seeds)."""
    return np.asarray(seed_scores(target) @ weights)


def seed_scores(target: Target) -> np.ndarray:
    """Scores of each seed, (metrics, seeds, cells)."""
    seeds = np.eye(len(target.seeds))[:, None, :]
    return weighted_scores(target.hits, target.counts, np.repeat(seeds, len(target.speakers), axis=1))


@dataclass(frozen=True)
class NegativeControl:
    """Runs of the single-corpus baseline, as multi and as unified, which are the same network drawn twice.

    Attributes:
        cells: indices of each pair, multi first.
        differences: multi minus unified, (metrics, pairs), mean over seeds.
        run_sd: standard deviation of a single run's score, (metrics,), from all pairs and seeds.
        mean_weights: contrast of the mean difference, (cells,).
    """

    cells: list[tuple[int, int]]
    differences: np.ndarray
    run_sd: np.ndarray
    mean_weights: np.ndarray


def negative_control(target: Target, design: Design) -> NegativeControl | None:
    """The pairs that are there, or None."""
    index, alone = target.index, frozenset([target.name])
    pairs = []
    for task, temporal, pooling in design.configurations:
        if task == "multi" and "unified" in design.task:
            one, other = (index.get(design.cell(alone, (t, temporal, pooling))) for t in ("multi", "unified"))
            if one is not None and other is not None:
                pairs.append((one, other))
    if not pairs:
        return None
    first, second = np.array(pairs).T
    scores = seed_scores(target)
    apart = scores[..., first] - scores[..., second]
    weights = np.zeros(len(target.cells))
    weights[first], weights[second] = 1 / len(pairs), -1 / len(pairs)
    # Two runs differ by sqrt(2) times what one varies.
    return NegativeControl(pairs, apart.mean(1), np.sqrt((apart**2).mean((1, 2)) / 2), weights)


def main_effect_tests(targets: Sequence[Target], design: Design) -> dict[Key, Tested]:
    """Test every main effect; those of all targets and source corpora are the family of a metric."""
    flips: dict[Key, tuple[SignFlip, SignFlip]] = {}
    for target in targets:
        for effect in main_effects(target, design):
            if effect.weights is not None:
                speakers, seeds = by_speaker(target, effect.weights), by_seed(target, effect.weights)
                for m in range(len(METRICS)):
                    flips[target.name, effect.sources, m] = sign_flip(speakers[m]), sign_flip(seeds[m])
    corrected: dict[Key, float] = {}
    for m in range(len(METRICS)):
        family = {key: one.p for key, (one, _) in flips.items() if key[2] == m and one.p is not None}
        corrected |= dict(zip(family, holm([*family.values()]), strict=True))
    return {key: Tested(one, corrected.get(key), other) for key, (one, other) in flips.items()}
