"""Sample mini-batches of utterances of similar length: a pure function of the seed and the number of the batch."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ser.common import derive_seed

# Relative jitter of the lengths before sorting: enough that batches are composed differently in each pass.
LENGTH_JITTER = 0.04

Crop = tuple[int, int, int]  # index of the utterance, first frame, number of frames


class Sampler:
    """Sample random batches of utterances of similar length from one corpus.

    A pass goes through the utterances in random order and drops the last ones that do not fill a batch (different ones
    in each pass).

    Args:
        frames: lengths of the utterances, (utterances,).
        batch_size: utterances per batch; fewer if the corpus has fewer.
        crop_frames: longer utterances are cropped to this number of frames, from a random start.
        purpose: arguments of `derive_seed`, such as (seed, fold, "batches", corpus).

    Attributes:
        batches_per_pass: number of batches in one pass over the utterances.
    """

    def __init__(self, frames: np.ndarray, batch_size: int, crop_frames: int, purpose: tuple[str | int, ...]) -> None:
        self.frames = frames
        self.batch_size = min(batch_size, len(frames))
        self.crop_frames = crop_frames
        self.purpose = purpose
        self.batches_per_pass = len(frames) // self.batch_size
        self._pass = lru_cache(maxsize=2)(self._sample_pass)

    def batch(self, number: int) -> list[Crop]:
        """The crops of batch `number`, counted from 0 over all passes."""
        return self._pass(number // self.batches_per_pass)[number % self.batches_per_pass]

    def _sample_pass(self, number: int) -> list[list[Crop]]:
        rng = np.random.default_rng(derive_seed(*self.purpose, number))
        chosen = rng.permutation(len(self.frames))[: self.batches_per_pass * self.batch_size]
        rows = np.minimum(self.frames[chosen], self.crop_frames)
        order = np.argsort(rows * (1 + LENGTH_JITTER * rng.uniform(-1, 1, len(rows))), kind="stable")
        starts = (rng.random(len(rows)) * (self.frames[chosen] - rows + 1)).astype(np.int64)
        crops = [(int(chosen[i]), int(starts[i]), int(rows[i])) for i in order]
        batches = [crops[i : i + self.batch_size] for i in range(0, len(crops), self.batch_size)]
        return [batches[i] for i in rng.permutation(len(batches))]


def by_length(frames: np.ndarray, batch_frames: int) -> list[list[Crop]]:
    """Group whole utterances of similar length into batches, for evaluation.

    Args:
        frames: lengths of the utterances, (utterances,).
        batch_frames: limit on the padded frames of a batch; a longer utterance is a batch by itself.
    """
    batches: list[list[Crop]] = []
    for i in np.argsort(frames, kind="stable"):
        rows = int(frames[i])
        if not batches or (len(batches[-1]) + 1) * rows > batch_frames:
            batches.append([])
        batches[-1].append((int(i), 0, rows))
    return batches
