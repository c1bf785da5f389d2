"""Scores of a classifier, from its confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scores:
    """Fractions, not percent.

    Attributes:
        wa: weighted accuracy: the share of utterances that are right.
        ua: unweighted accuracy: the mean of the per-class recalls.
        macro_f1: the mean of the per-class F1; a class that is neither there nor ever answered does not count.
    """

    wa: float
    ua: float
    macro_f1: float
    n: int


def confusion_matrix(truth: np.ndarray, hypothesis: np.ndarray, classes: int) -> np.ndarray:
    """int64, (classes, classes): row the truth, column the hypothesis."""
    return np.bincount(truth * classes + hypothesis, minlength=classes * classes).reshape(classes, classes)


def scores(confusion: np.ndarray) -> Scores:
    """Scores of a confusion matrix; the recall of a class that has no utterances is undefined and left out."""
    right, of_class, answered = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    there = of_class > 0
    seen = of_class + answered > 0
    n = int(confusion.sum())
    return Scores(
        wa=float(right.sum() / n),
        ua=float(np.mean(right[there] / of_class[there])),
        macro_f1=float(np.mean(2 * right[seen] / (of_class + answered)[seen])),
        n=n,
    )
