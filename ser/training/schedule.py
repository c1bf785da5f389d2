"""How many updates there are, and what depends on the step alone: whose turn it is, and how large an update is."""

from __future__ import annotations

import numpy as np

from ser.common import derive_seed
from ser.config import Training


def updates_per_epoch(config: Training, corpora: int) -> int:
    """Updates of an epoch with so many training corpora.

    Budget `per_corpus` gives each corpus as many as it has alone (with a temperature above 0 on average over corpora).
    """
    return config.steps_per_epoch * (corpora if config.budget == "per_corpus" else 1)


def turns(sizes: list[int], steps: int, temperature: float, purpose: tuple[str | int, ...]) -> np.ndarray:
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


def ranks(order: np.ndarray) -> np.ndarray:
    """For every step, how many steps of the same corpus went before it, int64, (steps,)."""
    result = np.empty_like(order)
    for corpus in np.unique(order):
        places = np.flatnonzero(order == corpus)
        result[places] = np.arange(len(places))
    return result


def rate_factor(step: int, steps: int, schedule: str) -> float:
    """What the learning rate is multiplied by at a step, from 0.

    Args:
        schedule: "constant", or "half_linear": constant for half the steps, then falling linearly to 0 after the last.
    """
    if schedule == "constant":
        return 1.0
    return min(1.0, 2 * (1 - step / steps))
