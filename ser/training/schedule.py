"""How many updates there are, and what depends on the step alone: whose turn it is, and how large an update is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ser.common import derive_seed
from ser.config import Training

# Of steps_per_epoch and valid_utterances `auto`.
LEAST_STEPS = 100
VALID_UTTERANCES = 3000


def updates_per_epoch(config: Training, passes: Sequence[int]) -> int:
    """Updates of an epoch.

    Budget `per_corpus` gives each corpus as many as it has alone (with a temperature above 0 on average over corpora).
    `auto` is a pass over the data within bounds: of all corpora together, or, `per_corpus`, of each on average.

    Args:
        passes: mini-batches of a pass over each training corpus.
    """
    each = config.budget == "per_corpus"
    if config.steps_per_epoch == "auto":
        wanted = round(sum(passes) / len(passes)) if each else sum(passes)
        steps = max(LEAST_STEPS, min(wanted, config.max_steps_per_epoch))
    else:
        steps = int(config.steps_per_epoch)
    return steps * (len(passes) if each else 1)


def validation_sample(targets: np.ndarray, config: Training, purpose: tuple[str | int, ...]) -> np.ndarray | None:
    """The utterances that are validated on after an epoch; None: all.

    Of each class as many, but for classes that have fewer; drawn once, so that epochs can be compared.

    Args:
        targets: classes of the utterances of a validation part, int, (utterances,).
        purpose: what the draws derive from.

    Returns:
        Indices, int64, rising.
    """
    most = config.valid_utterances
    if most == "auto":
        most = VALID_UTTERANCES if config.steps_per_epoch == "auto" else 0
    if not 0 < most < len(targets):
        return None
    order = np.random.default_rng(derive_seed(*purpose)).permutation(len(targets))
    places = corpus_positions(targets[order])  # of each utterance, how many of its class go before it
    return np.sort(order[np.argsort(places, kind="stable")[:most]])


def corpus_schedule(sizes: list[int], steps: int, temperature: float, purpose: tuple[str | int, ...]) -> np.ndarray:
    """The corpus of every step, int64, (steps,).

    Args:
        sizes: utterances a corpus.
        temperature: 0: corpora in turn (da Silva et al. 2020); above 0: drawn with probability n^(1/temperature), so 1
            is in proportion and a high one nearly even (Arivazhagan et al. 2019).
        purpose: what the draws derive from.
    """
    if temperature == 0:
        return np.arange(steps) % len(sizes)
    shares = np.array(sizes, np.float64) ** (1 / temperature)
    return np.random.default_rng(derive_seed(*purpose)).choice(len(sizes), steps, p=shares / shares.sum())


def corpus_positions(order: np.ndarray) -> np.ndarray:
    """For every step, how many steps of the same corpus went before it, int64, (steps,)."""
    result = np.empty_like(order)
    for corpus in np.unique(order):
        places = np.flatnonzero(order == corpus)
        result[places] = np.arange(len(places))
    return result


def lr_lambda(step: int, steps: int, schedule: str) -> float:
    """What the learning rate is multiplied by at a step, from 0.

    Args:
        schedule: "constant", or "half_linear": constant for half the steps, then falling linearly to 0 after the last.
    """
    if schedule == "constant":
        return 1.0
    return min(1.0, 2 * (1 - step / steps))
