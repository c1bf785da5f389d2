"""Scores: the value of every metric of the registry."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ser.common.metrics import ConfusionMetric, Metric
from ser.config.registry import METRICS, from_registry


def metrics() -> dict[str, Metric]:
    """Every metric by name, in the order of columns."""
    return {name: from_registry(METRICS, name) for name in METRICS}


def scores(
    confusion: np.ndarray, posteriors: np.ndarray | None = None, targets: np.ndarray | None = None
) -> dict[str, Any]:
    """Name -> value, and n, the number of utterances; a metric that is not defined here is left out.

    Args:
        confusion: (classes, classes), row the truth.
        posteriors: (utterances, classes), where there are any: metrics that need them are left out without.
        targets: class indices, (utterances,), with posteriors.
    """
    found: dict[str, Any] = {}
    for name, metric in metrics().items():
        if isinstance(metric, ConfusionMetric):
            found[name] = metric.of_confusion(confusion)
        elif posteriors is not None and targets is not None:
            found[name] = metric(posteriors, targets)
    return {name: value for name, value in found.items() if math.isfinite(value)} | {"n": int(confusion.sum())}


def scores_text(found: Mapping[str, Any], separator: str = ", ") -> str:
    """ "WA 0.500, UA 0.625, macro F1 0.400": scores as logs show them."""
    return separator.join(f"{metric.title} {found[name]:.3f}" for name, metric in metrics().items() if name in found)


def columns(found: Mapping[str, Any]) -> dict[str, str]:
    """Heading -> cell: scores as tables show them."""
    return {metric.column: metric.cell(found.get(name)) for name, metric in metrics().items()}
