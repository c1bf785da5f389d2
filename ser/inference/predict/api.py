"""The toolkit from Python:

from ser import load_model

model = load_model("models/ravdess")
for answer in model.predict(["one.wav", "two.flac"]):
    print(answer.id, answer.label, answer.confidence, answer.posteriors)
model.predict(samples, sampling_rate=16000)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ser.audio import Audio, check_length, check_rate, check_samples
from ser.common import InputError
from ser.inference.model import Model, open_model
from ser.inference.predict.answers import MIX, Answers, Prediction
from ser.inference.predict.inputs import Source, scratch, sources_of
from ser.inference.predictor import Predictor

Given = str | os.PathLike[str] | np.ndarray


class EmotionModel:
    """An opened model package that answers."""

    def __init__(self, model: Model) -> None:
        self.model = model

    @property
    def heads(self) -> dict[str, tuple[str, ...]]:
        """Head -> its labels."""
        return dict(self.model.heads)

    def predict(
        self,
        audio: Given | Sequence[Given],
        sampling_rate: int | None = None,
        *,
        head: str | None = None,
        channel: str | int = MIX,
        speakers: Sequence[str] | None = None,
        precision: float | None = None,
        raw: bool = False,
        path_column: str | None = None,
    ) -> list[Prediction]:
        """Answer files, folders, lists (as `ser predict` takes them) or samples, in the order given.

        What cannot be read has an `error` in its answer, and the others go on.

        Args:
            audio: one or several: paths, or samples, float, (samples,) or (channels, samples), of full scale 1.
            sampling_rate: of samples, in Hz.
            head: whose labels; "mean": the mean of all, which None means too where their labels are the same.
            channel: "mix", "each", or a number from 0.
            speakers: one for each of `audio`, where the model normalises by speaker.
            precision: the share of right answers that is wanted, on validation; other labels are withheld (None).
            raw: posteriors and confidence without calibration, as decoding gives them.
            path_column: of a table, where no name is one of PATH_COLUMNS.

        Raises:
            InputError: a folder without audio, a list that cannot be read, samples without a rate, no such head, or
                none is given and labels of heads differ.
        """
        given: list[Given] = list(audio) if isinstance(audio, list | tuple) else [audio]  # type: ignore[list-item]
        if speakers is not None and len(speakers) != len(given):
            raise InputError(f"{len(speakers)} speakers for {len(given)} of audio", "speakers", "give one for each")
        with scratch() as folder:
            sources: list[Source] = []
            for number, item in enumerate(given):
                if isinstance(item, str | os.PathLike):
                    own = sources_of(os.fspath(item), folder, path_column=path_column)
                else:
                    own = [_samples(np.asarray(item), sampling_rate, f"[{number}]")]
                sources += own if speakers is None else [replace(s, speaker=speakers[number]) for s in own]
            predictor = Predictor(self.model, head)
            return list(Answers(predictor, sources, str(channel), precision, raw))


def _samples(samples: np.ndarray, sampling_rate: int | None, name: str) -> Source:
    """Samples as a source; what is wrong with them is the error of their answer."""
    if sampling_rate is None:
        raise InputError("samples without their rate", name, "give sampling_rate, in Hz")
    check_rate(name, sampling_rate)
    if not np.issubdtype(samples.dtype, np.floating):
        raise InputError(f"samples of type {samples.dtype}", name, "give floats of full scale 1, such as int16 / 32768")
    own = np.atleast_2d(samples)
    if not samples.ndim or own.ndim != 2 or own.shape[1] < own.shape[0]:  # (samples, channels), or none
        return Source(name, problem=f"{name}: of shape {samples.shape}; give (samples,) or (channels, samples)")
    try:
        check_length(name, own.shape[1], sampling_rate)
        check_samples(name, own)
    except InputError as error:
        return Source(name, problem=str(error))
    return Source(name, audio=Audio(np.ascontiguousarray(own, np.float32), sampling_rate))


def load_model(path: str | os.PathLike[str], device: str = "cpu") -> EmotionModel:
    """Check and open a model package; nothing in it is run.

    Args:
        path: of a model package, or `<owner>/<name>@<revision>` of the hub.
        device: of torch, such as cpu or cuda.

    Returns:
        A model that answers, by `predict`.

    Raises:
        InputError: no model package, or one that is not as it was packed.
    """
    return EmotionModel(open_model(Path(path), device))
