"""A picture of a timeline: waveform, posteriors and decoded segments of each channel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ser.common.pictures import BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILION, YELLOW, save_picture, text_colour
from ser.diarization.segments import Channel, Timeline, cell_edges
from ser.inference.base import ABSTAINED

COLOURS = (VERMILION, ORANGE, GREEN, BLUE, PURPLE, SKY_BLUE, YELLOW)
GREY, WHITE = "#BBBBBB", "#FFFFFF"
# Least share of the width for a segment to get its name.
NAMED_SHARE = 0.05


def colours_of(classes: Sequence[str]) -> dict[str, str]:
    """A colour for each emotion, and grey for the last class, no speech."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(classes[:-1])} | {classes[-1]: GREY}


def draw_timeline(timeline: Timeline, path: Path) -> None:
    """Write the picture, in the format of its ending."""
    from matplotlib.figure import Figure

    count = len(timeline.channels)
    figure = Figure(figsize=(12, 0.6 + 3.4 * count), layout="constrained")
    axes = figure.subplots(3 * count, 1, sharex=True, height_ratios=[2, 2, 0.6] * count, squeeze=False)[:, 0]
    unit, divisor = ("min", 60.0) if timeline.duration > 600 else ("s", 1.0)
    colours = colours_of(timeline.classes)
    marks = colours | {ABSTAINED: WHITE}
    for number, channel in enumerate(timeline.channels):
        edges = np.array(cell_edges(len(channel.levels), timeline.hop, timeline.duration)) / divisor
        wave, stack, bars = axes[3 * number : 3 * number + 3]
        _waveform(wave, channel, edges)
        _posteriors(stack, channel, edges, colours)
        _segments(bars, channel, timeline.duration / divisor, divisor, marks)
        name = f"{timeline.recording}, {channel.name}" if count > 1 else timeline.recording
        wave.set_title(f"{name}; {channel.statistics}" if channel.statistics.source else name, loc="left")
    axes[-1].set_xlabel(unit)
    axes[-1].set_xlim(0, timeline.duration / divisor)
    handles, labels = axes[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False)
    save_picture(figure, path)


def _waveform(axes: Any, channel: Channel, edges: np.ndarray) -> None:
    low, high = channel.extremes.T
    axes.fill_between(edges, np.append(low, low[-1]), np.append(high, high[-1]), step="post", color="#444444", lw=0)
    limit = max(float(np.abs(channel.extremes).max()), 1e-4)
    axes.set_ylim(-limit, limit)
    axes.set_ylabel("waveform")


def _posteriors(axes: Any, channel: Channel, edges: np.ndarray, colours: dict[str, str]) -> None:
    values = np.concatenate([channel.posteriors, channel.posteriors[-1:]])
    axes.stackplot(edges, values.T, labels=list(colours), colors=list(colours.values()), step="post", lw=0)
    axes.set_ylim(0, 1)
    axes.set_ylabel("posteriors")


def _segments(axes: Any, channel: Channel, width: float, divisor: float, marks: dict[str, str]) -> None:
    for segment in channel.segments:
        start, end = segment.start / divisor, segment.end / divisor
        colour = marks[segment.label]
        axes.barh(0, end - start, left=start, height=1, color=colour, edgecolor=GREY, lw=0.5)
        if end - start > NAMED_SHARE * width:
            middle, ink = (start + end) / 2, text_colour(colour)
            axes.text(middle, 0, segment.label, ha="center", va="center", color=ink, fontsize=8)
    axes.set_ylim(-0.5, 0.5)
    axes.set_yticks([])
    axes.set_ylabel("decoded", rotation=0, ha="right", va="center")
