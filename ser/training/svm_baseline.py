"""A linear SVM on functionals of an utterance: what a network has to beat, given the same normalisation.

No label goes into the functionals, and no test utterance into the fit: `fit` is given training and validation parts.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ser.batches import Part
from ser.common import InputError
from ser.common.metrics import confusion_matrix, ua
from ser.common.progress import progress
from ser.config import Features
from ser.frontends.logmel import mel_bands, mel_filters
from ser.training.checkpoint import State

BANDS = 40
PERCENTILES = (10, 50, 90)
DELTA_FRAMES = 5
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
# Columns that differ by less than this share of their greatest value are constant but for rounding.
CONSTANT = 1e-6
# Far above what standardised values take; without it values as they are ("none") may never end.
MAX_ITERATIONS = 1_000_000

Sample = tuple[np.ndarray, np.ndarray]  # functionals, float64, (utterances, values), and targets, (utterances,)


def settings(features: str, normalisation: str) -> dict[str, Any]:
    """What decides a model beside the data; as text, for digests and results."""
    return {
        "features": features,
        **functional_settings(features),
        "normalisation": normalisation,
        "classifier": "SVC, linear, balanced",
        "penalties": list(PENALTIES),
    }


def functional_settings(features: str) -> dict[str, Any]:
    """What the functionals are."""
    kinds: dict[str, dict[str, Any]] = {
        "logmel": {"bands": BANDS, "percentiles": list(PERCENTILES), "delta_frames": DELTA_FRAMES},
        "statistics": {"over_frames": ["mean", "deviation"]},
        "opensmile": {"set": "ComParE_2016"},
    }
    return kinds[features]


def functionals_size(features: str, width: int) -> int:
    """How many functionals `summary` gives of features of some width."""
    return 2 * width if features == "statistics" else 2 * (2 + len(PERCENTILES)) * BANDS + 1


def functionals_of(features: str, config: Features) -> Callable[[np.ndarray], np.ndarray]:
    """What makes functionals, float64, (values,), of the stored features of an utterance, (frames, width).

    Args:
        features: "statistics", of any front end, or "logmel", of the log-STFT.
    """
    if features == "statistics":
        return frame_statistics
    filters = mel_filters(config.bins, config.sampling_rate, BANDS)
    return lambda values: logmel_functionals(values, filters, config)


def frame_statistics(values: np.ndarray) -> np.ndarray:
    """Mean and deviation over frames, float64, (2 * width,)."""
    wide = values.astype(np.float64)
    return np.concatenate([wide.mean(0), wide.std(0)])


def logmel_functionals(log_power: np.ndarray, filters: np.ndarray, config: Features) -> np.ndarray:
    """Mean, deviation and percentiles over frames of log-mel bands and of their deltas, then the seconds.

    Args:
        log_power: natural log of power, (frames, bins).
        filters: (bins, bands).

    Returns:
        float64, (2 * 5 * bands + 1,): 401 for 40 bands.
    """
    from scipy.signal import savgol_filter

    bands = mel_bands(log_power, filters, config.floor)
    # A straight line through five frames, the first and the last repeated: the delta of HTK with a window of 2.
    deltas = savgol_filter(bands, DELTA_FRAMES, 1, deriv=1, axis=0, mode="nearest")
    found = [
        row for x in (bands, deltas) for row in (x.mean(0), x.std(0), *np.percentile(x, PERCENTILES, axis=0))
    ]  # each (bands,)
    seconds = (config.frame_length + (len(bands) - 1) * config.frame_shift) / config.sampling_rate
    return np.concatenate([*found, [seconds]])


def functionals(part: Part, features: str, config: Features) -> np.ndarray:
    """Functionals of the stored features of a part, as of `summary`, float64, (utterances, values)."""
    of = functionals_of(features, config)
    keys = progress(part.ids, text=f"functionals {part.corpus} {part.name}", unit="utt")
    return np.stack([of(part.reader.read(key)) for key in keys])


def opensmile(paths: Sequence[Path]) -> np.ndarray:
    """ComParE 2016 functionals of audio files at their own sampling rates, float64, (files, 6373).

    Raises:
        InputError: openSMILE is not installed.
    """
    from ser.audio import read_audio

    try:
        library: Any = importlib.import_module("opensmile")
    except ImportError:
        raise InputError("the library is not there", "--features opensmile", "pip install opensmile") from None
    smile = library.Smile(library.FeatureSet.ComParE_2016, library.FeatureLevel.Functionals)
    rows = []
    for path in progress(paths, text="openSMILE", unit="utt"):
        audio = read_audio(path)
        rows.append(smile.process_signal(audio.mono, audio.sampling_rate).to_numpy(np.float64)[0])
    # Functionals over voiced frames are no number where there are none.
    return np.nan_to_num(np.stack(rows), nan=0.0)


def standardise_groups(values: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Take out each group's own mean and deviation a column, float64, as `values`."""
    result, names = np.empty(values.shape), np.asarray(groups)
    for name in np.unique(names):
        rows = names == name
        result[rows] = standardise(values[rows], *moments(values[rows]))
    return result


