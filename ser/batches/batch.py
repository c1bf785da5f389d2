"""Collate crops of utterances into one padded tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ser.batches.dataset import UtteranceDataset
from ser.batches.sampler import Crop

# oneDNN caches a compiled kernel for each length, hundreds of megabytes for hundreds of lengths, and is up to three
# times as slow with some lengths that are not a multiple of 8 (docs/performance.md).
MULTIPLE = 8


@dataclass(frozen=True)
class Batch:
    """A mini-batch of utterances of one corpus.

    Attributes:
        features: float32, (batch, frames, bins), zero beyond the length of an utterance.
        lengths: int64, (batch,), frames.
        targets: int64, (batch,), indices into the class list of the corpus.
        indices: positions of the utterances in their part.
        genders: int64, (batch,): 0 woman, 1 man, -1 unknown.
        votes: float32, (batch, classes): shares of the annotators' votes.
    """

    corpus: str
    features: torch.Tensor
    lengths: torch.Tensor
    targets: torch.Tensor
    indices: list[int]
    genders: torch.Tensor
    votes: torch.Tensor


def collate(dataset: UtteranceDataset, crops: Sequence[Crop], rng: np.random.Generator | None = None) -> Batch:
    """Read crops and pad them with zeros to the longest, rounded up to a multiple of `MULTIPLE` frames.

    Args:
        dataset: the utterances.
        crops: the part of each utterance to read.
        rng: draws the augmentation on the fly, if the settings of the dataset switch any on; None: no augmentation.
    """
    indices = [index for index, _, _ in crops]
    if rng is None or not dataset.augments:
        lengths = [rows for _, _, rows in crops]
        features = np.empty((len(crops), _padded(lengths), dataset.bins), np.float32)
        for padded, (index, start, rows) in zip(features, crops, strict=True):
            dataset.read_into(padded[:rows], index, start)
            padded[rows:] = 0
    else:
        augmented = [dataset.read_augmented(*crop, rng) for crop in crops]
        lengths = [len(values) for values in augmented]
        features = np.zeros((len(crops), _padded(lengths), dataset.bins), np.float32)
        for padded, values in zip(features, augmented, strict=True):
            padded[: len(values)] = values
    return Batch(
        dataset.part.corpus,
        torch.from_numpy(features),
        torch.tensor(lengths),
        torch.from_numpy(dataset.part.targets[indices]),
        indices,
        torch.from_numpy(dataset.part.genders[indices]),
        torch.from_numpy(dataset.part.votes[indices]),
    )


def _padded(lengths: Sequence[int]) -> int:
    return -(-max(lengths) // MULTIPLE) * MULTIPLE
