"""Explanation of a prediction: spectrogram, attention over time, posteriors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ser.audio import audio_info
from ser.augment.spectral import NEPERS_PER_DECIBEL
from ser.common import InputError
from ser.common.pictures import save_picture
from ser.frontends.log_stft import LogStft
from ser.inference.predict.inputs import Source
from ser.inference.predict.sound import read_mono
from ser.inference.predictor import Predictor
from ser.nets import SpeechEmotionNetwork
from ser.scoring.calibration import tempered

LONGEST = 60.0  # seconds in a picture
DYNAMIC_RANGE = 80  # dB of a spectrogram


@dataclass(frozen=True)
class Explanation:
    """What the network attends to in a file.

    Attributes:
        spectrum: the log-STFT of the whole file, (frames, bins), whatever the front end.
        used: start and end of the frames that the network gets, in seconds.
        step: seconds from one of these frames to the next.
        attention: weights of these frames, which sum to 1.
        posteriors: (classes,), calibrated as those of `ser predict`.
    """

    spectrum: np.ndarray
    used: tuple[float, float]
    step: float
    attention: np.ndarray
    posteriors: np.ndarray


def explain(predictor: Predictor, path: Path) -> Explanation:
    """Predict a file as `ser predict` does without its speaker, with the attention weights of the pooling.

    All heads have the same weights, for these belong to the trunk.

    Args:
        predictor: of a single network.
        path: of an audio file.

    Raises:
        InputError: the file cannot be read, or is too long; the pooling has no weights; or the model is no
            single network.
    """
    network, config = predictor.model.network, predictor.batches
    if not isinstance(network, SpeechEmotionNetwork):
        what = "an ensemble or an SVM, which has no attention of its own"
        raise InputError(what, predictor.model.folder, "give the package of a single network")
    weights_of: Any = getattr(network.pooling, "weights", None)
    if weights_of is None:
        raise InputError(f"its pooling, {predictor.model.experiment.pooling}, has no weights", predictor.model.folder)
    info = audio_info(path)
    seconds = info.num_samples / info.sampling_rate
    if seconds > LONGEST:
        raise InputError(f"{seconds:.0f} s, and a picture holds {LONGEST:.0f} s", path, "use `ser timeline`")
    source, frontend = Source(str(path), path), predictor.frontend
    samples = read_mono(source, frontend.sampling_rate)
    values = predictor.spectrum(samples)
    prepared = predictor.prepare(values)
    first, last = map(int, predictor.preprocess.span(torch.from_numpy(values)[None], torch.tensor([len(values)])))
    picture = LogStft(predictor.model.experiment.features)
    spectrum = picture.extract(read_mono(source, picture.sampling_rate))
    hop = frontend.frame_shift / frontend.sampling_rate
    start = (frontend.span(samples)[0] + (frontend.frame_length - frontend.frame_shift) / 2) / frontend.sampling_rate
    used = start + first * hop, start + last * hop
    with torch.inference_mode():
        lengths = torch.tensor([len(prepared)], device=predictor.model.device)
        frames = network.frames(torch.from_numpy(prepared)[None].to(predictor.model.device), lengths)
        attention = weights_of(*frames)[0].cpu().numpy()
    step = config.frame_step * hop * getattr(network.front, "subsampling", 1)
    temperature = predictor.confidence(input_statistics=False).temperature
    posteriors = tempered(predictor.posteriors([prepared]), temperature)[0]
    return Explanation(spectrum, used, step, attention, posteriors)


def draw_explanation(explanation: Explanation, predictor: Predictor, title: str, path: Path) -> None:
    """One picture: log power in dB over time and frequency, weights on the same time axis, posteriors beside them.

    Args:
        explanation: as `explain` gives it.
        predictor: of the same model.
        title: of the picture.
        path: of the picture: .png, .pdf or .svg.
    """
    from matplotlib.figure import Figure

    features = predictor.model.experiment.features
    hop, centre = features.frame_shift / features.sampling_rate, features.frame_length / features.sampling_rate / 2
    start, end = centre - hop / 2, centre + (len(explanation.spectrum) - 0.5) * hop
    decibels = explanation.spectrum.T / NEPERS_PER_DECIBEL
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    figure.suptitle(title)
    grid = figure.add_gridspec(2, 2, width_ratios=(4, 1), height_ratios=(2, 1))
    upper = figure.add_subplot(grid[0, 0])
    image = upper.imshow(
        decibels,
        aspect="auto",
        origin="lower",
        extent=(start, end, 0, features.sampling_rate / 2000),
        vmin=decibels.max() - DYNAMIC_RANGE,
        cmap="magma",
        interpolation="nearest",
    )
    figure.colorbar(image, ax=upper, label="log power, dB", pad=0.01)
    upper.set(ylabel="frequency, kHz")
    upper.tick_params(labelbottom=False)
    lower = figure.add_subplot(grid[1, 0], sharex=upper)
    first, last = explanation.used
    edges = np.minimum(first + np.arange(len(explanation.attention) + 1) * explanation.step, last)
    lower.stairs(100 * explanation.attention, edges, fill=True, color="tab:blue")
    lower.hlines(100 / len(explanation.attention), first, last, "black", "--", linewidth=1, label="all frames alike")
    for axes in (upper, lower):
        for outside in ((start, first), (last, end)):
            if outside[1] > outside[0]:
                axes.axvspan(*outside, color="grey", alpha=0.4, linewidth=0)
    lower.legend(loc="upper right", fontsize="small")
    cut = " (grey: silence that is cut off)" if last - first < end - start - hop else ""
    lower.set(xlabel=f"time, s{cut}", ylabel="attention, %", xlim=(start, end))
    lower.set_ylim(bottom=0)
    right = figure.add_subplot(grid[:, 1])
    best = int(explanation.posteriors.argmax())
    colours = ["tab:orange" if index == best else "tab:blue" for index in range(len(explanation.posteriors))]
    bars = right.barh(predictor.classes, 100 * explanation.posteriors, color=colours)
    right.bar_label(bars, fmt="%.0f", padding=2)
    right.set(xlabel="posterior, %", xlim=(0, 115))
    right.set_xticks([0, 50, 100])
    right.invert_yaxis()
    save_picture(figure, path)
