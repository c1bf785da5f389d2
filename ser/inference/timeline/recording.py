"""From a recording to its timeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ser.inference.predictor import Predictor
from ser.inference.timeline.decoders import Decoder
from ser.inference.timeline.segments import Channel, Timeline, decode, names
from ser.inference.timeline.settings import Settings
from ser.inference.timeline.windows import hear, survey


def timeline_of(
    path: Path, predictor: Predictor, settings: Settings, decoder: Decoder, count: int = 1, show: bool = True
) -> Timeline:
    """The timeline of a recording, with the `count` best paths of each channel.

    Args:
        show: whether there is a progress bar.

    Raises:
        InputError: the file cannot be read.
    """
    found = survey(path, predictor.frontend.sampling_rate, settings.hop)
    channels = []
    for windows in hear(path, predictor, settings, found, show):
        paths = tuple(decode(windows, settings, decoder, found.duration, count))
        number = windows.channel
        levels, extremes = found.levels[number], found.extremes[number]
        channels.append(Channel(number + 1, paths, np.exp(windows.scores), levels, extremes))
    return Timeline(path.stem, found.duration, found.hop, names(predictor.classes), tuple(channels))
