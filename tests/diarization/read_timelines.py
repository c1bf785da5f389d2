"""Timelines read back from the files that the toolkit writes."""

import csv
import re
from pathlib import Path
from urllib.parse import unquote

from ser.diarization.segments import Segment


def read_rttm(path: Path) -> dict[tuple[str, int], list[Segment]]:
    """(recording, channel) -> its segments."""
    found: dict[tuple[str, int], list[Segment]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        kind, name, channel, start, length, _, _, label, confidence, _ = line.split()
        assert kind == "SPEAKER"
        end = round(float(start) + float(length), 6)
        found.setdefault((unquote(name), int(channel)), []).append(
            Segment(float(start), end, unquote(label), float(confidence))
        )
    return found


def read_textgrid(path: Path) -> dict[str, list[tuple[float, float, str]]]:
    """Tier -> its intervals (start, end, text), those without text too."""
    text = path.read_text(encoding="utf-8")
    found: dict[str, list[tuple[float, float, str]]] = {}
    quoted = r'"((?:[^"]|"")*)"'
    for tier in re.split(r"\n    item \[\d+\]:", text)[1:]:
        name = re.search(rf"name = {quoted}", tier)[1]
        parts = re.findall(rf"intervals \[\d+\]:\s+xmin = (\S+)\s+xmax = (\S+)\s+text = {quoted}", tier)
        found[name.replace('""', '"')] = [(float(a), float(b), text.replace('""', '"')) for a, b, text in parts]
    return found


def read_table(path: Path) -> dict[tuple[str, int], list[Segment]]:
    """(recording, channel) -> its segments."""
    found: dict[tuple[str, int], list[Segment]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            segment = Segment(float(row["start"]), float(row["end"]), row["emotion"], float(row["confidence"]))
            found.setdefault((row["recording"], int(row["channel"])), []).append(segment)
    return found
