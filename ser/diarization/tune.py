"""Choose the settings of a model on joined recordings of its validation speakers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from ser.common.progress import progress
from ser.diarization.decoders import Decoder
from ser.diarization.measure import Agreement, agree
from ser.diarization.segments import Segment, cell_edges, decode_segments, segments_of
from ser.diarization.settings import Settings
from ser.diarization.windows import Survey, Windows, score_windows, speech, survey
from ser.inference.predictor import Predictor

WINDOWS = (1.5, 2.0, 3.0)
MINIMA = (0.5, 1.0, 1.5)
SWITCHING = (2.0, 4.0, 8.0, 16.0)
NO_SPEECH = (0.25, 1.0)
DECIBELS = (35.0, 40.0, 45.0)


@dataclass(frozen=True)
class Scored:
    """A recording of one speaker that the network has scored with one length of window, and its reference."""

    windows: Windows
    survey: Survey
    reference: tuple[Segment, ...]


def score_recordings(
    recordings: Sequence[tuple[Path, tuple[Segment, ...]]], predictor: Predictor, settings: Settings
) -> list[Scored]:
    """The network's answers, which only `window`, `hop` and `normalisation` decide."""
    found = []
    for path, reference in progress(recordings, text=f"windows of {settings.window} s", unit="recording"):
        level = survey(path, predictor.sampling_rate, settings.hop)
        found.append(Scored(score_windows(path, predictor, settings, level, show=False)[0], level, reference))
    return found


def tune(
    recordings: Sequence[tuple[Path, tuple[Segment, ...]]], predictor: Predictor, start: Settings, decoder: Decoder
) -> tuple[Settings, Agreement]:
    """The settings of the highest frame accuracy, and of the least segment error among such, of all combinations above.

    Args:
        recordings: joined of validation speakers, one channel each.
        start: settings whose other values are kept.
    """
    best: tuple[tuple[float, float], Settings, Agreement] | None = None
    for window in WINDOWS:
        scored = score_recordings(recordings, predictor, replace(start, window=window))
        grid = list(product(MINIMA, SWITCHING, NO_SPEECH, DECIBELS))
        for minimum, switching, no_speech, decibels in progress(grid, text=f"{window} s", unit="setting"):
            settings = replace(
                start,
                window=window,
                minimum=minimum,
                switching_cost=switching,
                no_speech_cost=no_speech,
                no_speech_decibels=decibels,
            )
            found = measure(scored, settings, decoder)
            errors = 1 - found.frame_accuracy, found.segment_error
            if best is None or errors < best[0]:
                best = errors, settings, found
    assert best is not None
    return best[1], best[2]


def measure(scored: Sequence[Scored], settings: Settings, decoder: Decoder | None) -> Agreement:
    """The agreement of all recordings together.

    Args:
        decoder: None: every window has the label that is likeliest in it.
    """
    total: Agreement | None = None
    for one in scored:
        likely = speech(one.survey.levels[0], settings.no_speech_decibels)
        windows = replace(one.windows, speech=likely)
        duration = one.survey.duration
        if decoder is None:
            labels = windows.scores.argmax(1).astype(np.int64)
            edges = cell_edges(len(labels), windows.hop, duration)
            segments = segments_of(labels, windows, edges)
        else:
            segments = decode_segments(windows, settings, decoder, duration)[0]
        found = agree(segments, one.reference, duration, windows.classes)
        total = found if total is None else total + found
    assert total is not None
    return total
