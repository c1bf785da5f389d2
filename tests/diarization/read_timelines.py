"""Timelines read back from the files that the toolkit writes."""

import csv
import re
from pathlib import Path
from urllib.parse import unquote

from ser.common import InputError
from ser.diarization.segments import Segment


def read_rttm(path: Path) -> dict[tuple[str, int], list[Segment]]:
    """(recording, channel) -> its segments.

    Raises:
        InputError: a line that is not of the format.
    """
    found: dict[tuple[str, int], list[Segment]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split()
        if not fields or fields[0] != "SPEAKER":
            continue
        try:
            _, name, channel, start, length, _, _, label, confidence, *_ = fields
            segment = Segment(
                float(start),
                round(float(start) + float(length), 6),
                unquote(label),
                1.0 if confidence == "<NA>" else float(confidence),
            )
            found.setdefault((unquote(name), int(channel)), []).append(segment)
        except ValueError:
            raise InputError(f"{path}:{number}: not a line of RTTM; fix it") from None
    return found


def read_textgrid(path: Path) -> dict[str, list[tuple[float, float, str]]]:
    """Tier -> its intervals (start, end, text), those without text too.

    Raises:
        InputError: it is no TextGrid in the long text format.
    """
    text = path.read_text(encoding="utf-8")
    if not text.startswith('File type = "ooTextFile"'):
        raise InputError(f"{path}: not a TextGrid in Praat's text format")
    found: dict[str, list[tuple[float, float, str]]] = {}
    quoted = r'"((?:[^"]|"")*)"'
    for tier in re.split(r"\n    item \[\d+\]:", text)[1:]:
        name = re.search(rf"name = {quoted}", tier)
        if name is None:
            raise InputError(f"{path}: a tier without a name; fix it")
        parts = re.findall(rf"intervals \[\d+\]:\s+xmin = (\S+)\s+xmax = (\S+)\s+text = {quoted}", tier)
        found[name[1].replace('""', '"')] = [(float(a), float(b), text.replace('""', '"')) for a, b, text in parts]
    return found


def read_table(path: Path) -> dict[tuple[str, int], list[Segment]]:
    """(recording, channel) -> its segments."""
    found: dict[tuple[str, int], list[Segment]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            segment = Segment(float(row["start"]), float(row["end"]), row["emotion"], float(row["confidence"]))
            found.setdefault((row["recording"], int(row["channel"])), []).append(segment)
    return found
