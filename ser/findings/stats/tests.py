"""Paired sign-flip test by blocks, Holm's correction, and a negative control: the same network trained twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ser.common import derive_seed
from ser.findings.design import Design
from ser.findings.scores import METRICS, Target
from ser.findings.stats.bootstrap import weighted_scores
from ser.findings.stats.effects import main_effects

RESAMPLES = 9999  # sign flips, where there are more


@dataclass(frozen=True)
class SignFlip:
    """Result of a two-sided sign-flip test.

    Attributes:
        p: how often flipped signs give as large an effect; None for a single block.
        smallest: the smallest p that so many blocks can give.
    """

    p: float | None
    smallest: float


Key = tuple[str, tuple[str, ...], int]  # target, sources, metric


@dataclass(frozen=True)
class EffectTest:
    """Tests of a main effect.

    Attributes:
        speakers: with speakers as blocks.
        holm: its p value after correction for the family.
        seeds: with seeds as blocks.
    """

    speakers: SignFlip
    holm: float | None
    seeds: SignFlip


def sign_flip(values: np.ndarray) -> SignFlip:
    """Test that the sum of the blocks' values is 0, over all sign patterns or RESAMPLES random ones.

    A block is one unit of random sampling: a speaker with all of its utterances, or a seed.
    """
    from scipy.stats import permutation_test

    blocks = len(values)
    if blocks < 2:
        return SignFlip(None, 1.0)
    test = permutation_test(
        (values,),
        lambda x, axis: x.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(derive_seed("sign flips", blocks)),
    )
    return SignFlip(float(test.pvalue), max(2.0 ** (1 - blocks), 2 / (RESAMPLES + 1)))


def holm(values: Sequence[float]) -> list[float]:
    """p values corrected for the size of their family (Holm 1979)."""
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(values, method="holm")[1]] if values else []


def by_speaker(target: Target, weights: np.ndarray) -> np.ndarray:
    """Contribution of each speaker to an effect, (metrics, speakers); their sum is the effect.

    Args:
        weights: of the cells, (cells,).
    """
    correct = np.einsum("x,xksc->sc", weights, target.hits) / len(target.seeds)
    totals = target.counts.sum(0)
    tested = totals > 0
    return np.stack([correct.sum(1) / totals.sum(), (correct[:, tested] / totals[tested]).mean(1)])


def by_seed(target: Target, weights: np.ndarray) -> np.ndarray:
    """The effect in each seed, (metrics, seeds)."""
    return np.asarray(seed_scores(target) @ weights)


def seed_scores(target: Target) -> np.ndarray:
    """Scores of each seed, (metrics, seeds, cells)."""
    seeds = np.eye(len(target.seeds))[:, None, :]
    return weighted_scores(target.hits, target.counts, np.repeat(seeds, len(target.speakers), axis=1))


@dataclass(frozen=True)
class NegativeControl:
    """Runs of the single-corpus baseline as multi and as unified, which are one network with two random draws.

    Attributes:
        pairs: number of pairs.
        differences: multi minus unified, (metrics, pairs), mean over seeds.
        run_sd: standard deviation of a single run's score, (metrics,), from all pairs and seeds.
        mean_weights: contrast of the mean difference, (cells,).
    """

    pairs: int
    differences: np.ndarray
    run_sd: np.ndarray
    mean_weights: np.ndarray


def negative_control(target: Target, design: Design) -> NegativeControl | None:
    """Compare the pairs of runs that are available; None where there are none."""
    pairs = design.task_pairs(target, [frozenset([target.name])])
    if not len(pairs):
        return None
    multi, unified = pairs.T
    scores = seed_scores(target)
    differences = scores[..., multi] - scores[..., unified]
    weights = np.zeros(len(target.cells))
    weights[multi], weights[unified] = 1 / len(pairs), -1 / len(pairs)
    # Two runs differ by sqrt(2) times what one varies.
    return NegativeControl(len(pairs), differences.mean(1), np.sqrt((differences**2).mean((1, 2)) / 2), weights)


def main_effect_tests(targets: Sequence[Target], design: Design) -> dict[Key, EffectTest]:
    """Test every main effect. The effects of all targets and source corpora are the family of a metric."""
    tests: dict[Key, tuple[SignFlip, SignFlip]] = {}
    for target in targets:
        for effect in main_effects(target, design):
            if effect.weights is not None:
                speakers, seeds = by_speaker(target, effect.weights), by_seed(target, effect.weights)
                for m in range(len(METRICS)):
                    tests[target.name, effect.sources, m] = sign_flip(speakers[m]), sign_flip(seeds[m])
    corrected: dict[Key, float] = {}
    for m in range(len(METRICS)):
        family = {key: speakers.p for key, (speakers, _) in tests.items() if key[2] == m and speakers.p is not None}
        corrected |= dict(zip(family, holm([*family.values()]), strict=True))
    return {key: EffectTest(speakers, corrected.get(key), seeds) for key, (speakers, seeds) in tests.items()}
