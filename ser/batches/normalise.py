"""Statistics of the features: those taken from an utterance's own group, and those fitted on training data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ser.batches.part import Part

LEAST_DEVIATION = 1e-3


class _Moments:
    """Running mean and deviation a bin."""

    def __init__(self, bins: int) -> None:
        self.count = 0
        self.sums = np.zeros((2, bins))

    def add(self, values: np.ndarray) -> None:
        wide = values.astype(np.float64)
        self.count += len(wide)
        self.sums += wide.sum(0), np.square(wide).sum(0)

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        mean, square = self.sums / max(self.count, 1)
        return mean.astype(np.float32), np.sqrt(np.maximum(square - mean**2, LEAST_DEVIATION**2)).astype(np.float32)


class Normaliser:
    """Reads rows of a part and takes out the statistics of the utterance, its speaker or its corpus.

    "speaker" and "corpus" use all utterances of the group within the part, which on test data is transductive: no
    label is needed, but the other test utterances are.

    Args:
        part: where to read.
        kind: batches.normalisation; "global" and "none" take nothing out here.
    """

    def __init__(self, part: Part, kind: str) -> None:
        self.part = part
        groups = {"utterance": part.ids, "speaker": part.speakers, "corpus": [part.corpus] * len(part)}.get(kind)
        self.groups = groups
        self.statistics: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        if groups is not None:
            moments: dict[str, _Moments] = {}
            for key, group in zip(part.ids, groups, strict=True):
                values = part.reader.read(key)
                moments.setdefault(group, _Moments(values.shape[1])).add(values)
            self.statistics = {group: m.finish() for group, m in moments.items()}

    def read(self, index: int, start: int = 0, rows: int | None = None) -> np.ndarray:
        """Rows of an utterance, float32, (rows, bins)."""
        values = self.part.reader.read(self.part.ids[index], start, rows)
        if self.groups is not None:
            mean, deviation = self.statistics[self.groups[index]]
            values -= mean
            values /= deviation
        return values


def fit_statistics(sources: Sequence[Normaliser], kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation a bin over all frames of the training parts, float32, (bins,) each; 0 and 1 for "none"."""
    bins = sources[0].part.reader.shape(sources[0].part.ids[0])[1]
    if kind == "none":
        return np.zeros(bins, np.float32), np.ones(bins, np.float32)
    moments = _Moments(bins)
    for source in sources:
        for index in range(len(source.part)):
            moments.add(source.read(index))
    return moments.finish()
