"""Choose the settings of a model on joined recordings of its validation speakers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from ser.common.progress import progress
from ser.diarization.decoders import Decoder
from ser.diarization.measure import Agreement, compare_segments, sum_agreements
from ser.diarization.segments import Segment, cell_edges, decode_segments, segments_of
from ser.diarization.settings import Settings
from ser.diarization.windows import RecordingLevels, Windows, read_levels, score_windows, speech_probability
from ser.inference.predictor import Predictor

WINDOWS = (1.5, 2.0, 3.0)
MINIMA = (0.5, 1.0, 1.5)
SWITCHING = (2.0, 4.0, 8.0, 16.0)
NO_SPEECH = (0.25, 1.0)
DECIBELS = (35.0, 40.0, 45.0)


# A recording of one speaker: the network's posteriors for one length of window, levels, and the reference.
ScoredRecording = tuple[Windows, RecordingLevels, tuple[Segment, ...]]


def score_recordings(
    recordings: Sequence[tuple[Path, tuple[Segment, ...]]], predictor: Predictor, settings: Settings
) -> list[ScoredRecording]:
    """The network's posteriors, which depend on `window`, `hop` and `normalisation` alone."""
    scored = []
    for path, reference in progress(recordings, text=f"windows of {settings.window} s", unit="recording"):
        levels = read_levels(path, predictor.sampling_rate, settings.hop)
        windows = score_windows(path, predictor, settings, levels, show=False)[0]
        scored.append((windows, levels, reference))
    return scored


def tune(
    recordings: Sequence[tuple[Path, tuple[Segment, ...]]], predictor: Predictor, start: Settings, decoder: Decoder
) -> tuple[Settings, Agreement]:
    """Grid search over the values above: the highest frame accuracy, and among equal ones the least segment error.

    Args:
        recordings: joined of validation speakers, one channel each.
        start: other settings, which stay as they are.
    """
    tried: list[tuple[tuple[float, float], Settings, Agreement]] = []
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
            agreement = measure(scored, settings, decoder)
            tried.append(((1 - agreement.frame_accuracy, agreement.segment_error), settings, agreement))
    _, settings, agreement = min(tried, key=lambda one: one[0])
    return settings, agreement


def measure(scored: Sequence[ScoredRecording], settings: Settings, decoder: Decoder | None) -> Agreement:
    """The agreement of all recordings together.

    Args:
        decoder: None: every window has its most probable label.
    """
    agreements = []
    for scored_windows, levels, reference in scored:
        speech = speech_probability(levels.levels[0], settings.no_speech_decibels)
        windows, duration = replace(scored_windows, speech=speech), levels.duration
        if decoder is None:
            labels = windows.scores.argmax(1)
            segments = segments_of(labels, windows, cell_edges(len(labels), windows.hop, duration))
        else:
            segments = decode_segments(windows, settings, decoder, duration)[0]
        agreements.append(compare_segments(segments, reference, duration, windows.classes))
    return sum_agreements(agreements)
