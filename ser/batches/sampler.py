"""Which utterances stand in which batch: a pure function of the seed and the batch's number."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ser.common import derive_seed

# How far lengths are blurred before sorting: enough that a batch's company changes from pass to pass.
BLUR = 0.04

Crop = tuple[int, int, int]  # utterance's index, first frame, number of frames


class Sampler:
    """Batches of like length, random within, from one corpus.

    A pass goes through the utterances in random order, leaving over those that fill no batch (other ones each time).

    Args:
        frames: (utterances,), their lengths.
        batch_size: utterances a batch; fewer where the corpus has fewer.
        crop_frames: longer utterances are cut to so many frames, at a random place.
        purpose: what the draws derive from, such as (seed, fold, "batches", corpus).
    """

    def __init__(self, frames: np.ndarray, batch_size: int, crop_frames: int, purpose: tuple[str | int, ...]) -> None:
        self.frames = frames
        self.batch_size = min(batch_size, len(frames))
        self.crop_frames = crop_frames
        self.purpose = purpose
        self.per_pass = len(frames) // self.batch_size
        self._pass = lru_cache(maxsize=2)(self._draw_pass)

    def batch(self, number: int) -> list[Crop]:
        """The crops of batch `number`, from 0 and without end."""
        return self._pass(number // self.per_pass)[number % self.per_pass]

    def _draw_pass(self, number: int) -> list[list[Crop]]:
        rng = np.random.default_rng(derive_seed(*self.purpose, number))
        chosen = rng.permutation(len(self.frames))[: self.per_pass * self.batch_size]
        rows = np.minimum(self.frames[chosen], self.crop_frames)
        order = np.argsort(rows * (1 + BLUR * rng.uniform(-1, 1, len(rows))), kind="stable")
        starts = (rng.random(len(rows)) * (self.frames[chosen] - rows + 1)).astype(np.int64)
        crops = [(int(chosen[i]), int(starts[i]), int(rows[i])) for i in order]
        batches = [crops[i : i + self.batch_size] for i in range(0, len(crops), self.batch_size)]
        return [batches[i] for i in rng.permutation(len(batches))]


def by_length(frames: np.ndarray, batch_frames: int) -> list[list[Crop]]:
    """Whole utterances in batches of at most `batch_frames` padded frames (or one utterance), for evaluation."""
    batches: list[list[Crop]] = []
    for i in np.argsort(frames, kind="stable"):
        rows = int(frames[i])
        if not batches or (len(batches[-1]) + 1) * rows > batch_frames:
            batches.append([])
        batches[-1].append((int(i), 0, rows))
    return batches
