"""Timelines as files: RTTM, Praat's TextGrid, CSV, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from ser.common import write_text
from ser.common.output import csv_text, line
from ser.diarization.segments import Channel, Segment, Timeline, cell_edges
from ser.inference.base import ABSTAINED


def rttm(timeline: Timeline) -> str:
    """A line a segment: `SPEAKER <recording> <channel> <start> <duration> <NA> <type> <emotion> <confidence> <NA>`.

    The format of NIST's Rich Transcription evaluations, with the emotion where they have the speaker, who here is the
    channel. The type is `statistics=<source>` where the model is normalised by speaker, else `<NA>`: readers such as
    lhotse's take no line of comment. Fields end at white space, so that (and %) is written as in a URL, %20.
    """
    lines = []
    for channel in timeline.channels:
        kind = f"statistics={channel.statistics.source}" if channel.statistics.source else "<NA>"
        for segment in channel.segments:
            start, end = _microseconds(segment.start), _microseconds(segment.end)
            times = f"{start / 1e6:.6f} {(end - start) / 1e6:.6f}"
            about = f"<NA> {kind} {_field(segment.label)} {segment.confidence:.4f} <NA>"
            lines.append(f"SPEAKER {_field(timeline.recording)} {channel.number} {times} {about}\n")
    return "".join(lines)


def _microseconds(seconds: float) -> int:
    """Rounded down, so that start and duration never add up to more than the recording has."""
    return int(Decimal(repr(seconds)) * 1_000_000)


def _field(text: str) -> str:
    """Text without white space: that, control characters and % as in a URL."""
    return re.sub(r"[\s%\x00-\x1f\x7f]", lambda m: "".join(f"%{byte:02X}" for byte in m[0].encode()), text) or "%"


def textgrid(timeline: Timeline) -> str:
    """Praat's long text format: an interval tier a channel, with empty text where nobody speaks.

    A quotation mark within text is doubled; a line break, which Praat would show as one, is a space.
    """
    end = _number(timeline.duration)
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {end}"]
    lines += ["tiers? <exists>", f"size = {len(timeline.channels)}", "item []:"]
    for tier, channel in enumerate(timeline.channels, 1):
        intervals = _intervals(channel, timeline.duration)
        lines += [f"    item [{tier}]:", '        class = "IntervalTier"', f"        name = {_quoted(channel.name)}"]
        lines += ["        xmin = 0", f"        xmax = {end}", f"        intervals: size = {len(intervals)}"]
        for number, (start, stop, text) in enumerate(intervals, 1):
            lines += [f"        intervals [{number}]:", f"            xmin = {_number(start)}"]
            lines += [f"            xmax = {_number(stop)}", f"            text = {_quoted(text)}"]
    return "\n".join(lines) + "\n"


def _intervals(channel: Channel, duration: float) -> list[tuple[float, float, str]]:
    """Segments and, with empty text, what lies between them."""
    intervals, at = [], 0.0
    for segment in channel.segments:
        if segment.start > at:
            intervals.append((at, segment.start, ""))
        intervals.append((segment.start, segment.end, segment.label))
        at = segment.end
    if duration > at:
        intervals.append((at, duration, ""))
    return intervals


def _quoted(text: str) -> str:
    return '"' + line(" ".join(text.splitlines())).replace('"', '""') + '"'


def _number(seconds: float) -> str:
    """The shortest decimal that is read back as the same number."""
    return np.format_float_positional(seconds, trim="-")


def timeline_csv(timeline: Timeline) -> str:
    """CSV: recording, channel, start, end, emotion, confidence, source of the CMVN statistics."""
    rows: list[list[object]] = [["recording", "channel", "start", "end", "emotion", "confidence", "statistics"]]
    for channel in timeline.channels:
        source = channel.statistics.source or "none"
        for s in channel.segments:
            times = [_number(s.start), _number(s.end)]
            rows.append([timeline.recording, channel.number, *times, s.label, s.confidence, source])
    return csv_text(rows)


def posteriors_csv(timeline: Timeline) -> str:
    """CSV of each window: channel, start and end of its cell, level in dB, posterior of each class and of no speech."""
    rows: list[list[object]] = [["channel", "start", "end", "level", *timeline.classes]]
    for channel in timeline.channels:
        edges = cell_edges(len(channel.posteriors), timeline.hop, timeline.duration)
        for times, values, level in zip(pairwise(edges), channel.posteriors, channel.levels, strict=True):
            figures = [*map(_number, times), f"{level:.1f}", *(f"{value:.6f}" for value in values)]
            rows.append([channel.number, *figures])
    return csv_text(rows)


def timeline_json(timeline: Timeline, with_posteriors: bool) -> str:
    """Everything but the picture."""
    channels = []
    for channel in timeline.channels:
        statistics = channel.statistics
        values: dict[str, object] = {
            "channel": channel.number,
            "statistics": {"source": statistics.source or "none", "speech_seconds": round(statistics.seconds, 2)}
            | ({"speaker": statistics.speaker} if statistics.speaker else {}),
            "temperature": channel.confidence.temperature,
            "threshold": channel.confidence.threshold,
            "score": round(channel.score, 4),
            "segments": [_segment(segment) for segment in channel.segments],
        }
        if with_posteriors:
            values["posteriors"] = [[round(float(value), 6) for value in row] for row in channel.posteriors]
        channels.append(values)
    about = {
        "recording": timeline.recording,
        "duration": timeline.duration,
        "hop": timeline.hop,
        "classes": timeline.classes,
        "warnings": timeline.warnings,
        "channels": channels,
    }
    return json.dumps(about, ensure_ascii=False, indent=1) + "\n"


def _segment(segment: Segment) -> dict[str, object]:
    label = None if segment.label == ABSTAINED else segment.label
    return {"start": segment.start, "end": segment.end, "emotion": label, "confidence": segment.confidence}


FORMATS = ("rttm", "textgrid", "csv", "json", "png")
ENDINGS = {"textgrid": "TextGrid"}  # of files, where they differ from the format


def timeline_files(folder: Path, recording: str) -> list[Path]:
    """All files that `ser timeline` may write for a recording.

    Args:
        folder: of the files.
        recording: name of the recording, without suffix.
    """
    endings = [*(ENDINGS.get(name, name) for name in FORMATS), "posteriors.csv", "html"]
    return [folder / f"{recording}.{ending}" for ending in endings]


def write_timeline(timeline: Timeline, folder: Path, formats: list[str], with_posteriors: bool) -> list[Path]:
    """Write a timeline as <folder>/<recording>.<ending> in each format, and <recording>.posteriors.csv if asked for."""
    texts: dict[str, Callable[[Timeline], str]] = {"rttm": rttm, "textgrid": textgrid, "csv": timeline_csv}
    texts["json"] = partial(timeline_json, with_posteriors=with_posteriors)
    written = []
    for name in formats:
        path = folder / f"{timeline.recording}.{ENDINGS.get(name, name)}"
        if name == "png":
            from ser.diarization.picture import draw_timeline

            draw_timeline(timeline, path)
        else:
            write_text(path, texts[name](timeline))
        written.append(path)
    if with_posteriors:
        path = folder / f"{timeline.recording}.posteriors.csv"
        write_text(path, posteriors_csv(timeline))
        written.append(path)
    return written
