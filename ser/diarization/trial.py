"""What the decoder is worth: tuned on validation speakers, measured on test speakers, with and without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser.common import InputError, write_text
from ser.corpora import read_protocol
from ser.corpora.protocol import PARTS
from ser.corpora.splits import with_splits
from ser.diarization.decoders import Decoder
from ser.diarization.joined import ENDS, LONGEST, PAUSES, TURN, join_all, known_utterances
from ser.diarization.measure import FRAME, Agreement
from ser.diarization.segments import Channel, Segment, Timeline
from ser.diarization.settings import NO_SPEECH, Settings, write_settings
from ser.diarization.tune import measure, score_recordings, tune
from ser.diarization.writers import rttm
from ser.inference.model import open_model
from ser.inference.predictor import Predictor

Recordings = list[tuple[Path, tuple[Segment, ...]]]


@dataclass(frozen=True)
class Measured:
    """Agreement on the recordings of a corpus, without the decoder and with it."""

    recordings: int
    without: Agreement
    decoded: Agreement


@dataclass(frozen=True)
class Outcome:
    """Of one model.

    Attributes:
        cell: what was trained: corpora, task, blocks, preset.
        settings: as tuned, where they were.
        tuned: agreement on the recordings that they were tuned on; None: not tuned.
        measured: by corpus.
    """

    model: str
    cell: str
    settings: Settings
    tuned: Agreement | None
    measured: dict[str, Measured]


class Trial:
    """A model, and the corpora whose recordings are joined for it.

    Args:
        orders: recordings of each speaker.
        longest: utterances in a recording at most.
    """

    def __init__(
        self, model: Path, data: Path, recipe: Path | None, out: Path, seed: int, orders: int, longest: int = LONGEST
    ) -> None:
        self.name, self.out = model.name, out / model.name
        self.data, self.recipe, self.seed, self.orders, self.longest = data, recipe, seed, orders, longest
        self.predictor = Predictor(open_model(model))
        self.experiment = self.predictor.model.experiment

    def run(self, start: Settings, decoder: Decoder, unseen: Sequence[str], tuning: bool = True) -> Outcome:
        """Tune, write <out>/<model>/timeline_<normalisation>.yaml, measure; or measure the settings as they are.

        Raises:
            InputError: a corpus of `unseen` was trained on, or one is not prepared.
        """
        known = self.experiment.corpora
        for corpus in unseen:
            if corpus in known:
                raise InputError(f"{self.name} was trained on it", f"--unseen {corpus}", "leave it out")
        settings, tuned = start, None
        if tuning:
            valid = [one for corpus in known for one in self.join(corpus, ("valid",))]
            settings, tuned = tune(valid, self.predictor, start, decoder)
            path = self.out / f"timeline_{settings.normalisation}.yaml"
            write_settings(settings, path, f"tuned for {self.name} on {len(valid)} joined recordings")
        measured = {}
        for corpus in (*known, *unseen):
            recordings = self.join(corpus, PARTS if corpus in unseen else ("test",))
            if recordings:
                scored = score_recordings(recordings, self.predictor, settings)
                without, decoded = (measure(scored, settings, way) for way in (None, decoder))
                measured[corpus] = Measured(len(recordings), without, decoded)
        e = self.experiment
        cell = f"{e.combination} {e.task}_{e.temporal}_{e.pooling}, preset {e.preset}, split {e.split}"
        return Outcome(self.name, cell, settings, tuned, measured)

    def join(self, corpus: str, parts: Sequence[str]) -> Recordings:
        """Recordings of the speakers of some parts, below <out>/<model>/, with their references; none where a part has
        no speaker."""
        protocol = with_splits(read_protocol(corpus, self.recipe), self.data / corpus)
        known = known_utterances(self.data, protocol, self.experiment, parts)
        known = [one for one in known if one.emotion in self.predictor.classes]
        if not known:
            return []
        folder = self.out / "-".join(parts)
        found = []
        for one in join_all(known, self.experiment.features, self.seed, self.orders, corpus, self.longest):
            duration = len(one.samples) / one.rate
            nothing = np.empty((0, 0), np.float32)
            channel = Channel(1, one.reference, 0.0, nothing, nothing, nothing)
            classes = (*self.predictor.classes, NO_SPEECH)
            text = rttm(Timeline(one.name, duration, 0, classes, (channel,)))
            write_text(folder / f"{one.name}.rttm", text)
            found.append((one.write(folder), one.reference))
        return found


TUNED = ("window", "minimum", "switching_cost", "no_speech_cost", "no_speech_decibels", "normalisation")


def section(title: str, outcomes: Sequence[Outcome], command: str) -> str:
    """Markdown: the models together, a row a corpus and way of labelling, and what was tuned."""
    from tabulate import tabulate

    def shown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
        return str(tabulate(rows, head, "github", disable_numparse=True))

    figures = ["EDER %", "frame accuracy %", "frame UA %", "segment error %"]
    rows = []
    groups = dict.fromkeys((corpus, o.settings.normalisation) for o in outcomes for corpus in o.measured)
    for corpus, normalisation in sorted(groups):
        alike = [o for o in outcomes if o.settings.normalisation == normalisation]
        own = [outcome.measured[corpus] for outcome in alike if corpus in outcome.measured]
        for way, totals in (
            ("likeliest label of each window", [found.without for found in own]),
            ("decoded", [found.decoded for found in own]),
        ):
            total = sum(totals[1:], totals[0])
            count, minutes = sum(found.recordings for found in own), total.confusion.sum() * FRAME / 60
            counts = [len(own), count, f"{minutes:.1f}", total.segments]
            rows.append([corpus, *counts, normalisation, way, *_percents(total)])
    tuned = [[o.model, *(getattr(o.settings, key) for key in TUNED), *_percents(o.tuned)] for o in outcomes if o.tuned]
    origin = "those of the highest frame accuracy on recordings of the model's validation speakers, as below, with"
    if not tuned:
        origin = "those of conf/timeline.yaml, not tuned, with"
    low, high = PAUSES
    cells = "; ".join(dict.fromkeys(outcome.cell for outcome in outcomes))
    notes = f"""\
- Models: {cells}.
- Recordings: utterances of one speaker in turns of {TURN[0]} to {TURN[-1]} of one emotion; ends {ENDS:.0f} dB
  softer than the loudest frame are cut off; between them pauses of {low} to {high} s. Speakers of the test part; all
  speakers of a corpus that a model was not trained on.
- EDER: emotion diarization error rate (Wang et al. 2023), (missed + false alarm + confusion) / duration; neutral speech
  and pauses are no emotion.
- Frame accuracy: share of the time with the right emotion, or none in pauses. Frame UA: mean over the emotions of the
  share of their time that is right. Segment error: edits to the row of emotions a segment of the reference, where
  neighbours of one emotion are one segment.
- Settings: {origin}
  hop {outcomes[0].settings.hop} s; windows and no-speech level are the same with and without the decoder.
- Statistics of the channel: from {outcomes[0].settings.statistics_minimum:g} s of speech on.
- Printed by `{command}`."""
    head = ["corpus", "models", "recordings", "min", "segments", "normalisation", "timeline", *figures]
    parts = [title, shown(head, rows), notes, *([shown(["model", *TUNED, *figures], tuned)] if tuned else [])]
    return "\n\n".join(parts) + "\n"


def _percents(found: Agreement) -> list[str]:
    figures = found.errors.eder, found.frame_accuracy, found.frame_ua, found.segment_error
    return [f"{100 * value:.1f}" for value in figures]
