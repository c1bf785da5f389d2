"""Which copies a training gets, what is done to each, and doing it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ser.augment.transforms import copy_rng
from ser.common import derive_seed

if TYPE_CHECKING:
    from ser.augment.babble_pool import BabblePool
    from ser.augment.settings import Augment

# Raise it when the same steps give other samples: it is part of what names a copy's features.
VERSION = 1


def examples(sizes: Mapping[str, int], copies: int) -> dict[str, int]:
    """Examples of each utterance, the original among them: round(copies * max_n / n_c), halves up; 1 where copies is 0.

    With copies = 1 this brings every corpus near the size of the largest (da Silva et al. 2020, section 2).

    Args:
        sizes: corpus -> number of its training utterances, 1 at least.
    """
    largest = max(sizes.values())
    return {corpus: max(1, math.floor(copies * largest / size + 0.5)) for corpus, size in sizes.items()}


def copy_id(utterance_id: str, number: int) -> str:
    """Id of a copy; it begins with its utterance's, and so with the speaker."""
    return f"{utterance_id}-copy{number}"


def sample_transforms(utterance_id: str, number: int, augment: Augment, pool: BabblePool) -> list[dict[str, Any]]:
    """What is done to copy `number`, from 1, of an utterance, in order: `{"kind": name, ...values}` each.

    Kinds come evenly: an utterance goes through all of them, in an order of its own, before one comes again.

    Args:
        pool: of other speakers of the same training part.
    """
    names = list(augment.kinds)
    order = np.random.default_rng(derive_seed("kinds", utterance_id, augment.digest)).permutation(len(names))
    turn = (number - 1) * augment.chain
    chosen = {names[order[(turn + i) % len(names)]] for i in range(augment.chain)}
    rng = copy_rng(utterance_id, number, augment.digest)
    return [{"kind": name, **augment.kinds[name].randomize_parameters(rng, pool)} for name in names if name in chosen]


def apply_transforms(
    samples: np.ndarray, rate: int, steps: Sequence[Mapping[str, Any]], augment: Augment, pool: BabblePool
) -> np.ndarray:
    """Apply the transforms of the steps: float32, (samples,), at `rate` Hz."""
    for step in steps:
        values = {key: value for key, value in step.items() if key != "kind"}
        samples = augment.kinds[step["kind"]].apply(samples, rate, values, pool)
    return samples
