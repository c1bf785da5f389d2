"""Whether a confidence holds: temperature scaling, calibration error, and the threshold for a wanted precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Least and greatest temperature. A validation set that is all right has no best one, nor has one that is all wrong: the
# sharper, or the flatter, the better.
TEMPERATURES = (0.05, 20.0)
# In place of a posterior of 0, whose logarithm there is not: the least that float32 holds to full precision.
TINY = float(np.finfo(np.float32).tiny)
BINS = 15


def fit_temperature(posteriors: np.ndarray, targets: np.ndarray) -> float:
    """The temperature T that makes the targets most likely (Guo et al. 2017, section 4.2).

    Where all answers are right it is the least of TEMPERATURES, where all are wrong mostly the greatest, and 1 where
    none is better than that: with one class, or posteriors that are all equal.

    Args:
        posteriors: (utterances, classes), rows that add up to 1, on material that is neither of training nor of test.
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
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    best = min((float(found.x), low, high), key=loss)
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
    """Apply a temperature: rows p become softmax(log p / T). The order of the classes in a row stays.

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


@dataclass(frozen=True)
class Bin:
    """Utterances of about one confidence.

    Attributes:
        confidence: their mean; None where there are none.
        accuracy: the share of them that is right; None where there are none.
    """

    count: int
    confidence: float | None
    accuracy: float | None


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> list[Bin]:
    """The reliability diagram (Guo et al. 2017, section 2).

    Bins are of equal width, the m-th over ((m - 1) / bins, m / bins]; the first holds 0, too.

    Args:
        confidence: (utterances,), posteriors of the classes answered.
        right: bool, (utterances,).
    """
    found, numbers = [], _bin_numbers(confidence, bins)
    for inside in (numbers == number for number in range(bins)):
        count = int(inside.sum())
        means = (float(np.mean(confidence[inside])), float(np.mean(right[inside]))) if count else (None, None)
        found.append(Bin(count, *means))
    return found


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Mean over utterances of |accuracy - mean confidence| of their bin (Naeini et al. 2015).

    With few utterances it is above 0 also where the confidence holds.

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
    # An edge such as 0.6 belongs to the bin that ends there, whatever float32 made of it.
    scaled = np.round(np.asarray(confidence, np.float64) * bins, 6)
    return np.clip(np.ceil(scaled).astype(np.int64) - 1, 0, bins - 1)


def threshold_for(confidence: np.ndarray, right: np.ndarray, precision: float) -> tuple[float, float, float] | None:
    """The lowest threshold from which on the answers reach a wanted precision, so that most are answered.

    Args:
        confidence: (utterances,), on material that is neither of training nor of test.
        right: bool, (utterances,).
        precision: the wanted share of right answers among those given.

    Returns:
        The threshold (an answer is given at that confidence or above), the share of utterances answered, and the
        precision reached; None where no threshold reaches it.
    """
    confidence, right = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    order = np.argsort(-confidence, kind="stable")
    confidence, right = confidence[order], right[order]
    reached = np.cumsum(right) / np.arange(1, len(right) + 1)
    # Utterances of equal confidence are answered together, or none of them is.
    last = np.append(confidence[1:] < confidence[:-1], True)[: len(right)]
    fit = np.flatnonzero(last & (reached >= precision))
    if not len(fit):
        return None
    at = int(fit[-1])
    return float(confidence[at]), (at + 1) / len(right), float(reached[at])
