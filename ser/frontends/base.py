"""The interface of front ends: samples to frames of features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ser.common import InputError

if TYPE_CHECKING:
    from torch import nn

    from ser.config import Experiment

# Settings of batches with the values that turn them off: those that need log power, those that need it at evenly spaced
# frequencies, and those that may not change the input of trained layers.
LOG_POWER_SETTINGS = {"trim_decibels": 0, "floor_decibels": 0}
LINEAR_FREQUENCY_SETTINGS = {"vtlp": 0, "speeds": [1.0]}
TRAINABLE_SETTINGS = {"normalisation": "none", "frame_step": 1}


class Frontend(ABC):
    """Samples to frames of features.

    Attributes:
        name: in the registry.
        sampling_rate: of the samples, in Hz.
        frame_shift: samples from frame to frame.
        frame_length: samples of a frame, without the context of an encoder.
        shortest: samples; shorter recordings are padded with zeros.
        dim: values of a frame in a layer.
        layers: of a frame, side by side in one row.
        storage: type of stored values, "int16" or "float32".
        log_power: whether values are natural logarithms of power, so that frames can be trimmed by their level.
        linear_frequency: whether these are at evenly spaced frequencies, so that frequencies can be warped.
    """

    name: ClassVar[str]
    log_power: ClassVar[bool] = False
    linear_frequency: ClassVar[bool] = False
    storage: str
    sampling_rate: int
    frame_shift: int
    frame_length: int
    shortest: int
    dim: int
    layers: int = 1

    @property
    def width(self) -> int:
        """Columns of a frame."""
        return self.dim * self.layers

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """All that the values depend on, as JSON: part of the key of stored features."""

    @abstractmethod
    def num_frames(self, num_samples: int) -> int:
        """Number of frames before padding and trimming; 0 for too few samples."""

    @abstractmethod
    def extract(self, samples: np.ndarray) -> np.ndarray:
        """Samples, float32, (samples,), of full scale 1, to float32, (frames, width), one frame at least."""

    def extract_all(self, samples: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Features of several recordings, for front ends that are faster with several at once."""
        return [self.extract(x) for x in samples]

    def span(self, samples: np.ndarray) -> tuple[int, int]:
        """The first sample of the first frame, and the end of the last frame, after trimming."""
        return 0, len(samples)

    def graph(self) -> nn.Module:
        """`extract` in tensor operations alone, for export as a graph.

        Returns:
            A module from padded samples, (batch, samples), and their lengths, (batch,), to features, (batch, frames,
            width), and their lengths.

        Raises:
            InputError: the front end has none.
        """
        raise InputError(
            "cannot be part of a graph", f"front end {self.name}", "export from its features with --input spectrum"
        )

    def trainable(self) -> nn.Module | None:
        """The layers that are trained with the network; None: the front end is frozen.

        Returns:
            A module from stored frames, (batch, frames, width), and their lengths, (batch,), to frames of the module's
            `width` and `layers`, and their lengths.
        """
        return None

    @classmethod
    def check(cls, experiment: Experiment) -> None:
        """Refuse settings that this front end cannot follow.

        Raises:
            InputError: it names the key.
        """
        must_be_off = {}
        if (trainable := experiment.frontend.trainable) != "none":
            if cls.name != "pretrained":
                what = f"front end {cls.name} has no weights"
                raise InputError(what, f"frontend.trainable = {trainable}", "set it to none")
            reason = f"frontend.trainable = {trainable} needs the frames as the encoder gives them"
            must_be_off[reason] = TRAINABLE_SETTINGS
        reason = f"works on a log-power spectrum, which front end {experiment.frontend.name} does not give"
        must_be_off[reason] = ({} if cls.log_power else LOG_POWER_SETTINGS) | (
            {} if cls.linear_frequency else LINEAR_FREQUENCY_SETTINGS
        )
        for reason, settings in must_be_off.items():
            for name, off in settings.items():
                if (value := getattr(experiment.batches, name)) != off:
                    raise InputError(reason, f"batches.{name} = {value}", f"set it to {off}")
