"""The interface of predictors, a model package or a graph of one: samples to posteriors, and their calibration."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser.common import InputError
from ser.common.cores import default_threads
from ser.config.schema import GROUPED
from ser.scoring.calibration import threshold_for

if TYPE_CHECKING:
    from ser.frontends.preprocess import RunningStats
    from ser.training.svm_baseline import RunningMoments

    AnyRunningStats = RunningStats | RunningMoments

ABSTAINED = "-"  # in place of a label whose confidence is below the threshold
CALIBRATIONS = ("calibration", "calibration_without_speakers")
Statistics = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Confidence:
    """Calibration of posteriors p, and the least confidence for a label.

    Attributes:
        temperature: calibrated posteriors are softmax(log p / temperature).
        threshold: confidence below which no label is given; 0: all labels are given.
        coverage, precision: on validation, the share of utterances with a label, and the share of right labels.
    """

    temperature: float = 1.0
    threshold: float = 0.0
    coverage: float = 1.0
    precision: float = math.nan


class BasePredictor(ABC):
    """Samples to posteriors in three steps: `frames`, `normalised` by statistics of a group, `posteriors`.

    Attributes:
        head: name of the head, or "mean".
        classes: of the posteriors, in order.
        sampling_rate: of the samples, in Hz.
        shortest: samples of one frame.
        normalisation: of features.
        trained: the training set: sampling_rates, and seconds of the shortest and the longest utterance.
        calibrations: of the head on validation, by their keys in model.json.
        running_stats: makes running statistics of a speaker or corpus, over the `frames` of its files; None: the
            predictor takes no statistics of the input.
    """

    head: str
    classes: tuple[str, ...]
    sampling_rate: int
    shortest: int
    normalisation: str
    trained: Mapping[str, Any]
    calibrations: Mapping[str, Mapping[str, Any]]
    running_stats: Callable[[], AnyRunningStats] | None = None

    @property
    def grouped(self) -> bool:
        """Whether features are normalised by speaker or corpus."""
        return self.normalisation in GROUPED

    def calibration(self, input_statistics: bool) -> Mapping[str, Any]:
        """The calibration of the head, as model.json has it; empty if there is none.

        Args:
            input_statistics: as of `confidence`.
        """
        return self.calibrations.get(CALIBRATIONS[self.grouped and not input_statistics], {})

    def confidence(self, input_statistics: bool, precision: float | None = None) -> Confidence:
        """The calibration of the head, and the threshold for a precision.

        Args:
            input_statistics: whether a model that is normalised by speaker or corpus gets statistics of the input; with
                those of training it has another calibration. Other models have one calibration.
            precision: least share of right labels on validation; None: all labels are given.

        Raises:
            InputError: the precision was not reached on validation.
        """
        calibration = self.calibration(input_statistics)
        temperature = float(calibration.get("temperature", 1.0))
        if precision is None:
            return Confidence(temperature)
        confidence, right = (np.array(calibration.get(name, ())) for name in ("confidence", "right"))
        operating_point = threshold_for(confidence, right, precision) if len(right) else None
        if operating_point is None:
            raise InputError("not reached at any confidence on validation", f"precision {precision:g}", "ask for less")
        return Confidence(temperature, *operating_point)

    @abstractmethod
    def identity(self) -> str:
        """A digest or checksum that names the model."""

    @abstractmethod
    def frames(self, samples: np.ndarray) -> np.ndarray:
        """Samples, float32, (samples,), at `sampling_rate`, to features before CMVN, at least one frame."""

    def normalised(self, frames: np.ndarray, statistics: Statistics | None = None) -> np.ndarray:
        """Features after CMVN, the input of `posteriors`.

        Args:
            frames: as `frames` gives them.
            statistics: of the speaker or corpus; None: those of training.
        """
        return frames

    def group_statistics_of(self, files: Iterable[tuple[str, np.ndarray]]) -> dict[str, Statistics]:
        """Statistics of each group (speaker or corpus), of pairs of a file's group and `frames`; "" is no group."""
        running: dict[str, AnyRunningStats] = {}
        for group, frames in files:
            if group and self.running_stats:
                running.setdefault(group, self.running_stats()).add(frames)
        return {group: stats.finish() for group, stats in running.items() if stats.count}

    @abstractmethod
    def posteriors(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        """Posteriors, float32, (utterances, classes), in the order given.

        Raises:
            InputError: a posterior is not a number.
        """


def open_predictor(path: Path, head: str | None, device: str = "cpu", speakers: Path | None = None) -> BasePredictor:
    """Open a model package, or a graph of one, which needs no torch.

    Args:
        path: a folder, or a file .onnx.
        head: as of `Predictor` and `GraphPredictor`.
        device: of torch.
        speakers: the utt2spk file, if there is one.

    Raises:
        InputError: it cannot be opened, or a graph is given a device or speakers.
    """
    threads = default_threads()
    if path.suffix == ".onnx":
        from ser.inference.onnx.runtime import GraphPredictor

        if speakers:
            raise InputError("a graph takes no statistics from files", "--utt2spk", "give the model package it is of")
        if device != "cpu":
            raise InputError("a graph is computed on the CPU", f"--device {device}", "leave it out")
        return GraphPredictor(path, head, threads)
    import torch

    from ser.inference.model import open_model
    from ser.inference.predictor import Predictor

    torch.set_num_threads(threads)
    return Predictor(open_model(path, device), head)
