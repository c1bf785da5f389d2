"""The page of a timeline, through one template."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from ser.common import read_typed, write_text
from ser.common.output import html_template, line
from ser.common.pictures import text_colour
from ser.diarization.html.sound import CODECS, LONGEST, read_page_audio
from ser.diarization.picture import colours_of
from ser.diarization.segments import Timeline
from ser.inference.base import ABSTAINED
from ser.inference.card import LIMITS

if TYPE_CHECKING:
    from ser.inference.predictor import Predictor

FOLDER = Path(__file__).parent
UNLABELLED = "no label"


def write_timeline_page(timeline: Timeline, path: Path, predictor: Predictor, out: Path, codec: str) -> str:
    """Write the page, whole or not at all.

    Args:
        path: of the recording.
        codec: "opus", "mp3", or "none" for a page without audio.

    Returns:
        A warning; "" where there is none.

    Raises:
        InputError: the recording cannot be read, or check.json of the model is damaged.
    """
    warning = ""
    if codec in CODECS and timeline.duration > LONGEST:
        warning = f"{timeline.duration / 3600:.1f} hours, and a page holds {LONGEST / 3600:.0f}: written without audio"
        codec = "none"
    sound = read_page_audio(path, len(timeline.channels), codec)
    colours = colours_of(timeline.classes)
    data = {
        "duration": timeline.duration,
        "hop": timeline.hop,
        "peakRate": sound.peak_rate,
        "classes": timeline.classes,
        "colours": list(colours.values()),
        "channels": [
            {"peaks": _base64(sound.peaks[number]), "posteriors": _base64(np.rint(channel.posteriors * 255), np.uint8)}
            for number, channel in enumerate(timeline.channels)
        ],
    }
    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    context = {
        "timeline": timeline,
        "clock": clock,
        "name": line(timeline.recording),
        "any_abstained": any(s.label == ABSTAINED for c in timeline.channels for s in c.segments),
        "data": data,
        "audio": sound.audio,
        "styles": {name: f"background:{c};color:{text_colour(c)}" for name, c in colours.items()},
        "emotions": timeline.classes[:-1],
        "abstained": ABSTAINED,
        "unlabelled": UNLABELLED,
        "trust": trust(timeline, predictor),
        "robustness": robustness(predictor.model.folder),
        "limits": " ".join(LIMITS.split("\n\n", 1)[1].split()).replace("corpora above", "training corpora"),
        "warning": warning,
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "style": (FOLDER / "style.css").read_text(encoding="utf-8"),
    }
    write_text(out, html_template(FOLDER / "page.html").render(context))
    return warning


def _base64(values: np.ndarray, kind: type = np.int8) -> str:
    return base64.b64encode(np.ascontiguousarray(values.astype(kind)).tobytes()).decode()


def clock(seconds: float) -> str:
    """Minutes and seconds, such as 1:05.2."""
    tenths = int(seconds * 10 + 1e-6)
    return f"{tenths // 600}:{tenths % 600 // 10:02}.{tenths % 10}"


def trust(timeline: Timeline, predictor: Predictor) -> list[tuple[str, list[str]]]:
    """Scores, normalisation, abstention and calibration of the model, as terms and statements about each."""
    description = predictor.model.description
    metrics = description["metrics"]
    tested = [
        f"{corpus}: {100 * scores['ua']:.1f} % on {scores['n']} utterances"
        for corpus, scores in metrics["test"].items()
    ]
    terms = [
        ("Model", [f"{description['provenance']['experiment']}, head {predictor.head}"]),
        (f"UA on {metrics['part']} speakers, who are not in training", tested),
    ]
    if any(channel.statistics.source for channel in timeline.channels):
        used = [f"{channel.name}: {channel.statistics}" for channel in timeline.channels]
        terms.append((f"Normalisation by {predictor.normalisation}", [*used, *timeline.warnings]))
    confidences = dict.fromkeys(channel.confidence for channel in timeline.channels)
    lines = []
    for confidence in confidences:
        channels = [channel for channel in timeline.channels if channel.confidence == confidence]
        names = ", ".join(channel.name for channel in channels)
        segments = [segment for channel in channels for segment in channel.segments]
        abstained = sum(segment.label == ABSTAINED for segment in segments)
        text = "every segment has a label"
        if confidence.threshold:
            text = (
                f"{abstained} of {len(segments)} segments have no label, for their confidence is below "
                f"{confidence.threshold:.2f}; above it, {100 * confidence.precision:.1f} % of answers on validation "
                f"were right ({100 * confidence.coverage:.0f} % of the utterances)"
            )
        lines.append(f"{names}: {text}")
    temperatures = ", ".join(f"{confidence.temperature:.2f}" for confidence in confidences)
    calibration = (
        f"Calibrated on whole utterances of validation speakers (temperature {temperatures}); segments of "
        "continuous speech are other material, so it is a guide, not a promise."
    )
    return [*terms, ("Abstention", lines), ("Confidence", [calibration])]


class CheckRow(TypedDict):
    """A row of check.json."""

    corpus: str
    gender: str
    condition: str
    n: int
    ua: float


class CheckRows(TypedDict):
    """check.json, which `ser check` writes beside the card."""

    rows: list[CheckRow]


def robustness(model: Path) -> list[CheckRow]:
    """UA under noise, telephone band and so on, of `ser check`; none where the model has no check.

    Raises:
        InputError: check.json is damaged.
    """
    path = model / "check.json"
    if not path.is_file():
        return []
    check = read_typed(path, CheckRows, "not a check of a model", "run `ser check --card true` again")
    return [row for row in check["rows"] if not row["gender"]]
