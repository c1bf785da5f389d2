"""Calibration of confidence: temperature scaling, calibration error, and the threshold for a wanted precision."""

from __future__ import annotations

from typing import Any

import numpy as np

# Bounds of the temperature. Where all answers on validation are right, or all wrong, no temperature is the best: the
# lower, or the higher, the likelier the targets.
TEMPERATURES = (0.05, 20.0)
# Replaces a posterior of 0 in logarithms: the smallest normal number of float32.
TINY = float(np.finfo(np.float32).tiny)
BINS = 15


def fit_temperature(posteriors: np.ndarray, targets: np.ndarray) -> float:
    """Fit the temperature T that maximises the likelihood of the targets (Guo et al. 2017, section 4.2).

    Where all answers are right it is the lower of TEMPERATURES, where all are wrong mostly the upper one. It is 1 where
    no other temperature is better: with one class, or with equal posteriors.

    Args:
        posteriors: (utterances, classes), rows that add up to 1, of data that are neither for training nor for test.
        targets: (utterances,), indices of classes.

    Raises:
        ValueError: no utterances.
    """
    from scipy.optimize import minimize_scalar

    if not len(targets):
        raise ValueError("a temperature needs at least one utterance")
    logs = _logs(posteriors)
    rows = np.arange(len(targets))

    def loss(log_temperature: float) -> float:
        """Mean negative log likelihood, convex in 1/T, so with one minimum."""
        return float(-_log_softmax(logs / np.exp(log_temperature))[rows, targets].mean())

    low, high = np.log(TEMPERATURES)
    fitted = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    best = min((float(fitted.x), low, high), key=loss)
    return float(np.exp(best)) if loss(best) < loss(0) - 1e-12 else 1.0


def choose_temperature(posteriors: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """The temperature to apply: the fitted one, or 1 where that has the lower calibration error on the same utterances.

    Args:
        posteriors: (utterances, classes), as for `fit_temperature`.
        targets: (utterances,), indices of classes.

    Returns:
        The temperature to apply, and the fitted one.
    """
    fitted = fit_temperature(posteriors, targets)
    correct = posteriors.argmax(1) == targets
    before, after = (expected_calibration_error(tempered(posteriors, t).max(1), correct) for t in (1.0, fitted))
    return (fitted if after <= before else 1.0), fitted


def tempered(posteriors: np.ndarray, temperature: float) -> np.ndarray:
    """Apply a temperature: rows p become softmax(log p / T). The ranking of the classes does not change.

    Args:
        posteriors: (utterances, classes).
        temperature: T, above 0.

    Returns:
        float32, (utterances, classes).
    """
    return np.exp(_log_softmax(_logs(posteriors) / temperature)).astype(np.float32)


def _logs(posteriors: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.asarray(posteriors, np.float64), TINY))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(1, keepdims=True))
    return np.asarray(shifted)


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> list[dict[str, Any]]:
    """Compute the reliability diagram (Guo et al. 2017, section 2).

    Bins are of equal width, the m-th over ((m - 1) / bins, m / bins]; the first also holds 0.

    Args:
        confidence: (utterances,), posteriors of the hypotheses.
        right: whether each hypothesis is right, bool, (utterances,).
        bins: their number.

    Returns:
        Of each bin: count of its utterances, their mean confidence, and their accuracy; None for these of an empty bin.
    """
    diagram, numbers = [], _bin_numbers(confidence, bins)
    for inside in (numbers == number for number in range(bins)):
        means = {"confidence": confidence, "accuracy": right}
        count = int(inside.sum())
        diagram.append({"count": count, **{k: float(v[inside].mean()) if count else None for k, v in means.items()}})
    return diagram


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Mean over utterances of |accuracy - mean confidence| of their bin (Naeini et al. 2015).

    With few utterances it is above 0 even for calibrated confidence.

    Args:
        confidence: posterior of the most probable class, (utterances,).
        right: whether that class is right, bool, (utterances,).
        bins: of equal width from 0 to 1.

    Returns:
        From 0 to 1; NaN of no utterances.
    """
    if not len(right):
        return float("nan")
    gaps = np.bincount(_bin_numbers(confidence, bins), right - np.asarray(confidence, np.float64))
    return float(np.abs(gaps).sum() / len(right))


def _bin_numbers(confidence: np.ndarray, bins: int) -> np.ndarray:
    # An edge such as 0.6 belongs to the bin that ends there, also after rounding to float32.
    scaled = np.round(np.asarray(confidence, np.float64) * bins, 6)
    return np.clip(np.ceil(scaled).astype(np.int64) - 1, 0, bins - 1)


def threshold_for(confidence: np.ndarray, right: np.ndarray, precision: float) -> tuple[float, float, float] | None:
    """Find the lowest confidence threshold that reaches a wanted precision, so that coverage is largest.

    Args:
        confidence: (utterances,), of data that are neither for training nor for test.
        right: bool, (utterances,).
        precision: the wanted share of right answers among those given.

    Returns:
        The threshold (an answer is given at that confidence or above), the coverage (share of utterances answered),
        and the precision reached; None where no threshold reaches it.
    """
    confidence, right = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    order = np.argsort(-confidence, kind="stable")
    confidence, right = confidence[order], right[order]
    reached = np.cumsum(right) / np.arange(1, len(right) + 1)
    # A threshold answers all utterances of equal confidence or none of them.
    last = np.append(confidence[1:] < confidence[:-1], True)[: len(right)]
    candidates = np.flatnonzero(last & (reached >= precision))
    if not len(candidates):
        return None
    lowest = int(candidates[-1])
    return float(confidence[lowest]), (lowest + 1) / len(right), float(reached[lowest])
