"""Scores: the values of all metrics of the registry."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ser.common.metrics import ConfusionMetric, Metric
from ser.config.registry import METRICS, from_registry


def metrics() -> dict[str, Metric]:
    """All metrics by name, in the order of columns."""
    return {name: from_registry(METRICS, name) for name in METRICS}


def scores(
    confusion: np.ndarray, posteriors: np.ndarray | None = None, targets: np.ndarray | None = None
) -> dict[str, Any]:
    """Compute name -> value of all metrics, and n, the number of utterances; undefined metrics are left out.

    Args:
        confusion: (classes, classes), row the truth.
        posteriors: (utterances, classes); None: metrics that need them are left out.
        targets: class indices, (utterances,), required with posteriors.
    """
    values: dict[str, Any] = {}
    for name, metric in metrics().items():
        if isinstance(metric, ConfusionMetric):
            values[name] = metric.of_confusion(confusion)
        elif posteriors is not None and targets is not None:
            values[name] = metric(posteriors, targets)
    return {name: value for name, value in values.items() if math.isfinite(value)} | {"n": int(confusion.sum())}


def scores_text(values: Mapping[str, Any], separator: str = ", ") -> str:
    """Format scores for a log: "WA 0.500, UA 0.625, macro F1 0.400".

    Args:
        values: scores by name.
        separator: between the metrics.
    """
    return separator.join(f"{metric.title} {values[name]:.3f}" for name, metric in metrics().items() if name in values)


def columns(values: Mapping[str, Any]) -> dict[str, str]:
    """Format scores for a table: heading -> cell."""
    return {metric.column: metric.cell(values.get(name)) for name, metric in metrics().items()}
