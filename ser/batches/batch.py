"""Crops of utterances as one padded tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ser.batches.normalise import Normaliser
from ser.batches.sampler import Crop


@dataclass(frozen=True)
class Batch:
    """Utterances of one corpus.

    Attributes:
        features: float32, (batch, frames, bins), zero beyond an utterance's length.
        lengths: int64, (batch,), frames.
        targets: int64, (batch,), indices into the corpus's class list.
        indices: positions of the utterances in their part.
    """

    corpus: str
    features: torch.Tensor
    lengths: torch.Tensor
    targets: torch.Tensor
    indices: list[int]


def collate(source: Normaliser, crops: Sequence[Crop]) -> Batch:
    """Read crops and pad them with zeros to the longest."""
    part = source.part
    indices = [index for index, _, _ in crops]
    lengths = [rows for _, _, rows in crops]
    bins = part.reader.shape(part.ids[indices[0]])[1]
    features = np.zeros((len(crops), max(lengths), bins), np.float32)
    for row, (index, start, rows) in enumerate(crops):
        features[row, :rows] = source.read(index, start, rows)
    return Batch(
        part.corpus,
        torch.from_numpy(features),
        torch.tensor(lengths),
        torch.from_numpy(part.targets[indices]),
        indices,
    )
