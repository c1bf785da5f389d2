"""Updates of an epoch, corpus and learning rate of each step, and the sample of validation utterances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ser.common import derive_seed
from ser.config import Training

# Used by the value `auto` of steps_per_epoch and of valid_utterances.
LEAST_STEPS = 100
VALID_UTTERANCES = 3000


def updates_per_epoch(config: Training, passes: Sequence[int]) -> int:
    """Number of updates of an epoch.

    With budget `per_corpus`, each corpus gets as many updates as in a single-corpus training (with a temperature above
    0, on average over the corpora). `auto` is one pass over the data within bounds: over all corpora together or, with
    `per_corpus`, over an average corpus.

    Args:
        config: the settings.
        passes: mini-batches per pass of each training corpus.
    """
    per_corpus = config.budget == "per_corpus"
    if config.steps_per_epoch == "auto":
        one_pass = round(sum(passes) / len(passes)) if per_corpus else sum(passes)
        steps = max(LEAST_STEPS, min(one_pass, config.max_steps_per_epoch))
    else:
        steps = int(config.steps_per_epoch)
    return steps * (len(passes) if per_corpus else 1)


def validation_sample(targets: np.ndarray, config: Training, purpose: tuple[str | int, ...]) -> np.ndarray | None:
    """Sample the utterances for the validation after each epoch; None: all utterances.

    The sample is balanced, except for classes that have too few utterances. It is the same in all epochs.

    Args:
        targets: class indices of a validation part, int, (utterances,).
        config: the settings.
        purpose: arguments of `derive_seed`.

    Returns:
        Sorted indices, int64.
    """
    limit = config.valid_utterances
    if limit == "auto":
        limit = VALID_UTTERANCES if config.steps_per_epoch == "auto" else 0
    if not 0 < limit < len(targets):
        return None
    order = np.random.default_rng(derive_seed(*purpose)).permutation(len(targets))
    rank_in_class = corpus_positions(targets[order])
    return np.sort(order[np.argsort(rank_in_class, kind="stable")[:limit]])


def corpus_schedule(sizes: list[int], steps: int, temperature: float, purpose: tuple[str | int, ...]) -> np.ndarray:
    """Choose the corpus of every step, int64, (steps,).

    Args:
        sizes: number of utterances of each corpus.
        steps: number of steps.
        temperature: 0: corpora take turns (da Silva et al. 2020); above 0: sampled with probability proportional to
            n^(1/temperature), so 1 is proportional to size and high values are nearly uniform (Arivazhagan et al.
            2019).
        purpose: arguments of `derive_seed`.
    """
    if temperature == 0:
        return np.arange(steps) % len(sizes)
    shares = np.array(sizes, np.float64) ** (1 / temperature)
    return np.random.default_rng(derive_seed(*purpose)).choice(len(sizes), steps, p=shares / shares.sum())


def corpus_positions(order: np.ndarray) -> np.ndarray:
    """Count, for every step, the earlier steps of the same corpus, int64, (steps,)."""
    result = np.empty_like(order)
    for corpus in np.unique(order):
        steps = np.flatnonzero(order == corpus)
        result[steps] = np.arange(len(steps))
    return result


def lr_lambda(step: int, steps: int, schedule: str) -> float:
    """The factor of the learning rate at a step.

    Args:
        step: from 0.
        steps: planned number of steps.
        schedule: "constant", or "half_linear": constant for half of the steps, then linear down to 0 after the last.
    """
    if schedule == "constant":
        return 1.0
    return min(1.0, 2 * (1 - step / steps))
