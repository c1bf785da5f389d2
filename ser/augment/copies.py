"""Augmented copies: their number, and the transforms of each copy."""

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

# Part of the digest of the features of a copy: raise it when the same transforms give other samples.
VERSION = 1


def oversampling_factors(sizes: Mapping[str, int], copies: int) -> dict[str, int]:
    """Compute the oversampling factor of each corpus: round(copies * max_n / n_c), halves up; 1 for copies = 0.

    The factor counts the original and its copies. With copies = 1, every corpus comes near the size of the largest (da
    Silva et al. 2020, section 2).

    Args:
        sizes: corpus -> number of its training utterances, at least 1.
        copies: the setting augment.copies.
    """
    largest = max(sizes.values())
    return {corpus: max(1, math.floor(copies * largest / size + 0.5)) for corpus, size in sizes.items()}


def copy_id(utterance_id: str, number: int) -> str:
    """Id of a copy; it begins with that of the utterance, and so with the speaker."""
    return f"{utterance_id}-copy{number}"


def sample_transforms(utterance_id: str, number: int, augment: Augment, pool: BabblePool) -> list[dict[str, Any]]:
    """Sample the transforms of a copy and their parameters, `{"kind": name, ...values}` each, in order.

    The copies of an utterance use all transforms, in random order, before one is used again.

    Args:
        utterance_id: of the original.
        number: of the copy, from 1.
        augment: the transforms in use.
        pool: the other speakers of the same training part.
    """
    names = list(augment.kinds)
    order = np.random.default_rng(derive_seed("kinds", utterance_id, augment.digest)).permutation(len(names))
    first = (number - 1) * augment.chain
    chosen = {names[order[(first + i) % len(names)]] for i in range(augment.chain)}
    rng = copy_rng(utterance_id, number, augment.digest)
    return [{"kind": name, **augment.kinds[name].randomize_parameters(rng, pool)} for name in names if name in chosen]


def apply_transforms(
    samples: np.ndarray, rate: int, steps: Sequence[Mapping[str, Any]], augment: Augment, pool: BabblePool
) -> np.ndarray:
    """Apply sampled transforms.

    Args:
        samples: float32, (samples,).
        rate: in Hz.
        steps: from `sample_transforms`.
        augment: the transforms in use.
        pool: the other speakers of the same training part.

    Returns:
        float32, (samples,), at `rate` Hz.
    """
    for step in steps:
        values = {key: value for key, value in step.items() if key != "kind"}
        samples = augment.kinds[step["kind"]].apply(samples, rate, values, pool)
    return samples
