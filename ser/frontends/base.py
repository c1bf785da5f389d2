"""What every front end offers: from samples to frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ser.common import InputError

if TYPE_CHECKING:
    from torch import nn

    from ser.config import Experiment

# Settings of batches that need log power, those that need it on a linear scale of frequency, and those that change what
# layers that are trained get; their values for off.
OF_LOG_POWER = {"trim_decibels": 0, "floor_decibels": 0}
OF_TRAINABLE = {"normalisation": "none", "frame_step": 1}
OF_LINEAR_FREQUENCY = {"vtlp": 0, "speeds": [1.0]}


class Frontend(ABC):
    """Samples to frames of features.

    Attributes:
        name: in the registry.
        sampling_rate: of the samples that it takes, in Hz.
        frame_shift: samples from frame to frame.
        frame_length: samples that a frame is of, its context aside.
        shortest: samples; what is shorter is padded with zeros.
        dim: values of a frame and layer.
        layers: a frame's, side by side in one row.
        storage: how values are stored, "int16" or "float32".
        log_power: whether values are natural logarithms of power, so that stored frames have levels to trim by.
        linear_frequency: whether these are at evenly spaced frequencies too, so that they can be warped.
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
        """What decides the values, as JSON: part of the key of stored features."""

    @abstractmethod
    def num_frames(self, num_samples: int) -> int:
        """Frames of so many samples, before padding and trimming; 0 where they are too few."""

    @abstractmethod
    def extract(self, samples: np.ndarray) -> np.ndarray:
        """Samples, float32, (samples,), of full scale 1, to float32, (frames, width), one frame at least."""

    def extract_all(self, samples: Sequence[np.ndarray]) -> list[np.ndarray]:
        """`extract` of each, for front ends that are faster with several at once."""
        return [self.extract(x) for x in samples]

    def span(self, samples: np.ndarray) -> tuple[int, int]:
        """The first sample that frames are made of, and the one behind the last."""
        return 0, len(samples)

    def graph(self) -> nn.Module:
        """`extract` in tensor operations alone, for graphs: a module from padded samples, (batch, samples), and their
        lengths, (batch,), to features, (batch, frames, width), and theirs.

        Raises:
            InputError: there is none.
        """
        raise InputError(
            "cannot be part of a graph", f"front end {self.name}", "export from its features with --input spectrum"
        )

    def trainable(self) -> nn.Module | None:
        """What of it is trained as part of the network: a module from stored frames, (batch, frames, width), and their
        lengths, (batch,), to others of its `width` and `layers`, and their lengths. None: it is frozen."""
        return None

    @classmethod
    def check(cls, experiment: Experiment) -> None:
        """Refuse settings that mean nothing with this front end.

        Raises:
            InputError: naming the key.
        """
        if (trainable := experiment.frontend.trainable) != "none":
            if cls.name != "pretrained":
                raise InputError(
                    f"front end {cls.name} has no weights", f"frontend.trainable = {trainable}", "set it to none"
                )
            for name, needed in OF_TRAINABLE.items():
                if (value := getattr(experiment.batches, name)) != needed:
                    raise InputError(
                        f"frontend.trainable = {trainable} needs the frames as the encoder gives them",
                        f"batches.{name} = {value}",
                        f"set it to {needed}",
                    )
        wanted = ({} if cls.log_power else OF_LOG_POWER) | ({} if cls.linear_frequency else OF_LINEAR_FREQUENCY)
        for name, off in wanted.items():
            if (value := getattr(experiment.batches, name)) != off:
                raise InputError(
                    f"works on a log-power spectrum, which front end {experiment.frontend.name} does not give",
                    f"batches.{name} = {value}",
                    f"set it to {off}",
                )
