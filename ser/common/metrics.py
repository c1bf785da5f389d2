"""Metrics of a classifier. Those that scores are made of are named in METRICS of ser/config/registry.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Metric:
    """A metric of posteriors and targets.

    Attributes:
        title: of its column.
        function: posteriors, (utterances, classes), and targets, class indices, (utterances,), to a value; NaN where it
            is not defined.
        percent: whether tables show it in percent.
    """

    title: str
    function: Callable[..., float]
    percent: bool = True

    def __call__(self, posteriors: np.ndarray, targets: np.ndarray) -> float:
        """Its value.

        Args:
            posteriors: (utterances, classes).
            targets: class indices, (utterances,).

        Returns:
            A share from 0 to 1 where `percent`; NaN where it is not defined.
        """
        return self.function(posteriors, targets)

    @property
    def column(self) -> str:
        """Its heading in a table."""
        return f"{self.title} %" if self.percent else self.title

    def cell(self, value: float | None) -> str:
        """A value as a table shows it; empty where there is none."""
        if value is None:
            return ""
        return f"{100 * value:.1f}" if self.percent else f"{value:.3f}"


@dataclass(frozen=True)
class ConfusionMetric(Metric):
    """A metric that follows from the confusion matrix: answers without posteriors have it too.

    Attributes:
        function: (classes, classes), row the truth, column the hypothesis, to a value.
    """

    def __call__(self, posteriors: np.ndarray, targets: np.ndarray) -> float:
        """Its value of the most probable classes, as of `Metric`."""
        return self.of_confusion(confusion_matrix(targets, posteriors.argmax(1), posteriors.shape[1]))

    def of_confusion(self, confusion: np.ndarray) -> float:
        """Its value."""
        return self.function(confusion)


def is_collapsed(confusion: np.ndarray) -> bool:
    """Whether all answers are one class, as of a network that has learnt nothing.

    Args:
        confusion: (classes, classes), column the answer.
    """
    return np.count_nonzero(confusion.sum(0)) == 1


def confusion_matrix(truth: np.ndarray, hypothesis: np.ndarray, classes: int) -> np.ndarray:
    """Count utterances by their class and the one recognised.

    Args:
        truth: class indices, (utterances,).
        hypothesis: class indices, (utterances,).
        classes: their number.

    Returns:
        int64, (classes, classes): row the truth, column the hypothesis.
    """
    return np.bincount(truth * classes + hypothesis, minlength=classes * classes).reshape(classes, classes)


def mean_recall(right: np.ndarray, of_class: np.ndarray) -> np.ndarray:
    """Mean of the recalls over the last axis; that of a class without utterances is undefined and left out.

    Args:
        right: utterances of each class that are right, (..., classes).
        of_class: utterances of each class, of a shape that broadcasts with it.
    """
    there = of_class > 0
    return np.asarray((right / np.where(there, of_class, 1)).sum(-1) / there.sum(-1))


def wa(confusion: np.ndarray) -> float:
    """Weighted accuracy: the share of utterances that are right."""
    return float(np.trace(confusion) / confusion.sum())


def ua(confusion: np.ndarray) -> float:
    """Unweighted accuracy: the mean of the recalls of the classes."""
    return float(mean_recall(np.diag(confusion), confusion.sum(1)))


def macro_f1(confusion: np.ndarray) -> float:
    """Mean of the F1 of the classes; a class that is neither there nor ever answered does not count."""
    both = confusion.sum(1) + confusion.sum(0)
    return float(np.mean(2 * np.diag(confusion)[both > 0] / both[both > 0]))


WA = ConfusionMetric("WA", wa)
UA = ConfusionMetric("UA", ua)
MACRO_F1 = ConfusionMetric("macro F1", macro_f1)
