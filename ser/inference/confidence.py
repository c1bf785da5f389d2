"""The temperature of a model's confidence, and the threshold below which no label is given (model.json)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ser.common import InputError
from ser.scoring.calibration import threshold_for

if TYPE_CHECKING:
    from ser.inference.onnx.runtime import GraphPredictor
    from ser.inference.predictor import Predictor

ABSTAINED = "-"  # in place of a label whose confidence is below the threshold


@dataclass(frozen=True)
class Confidence:
    """How posteriors become confidences, and from which confidence on a label is given.

    Attributes:
        temperature: confidence is softmax(log p / temperature).
        threshold: confidence below which no label is given; 0: every label is.
        coverage, precision: share of utterances answered at that threshold on validation, and of right ones among them.
    """

    temperature: float = 1.0
    threshold: float = 0.0
    coverage: float = 1.0
    precision: float = math.nan


def confidence_of(
    predictor: Predictor | GraphPredictor, own_statistics: bool, precision: float | None = None
) -> Confidence:
    """The calibration of the predictor's head.

    Args:
        own_statistics: whether a model that is normalised by speaker or corpus gets statistics of the input; otherwise
            those of training, which have a calibration of their own. Of other models it does not matter.
        precision: share of right answers wanted on validation; None: every label is given.

    Raises:
        InputError: the precision was not reached on validation.
    """
    calibration = predictor.calibration(own_statistics)
    temperature = float(calibration.get("temperature", 1.0))
    if precision is None:
        return Confidence(temperature)
    confidence, right = (np.array(calibration.get(name, ())) for name in ("confidence", "right"))
    found = threshold_for(confidence, right, precision) if len(right) else None
    if found is None:
        raise InputError("not reached at any confidence on validation", f"precision {precision:g}", "ask for less")
    return Confidence(temperature, *found)
