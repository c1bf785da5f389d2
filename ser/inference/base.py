"""What answers, a model or a graph of one: how it is asked, and how far its confidence is to be trusted."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser.common import InputError
from ser.common.cores import asked_threads, available_cores
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


class BasePredictor(ABC):
    """From samples to posteriors, in three steps, between which statistics of a speaker can be taken.

    Attributes:
        head: whose answers they are.
        classes: of the answers, in order.
        sampling_rate: of the samples that it takes, in Hz.
        shortest: samples of one frame.
        normalisation: of features.
        trained: what it was trained on: sampling_rates, and seconds of the shortest and the longest utterance.
        calibrations: of the head on validation, as model.json has them, by key of it; those that there are.
        running_stats: makes what takes the statistics of a speaker or corpus, of what `frames` gives of each of its
            files; None: files have no influence on one another.
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

    def calibration(self, named: bool) -> Mapping[str, Any]:
        """That of the head, as model.json has it; empty where there is none.

        Args:
            named: as of `confidence`.
        """
        return self.calibrations.get(CALIBRATIONS[self.grouped and not named], {})

    def confidence(self, named: bool, precision: float | None = None) -> Confidence:
        """The calibration of the head.

        Args:
            named: whether a model that is normalised by speaker or corpus gets statistics of the input; otherwise those
                of training, which have a calibration of their own. Of other models it does not matter.
            precision: share of right answers wanted on validation; None: every label is given.

        Raises:
            InputError: the precision was not reached on validation.
        """
        calibration = self.calibration(named)
        temperature = float(calibration.get("temperature", 1.0))
        if precision is None:
            return Confidence(temperature)
        confidence, right = (np.array(calibration.get(name, ())) for name in ("confidence", "right"))
        found = threshold_for(confidence, right, precision) if len(right) else None
        if found is None:
            raise InputError("not reached at any confidence on validation", f"precision {precision:g}", "ask for less")
        return Confidence(temperature, *found)

    @abstractmethod
    def identity(self) -> str:
        """Names the model, by its files."""

    @abstractmethod
    def frames(self, samples: np.ndarray) -> np.ndarray:
        """float32, (samples,), at `sampling_rate`, to what is normalised, an array of at least one frame."""

    def normalised(self, frames: np.ndarray, statistics: Statistics | None = None) -> np.ndarray:
        """What `posteriors` takes.

        Args:
            frames: as `frames` gives them.
            statistics: of the speaker or corpus; None: the training's.
        """
        return frames

    def statistics_of(self, files: Iterable[tuple[str, np.ndarray]]) -> dict[str, Statistics]:
        """Of each speaker or corpus, of the group and the `frames` of each file; a file of no group counts for none."""
        found: dict[str, AnyRunningStats] = {}
        for group, frames in files:
            if group and self.running_stats:
                found.setdefault(group, self.running_stats()).add(frames)
        return {group: own.finish() for group, own in found.items() if own.count}

    @abstractmethod
    def posteriors(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        """float32, (utterances, classes), in the order given.

        Raises:
            InputError: one is not a number.
        """


def open_predictor(path: Path, head: str | None, device: str = "cpu", speakers: Path | None = None) -> BasePredictor:
    """What answers: a model package, or a graph of one, which needs no torch.

    Args:
        path: a folder, or a file .onnx.
        head: as of `Predictor` and `GraphPredictor`.
        device: of torch.
        speakers: the file that names them, whose statistics a graph does not take.

    Raises:
        InputError: it cannot be opened, or a graph is given what only a package takes.
    """
    threads = asked_threads() or available_cores()
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