def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation a column; 1 for a constant one, and the unit of a column, however small, decides nothing."""
    deviation = values.std(0)
    return values.mean(0), np.where(deviation > CONSTANT * np.abs(values).max(0), deviation, 1.0)


class RunningMoments:
    """Mean and deviation, as of `moments`, of rows that come one after another, (rows, values) each."""

    def __init__(self) -> None:
        self._rows: list[np.ndarray] = []

    @property
    def count(self) -> int:
        return len(self._rows)

    def add(self, values: np.ndarray) -> None:
        self._rows.append(values)

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        return moments(np.concatenate(self._rows))


def standardise(values: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Values in deviations from the mean."""
    return (values - mean) / deviation


@dataclass(frozen=True)
class Baseline:
    """A fitted classifier.

    Attributes:
        penalty: C, the one of `PENALTIES` with the best UA on validation speakers, the smaller of equal ones.
        valid_ua: that UA for every C, the mean of the corpora.
        model: sklearn.svm.SVC.
    """

    penalty: float
    valid_ua: dict[float, float]
    mean: np.ndarray
    deviation: np.ndarray
    model: Any

    def predict(self, values: np.ndarray) -> np.ndarray:
        """Class indices, (utterances,), of functionals that are normalised by speaker already where that is asked."""
        return self.model.predict(standardise(values, self.mean, self.deviation))

    def tensors(self) -> State:
        """The arrays of `ser.nets.LinearSVM`."""
        import torch

        # Of two classes alone, scikit-learn turns the sign: above 0 is the second.
        sign = -1 if len(self.model.classes_) == 2 else 1
        arrays = {
            "mean": self.mean,
            "deviation": self.deviation,
            "weights": sign * self.model.coef_,
            "intercepts": sign * self.model.intercept_,
        }
        return {name: torch.from_numpy(np.array(values, np.float64)) for name, values in arrays.items()}


def fit(train: Sequence[Sample], valid: Mapping[str, Sample], classes: int, normalisation: str) -> Baseline:
    """One classifier on the training samples of all corpora; the validation samples choose C and nothing else.

    Args:
        normalisation: "none" leaves out the standardisation by training statistics.

    Raises:
        InputError: nothing to choose by, or fewer than two classes to learn.
    """
    from sklearn.svm import SVC

    if not valid:
        raise InputError("no corpus has validation speakers, by which C is chosen", "valid", "add a corpus that has")
    values, targets = (np.concatenate(x) for x in zip(*train, strict=True))
    if len(np.unique(targets)) < 2:
        raise InputError("the training parts hold one class only", "train", "prepare a corpus with more")
    mean, deviation = moments(values)
    if normalisation == "none":
        mean, deviation = np.zeros_like(mean), np.ones_like(deviation)
    scaled = standardise(values, mean, deviation)
    # It draws nothing, so it needs no seed.
    make = partial(SVC, kernel="linear", class_weight="balanced", max_iter=MAX_ITERATIONS)
    fitted = [Baseline(c, {}, mean, deviation, make(C=c).fit(scaled, targets)) for c in PENALTIES]
    uas = [float(np.mean([_ua(b, sample, classes) for sample in valid.values()])) for b in fitted]
    best = fitted[int(np.argmax(uas))]
    return Baseline(best.penalty, dict(zip(PENALTIES, uas, strict=True)), mean, deviation, best.model)


def _ua(baseline: Baseline, sample: Sample, classes: int) -> float:
    values, targets = sample
    return ua(confusion_matrix(targets, baseline.predict(values), classes))
