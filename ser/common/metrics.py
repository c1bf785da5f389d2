"""Metrics of a classifier. METRICS in ser/config/registry.py lists the metrics that scores contain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Metric:
    """A metric of posteriors and targets.

    Attributes:
        title: of its column in tables.
        function: of posteriors, (utterances, classes), and targets, class indices, (utterances,); returns the value,
            NaN if it is not defined.
        percent: whether tables show it in percent.
    """

    title: str
    function: Callable[..., float]
    percent: bool = True

    def __call__(self, posteriors: np.ndarray, targets: np.ndarray) -> float:
        """Compute the metric.

        Args:
            posteriors: (utterances, classes).
            targets: class indices, (utterances,).

        Returns:
            The value, from 0 to 1 if `percent`; NaN if it is not defined.
        """
        return self.function(posteriors, targets)

    @property
    def column(self) -> str:
        """The heading of its column in a table."""
        return f"{self.title} %" if self.percent else self.title

    def cell(self, value: float | None) -> str:
        """Format a value for a table; empty for None."""
        if value is None:
            return ""
        return f"{100 * value:.1f}" if self.percent else f"{value:.3f}"


@dataclass(frozen=True)
class ConfusionMetric(Metric):
    """A metric of the confusion matrix, which needs no posteriors.

    Attributes:
        function: of the confusion matrix, (classes, classes), row the truth, column the hypothesis.
    """

    def __call__(self, posteriors: np.ndarray, targets: np.ndarray) -> float:
        """Compute the metric of the most probable classes; see `Metric`."""
        return self.of_confusion(confusion_matrix(targets, posteriors.argmax(1), posteriors.shape[1]))

    def of_confusion(self, confusion: np.ndarray) -> float:
        """Compute the metric of a confusion matrix."""
        return self.function(confusion)


def is_collapsed(confusion: np.ndarray) -> bool:
    """Whether all utterances are recognised as one class, as by a network that has learnt nothing.

    Args:
        confusion: (classes, classes), column the hypothesis.
    """
    return np.count_nonzero(confusion.sum(0)) == 1


def confusion_matrix(truth: np.ndarray, hypothesis: np.ndarray, classes: int) -> np.ndarray:
    """Count utterances by true and recognised class.

    Args:
        truth: class indices, (utterances,).
        hypothesis: class indices, (utterances,).
        classes: number of classes.

    Returns:
        int64, (classes, classes): row the truth, column the hypothesis.
    """
    return np.bincount(truth * classes + hypothesis, minlength=classes * classes).reshape(classes, classes)


def mean_recall(right: np.ndarray, of_class: np.ndarray) -> np.ndarray:
    """Mean of the recalls over the last axis, without classes that have no utterances.

    Args:
        right: correctly recognised utterances of each class, (..., classes).
        of_class: utterances of each class, of a shape that broadcasts with `right`.
    """
    present = of_class > 0
    return np.asarray((right / np.where(present, of_class, 1)).sum(-1) / present.sum(-1))


def wa(confusion: np.ndarray) -> float:
    """Weighted accuracy (WA): the share of correctly recognised utterances."""
    return float(np.trace(confusion) / confusion.sum())


def ua(confusion: np.ndarray) -> float:
    """Unweighted accuracy (UA): the mean of the recalls of the classes."""
    return float(mean_recall(np.diag(confusion), confusion.sum(1)))


def macro_f1(confusion: np.ndarray) -> float:
    """Mean of the F1 of the classes, without classes that occur neither in truth nor in hypothesis."""
    both = confusion.sum(1) + confusion.sum(0)
    return float(np.mean(2 * np.diag(confusion)[both > 0] / both[both > 0]))


WA = ConfusionMetric("WA", wa)
UA = ConfusionMetric("UA", ua)
MACRO_F1 = ConfusionMetric("macro F1", macro_f1)
