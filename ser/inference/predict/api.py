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
    """An opened model package that predicts."""

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
        """Predict files, folders, lists (as of `ser predict`) or samples, in the order given.

        The prediction of a file that cannot be read has an `error`; the others are predicted.

        Args:
            audio: one or several: paths, or samples, float, (samples,) or (channels, samples), of full scale 1.
            sampling_rate: of samples, in Hz.
            head: name of a head; "mean": the mean of all heads; None: the mean, if all heads have the same labels.
            channel: "mix", "each", or a number from 0.
            speakers: one for each of `audio`, for models that are normalised by speaker.
            precision: on validation; labels below the confidence that it asks for are None. None: all labels are given.
            raw: posteriors and confidence without calibration, as decoding gives them.
            path_column: of a table whose columns have none of the names in PATH_COLUMNS.

        Raises:
            InputError: a folder without audio, a list that cannot be read, samples without a rate, no such head, or
                no head is given and the labels of heads differ.
        """
        items: list[Given] = list(audio) if isinstance(audio, list | tuple) else [audio]  # type: ignore[list-item]
        if speakers is not None and len(speakers) != len(items):
            raise InputError(f"{len(speakers)} speakers for {len(items)} of audio", "speakers", "give one for each")
        with scratch() as folder:
            sources: list[Source] = []
            for number, item in enumerate(items):
                if isinstance(item, str | os.PathLike):
                    new = sources_of(os.fspath(item), folder, path_column=path_column)
                else:
                    new = [_samples(np.asarray(item), sampling_rate, f"[{number}]")]
                sources += new if speakers is None else [replace(s, speaker=speakers[number]) for s in new]
            return list(Answers(Predictor(self.model, head), sources, str(channel), precision, raw))


def _samples(samples: np.ndarray, sampling_rate: int | None, name: str) -> Source:
    """Samples as a source; wrong samples are an error of their prediction."""
    if sampling_rate is None:
        raise InputError("samples without their rate", name, "give sampling_rate, in Hz")
    check_rate(name, sampling_rate)
    if not np.issubdtype(samples.dtype, np.floating):
        raise InputError(f"samples of type {samples.dtype}", name, "give floats of full scale 1, such as int16 / 32768")
    rows = np.atleast_2d(samples)
    if not samples.ndim or rows.ndim != 2 or rows.shape[1] < rows.shape[0]:  # (samples, channels), or none
        return Source(name, problem=f"{name}: of shape {samples.shape}; give (samples,) or (channels, samples)")
    try:
        check_length(name, rows.shape[1], sampling_rate)
        check_samples(name, rows)
    except InputError as error:
        return Source(name, problem=str(error))
    return Source(name, audio=Audio(np.ascontiguousarray(rows, np.float32), sampling_rate))


def load_model(path: str | os.PathLike[str], device: str = "cpu") -> EmotionModel:
    """Check and open a model package; no code in it is run.

    Args:
        path: of a model package, or `<owner>/<name>@<revision>` of the hub.
        device: of torch, such as cpu or cuda.

    Returns:
        A model with the method `predict`.

    Raises:
        InputError: no model package, or a changed one.
    """
    return EmotionModel(open_model(Path(path), device))
