"""Baseline: a linear SVM on functionals of an utterance, with the same normalisation as the networks.

Functionals use no labels, and `fit` gets training and validation parts only.
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
from ser.common.tensors import Tensors
from ser.config import Features
from ser.frontends.logmel import mel_bands, mel_filters

BANDS = 40
PERCENTILES = (10, 50, 90)
DELTA_FRAMES = 5
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
# A column whose deviation is below this share of its largest value is constant up to rounding.
CONSTANT = 1e-6
# Far more than standardised values need; without a limit, the fit of unnormalised values ("none") may never end.
MAX_ITERATIONS = 1_000_000

Sample = tuple[np.ndarray, np.ndarray]  # functionals, float64, (utterances, values), and targets, (utterances,)


def settings(features: str, normalisation: str) -> dict[str, Any]:
    """The settings that, with the data, determine a model; for digests and results."""
    return {
        "features": features,
        **functional_settings(features),
        "normalisation": normalisation,
        "classifier": "SVC, linear, balanced",
        "penalties": list(PENALTIES),
    }


def functional_settings(features: str) -> dict[str, Any]:
    """The settings of a set of functionals."""
    kinds: dict[str, dict[str, Any]] = {
        "logmel": {"bands": BANDS, "percentiles": list(PERCENTILES), "delta_frames": DELTA_FRAMES},
        "statistics": {"over_frames": ["mean", "deviation"]},
        "opensmile": {"set": "ComParE_2016"},
    }
    return kinds[features]


def functionals_size(features: str, width: int) -> int:
    """The number of functionals that `functional_extractor` returns.

    Args:
        features: "statistics" or "logmel".
        width: values per frame of the stored features.
    """
    return 2 * width if features == "statistics" else 2 * (2 + len(PERCENTILES)) * BANDS + 1


def functional_extractor(features: str, config: Features) -> Callable[[np.ndarray], np.ndarray]:
    """The function from stored features of an utterance, (frames, width), to functionals, float64, (values,).

    Args:
        features: "statistics", for any front end, or "logmel", for the log-STFT.
        config: settings of the log-STFT.
    """
    if features == "statistics":
        return frame_statistics
    filters = mel_filters(config.bins, config.sampling_rate, BANDS)
    return lambda values: logmel_functionals(values, filters, config)


def frame_statistics(values: np.ndarray) -> np.ndarray:
    """Mean and deviation over frames, float64, (2 * width,)."""
    values = values.astype(np.float64)
    return np.concatenate([values.mean(0), values.std(0)])


def logmel_functionals(log_power: np.ndarray, filters: np.ndarray, config: Features) -> np.ndarray:
    """Mean, deviation and percentiles over frames of log-mel bands and of their deltas, then the duration in seconds.

    Args:
        log_power: natural log of power, (frames, bins).
        filters: mel filters, (bins, bands).
        config: settings of the log-STFT.

    Returns:
        float64, (2 * 5 * bands + 1,): 401 for 40 bands.
    """
    from scipy.signal import savgol_filter

    bands = mel_bands(log_power, filters, config.floor)
    # The slope of a line through five frames, with the first and last frame repeated: deltas of HTK with a window of 2.
    deltas = savgol_filter(bands, DELTA_FRAMES, 1, deriv=1, axis=0, mode="nearest")
    rows = [
        row for x in (bands, deltas) for row in (x.mean(0), x.std(0), *np.percentile(x, PERCENTILES, axis=0))
    ]  # each (bands,)
    seconds = (config.frame_length + (len(bands) - 1) * config.frame_shift) / config.sampling_rate
    return np.concatenate([*rows, [seconds]])


def functionals(part: Part, features: str, config: Features) -> np.ndarray:
    """Compute the functionals of all utterances of a part, float64, (utterances, values)."""
    extract = functional_extractor(features, config)
    keys = progress(part.ids, text=f"functionals {part.corpus} {part.name}", unit="utt")
    return np.stack([extract(part.reader.read(key)) for key in keys])


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
    # Functionals over voiced frames are NaN in an utterance without voiced frames.
    return np.nan_to_num(np.stack(rows), nan=0.0)


def standardise_groups(values: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Normalise each column by mean and deviation of its group, float64, of the shape of `values`."""
    result, names = np.empty(values.shape), np.asarray(groups)
    for name in np.unique(names):
        rows = names == name
        result[rows] = standardise(values[rows], *moments(values[rows]))
    return result


def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each column; deviation 1 for a constant column, whatever its scale."""
    deviation = values.std(0)
    return values.mean(0), np.where(deviation > CONSTANT * np.abs(values).max(0), deviation, 1.0)


class RunningMoments:
    """Collects rows, (rows, values) each time, and computes their `moments` at the end."""

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
    """Subtract the mean and divide by the deviation."""
    return (values - mean) / deviation


@dataclass(frozen=True)
class Baseline:
    """A fitted classifier.

    Attributes:
        penalty: C with the best UA on validation speakers among `PENALTIES`; the smallest if several are equal.
        valid_ua: C -> UA on validation speakers, the mean over corpora.
        mean: of the training samples, (values,).
        deviation: of the training samples, (values,).
        model: sklearn.svm.SVC.
    """

    penalty: float
    valid_ua: dict[float, float]
    mean: np.ndarray
    deviation: np.ndarray
    model: Any

    def predict(self, values: np.ndarray) -> np.ndarray:
        """Predict class indices, (utterances,), from functionals after any normalisation by speaker."""
        return self.model.predict(standardise(values, self.mean, self.deviation))

    def tensors(self) -> Tensors:
        """The arrays of `ser.nets.LinearSVM`."""
        import torch

        # With two classes scikit-learn flips the sign: above 0 is the second class.
        sign = -1 if len(self.model.classes_) == 2 else 1
        arrays = {
            "mean": self.mean,
            "deviation": self.deviation,
            "weights": sign * self.model.coef_,
            "intercepts": sign * self.model.intercept_,
        }
        return {name: torch.from_numpy(np.array(values, np.float64)) for name, values in arrays.items()}


def fit(train: Sequence[Sample], valid: Mapping[str, Sample], classes: int, normalisation: str) -> Baseline:
    """Fit one classifier to the training samples of all corpora; validation samples are used to choose C only.

    Args:
        train: training samples of each corpus.
        valid: corpus -> validation samples.
        classes: number of classes.
        normalisation: "none": no standardisation by training statistics.

    Raises:
        InputError: there are no validation samples, or fewer than two classes to train.
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
    # The fit is deterministic, so it needs no seed.
    make = partial(SVC, kernel="linear", class_weight="balanced", max_iter=MAX_ITERATIONS)
    fitted = [Baseline(c, {}, mean, deviation, make(C=c).fit(scaled, targets)) for c in PENALTIES]
    uas = [
        float(np.mean([ua(confusion_matrix(y, one.predict(x), classes)) for x, y in valid.values()])) for one in fitted
    ]
    best = fitted[int(np.argmax(uas))]
    return Baseline(best.penalty, dict(zip(PENALTIES, uas, strict=True)), mean, deviation, best.model)
