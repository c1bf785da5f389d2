"""Samples to posteriors of a model package, by the same code as in training and decoding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from ser.batches import by_length
from ser.batches.batch import MULTIPLE
from ser.common import InputError, digest
from ser.features import as_stored
from ser.frontends import build_frontend
from ser.frontends.preprocess import Preprocess, RunningStats
from ser.inference.base import CALIBRATIONS, BasePredictor, Statistics
from ser.inference.model import CARD, SUMS, Model
from ser.nets.evaluate import BATCH_FRAMES

if TYPE_CHECKING:
    from ser.inference.base import AnyRunningStats

MEAN = "mean"


class Predictor(BasePredictor):
    """The predictor of a model package.

    Args:
        head: name of a head, or "mean": the mean of all heads' posteriors, class by class (0 for a class that a head
            does not know). If one head serves all corpora and each has an adapter, also the name of a corpus. None:
            the mean, if all heads have the same labels.

    Attributes:
        pairs: (head, corpus whose adapter is used) of the heads in the mean.
        statistics: mean and deviation of each bin, (bins,) each, averaged over training speakers or corpora; None if
            the normalisation needs none.

    Raises:
        InputError: no such head; or none is given, and the heads have different labels, which a mean would mix.
    """

    running_stats: Callable[[], AnyRunningStats]

    def __init__(self, model: Model, head: str | None = MEAN) -> None:
        if head is None and len({frozenset(classes) for classes in model.heads.values()}) > 1:
            known = "; ".join(f"{name} ({', '.join(classes)})" for name, classes in model.heads.items())
            raise InputError(
                f"{model.folder}: the heads answer different labels: {known}", "--head", "give one of them"
            )
        self.model, self.head = model, MEAN if head is None else head
        self.frontend, self.batches = build_frontend(model.experiment), model.experiment.batches
        pairs = model.network.head_adapter_pairs()
        if self.head != MEAN and self.head not in pairs:
            named = self.head or "''"
            raise InputError(f"no head {named}; it has {', '.join(pairs)}, and {MEAN} of all", model.folder)
        self.pairs = list(pairs.values()) if self.head == MEAN else [pairs[self.head]]
        self.classes = tuple(dict.fromkeys(name for head, _ in self.pairs for name in model.heads[head]))
        self.statistics: Statistics | None = None
        if (means := model.description.get("group_statistics")) is not None:
            self.statistics = np.array(means["mean"], np.float32), np.array(means["deviation"], np.float32)
        self.preprocess = Preprocess(self.batches)
        self.sampling_rate, self.shortest = self.frontend.sampling_rate, self.frontend.shortest
        self.normalisation, self.trained = self.batches.normalisation, model.description.get("trained", {})
        by_kind = {key: model.description.get(key, {}) for key in CALIBRATIONS}
        self.calibrations = {key: heads[self.head] for key, heads in by_kind.items() if self.head in heads}
        self.running_stats = partial(RunningStats, self.frontend.width)
        self._functionals: Callable[[np.ndarray], np.ndarray] | None = None
        if (svm := model.description.get("svm")) is not None:
            from ser.training.svm_baseline import RunningMoments, functional_extractor

            self.running_stats = RunningMoments
            self._functionals = functional_extractor(svm["features"], model.experiment.features)

    def identity(self) -> str:
        """A digest of the model's files without those that a later check changes."""
        sums = (self.model.folder / SUMS).read_text(encoding="utf-8").splitlines()
        return digest([text for text in sums if not text[66:].startswith((CARD, "check"))])

    def spectrum(self, samples: np.ndarray) -> np.ndarray:
        """Samples, float32, (samples,), at `sampling_rate`, to features as stored, float32, (frames, width)."""
        return as_stored(self.frontend.extract(samples), self.frontend.storage)

    def preprocessed(self, spectrum: np.ndarray) -> np.ndarray:
        """Trimmed, floored and subsampled frames; for an SVM the functionals of all frames, float64, as one frame."""
        if self._functionals is not None:
            return self._functionals(spectrum)[None]
        x, lengths = self.preprocess.select(torch.from_numpy(spectrum)[None], torch.tensor([len(spectrum)]))
        return np.ascontiguousarray(x[0, : int(lengths)])

    def frames(self, samples: np.ndarray) -> np.ndarray:
        """Preprocessed features of samples."""
        return self.preprocessed(self.spectrum(samples))

    def normalised(self, frames: np.ndarray, statistics: Statistics | None = None) -> np.ndarray:
        """The model input.

        Args:
            frames: as `preprocessed` gives them.
            statistics: of the speaker or corpus; None: those of training. Normalisation "utterance" uses its own,
                "global" and "none" need none.
        """
        mean_and_deviation = map(torch.from_numpy, statistics or self.statistics or ())
        x, lengths = torch.from_numpy(frames)[None], torch.tensor([len(frames)])
        return self.preprocess.normalise(x, lengths, *mean_and_deviation)[0].numpy()

    def prepare(self, spectrum: np.ndarray, statistics: Statistics | None = None) -> np.ndarray:
        """The model input from stored features.

        Args:
            spectrum: as `spectrum` gives it, float32, (frames, width).
            statistics: as of `normalised`.

        Returns:
            float32, (frames, bins).
        """
        return self.normalised(self.preprocessed(spectrum), statistics)

    @torch.inference_mode()
    def posteriors(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        """As of `BasePredictor`; they do not depend on the batches."""
        result = np.empty((len(prepared), len(self.classes)), np.float32)
        for crops in by_length(np.array([len(values) for values in prepared]), BATCH_FRAMES):
            indices = [index for index, _, _ in crops]
            features = pad_sequence([torch.from_numpy(prepared[index]) for index in indices], batch_first=True)
            features = functional.pad(features, (0, 0, 0, -features.shape[1] % MULTIPLE))
            lengths = torch.tensor([rows for _, _, rows in crops])
            result[indices] = self._predict_batch(features, lengths).numpy()
        if not np.isfinite(result).all():
            raise InputError("gives posteriors that are not numbers", self.model.folder, "pack the model again")
        return result

    def _predict_batch(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Mean posteriors over the heads of the predictor, (batch, classes), on the CPU."""
        network, device = self.model.network, self.model.device
        pooled = network.embed(features.to(device), lengths.to(device))
        return network.average(pooled, self.pairs, self.classes).cpu()
