"""Evaluation of timelines with and without the decoder: tuned on validation speakers, measured on test speakers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ser.common import InputError, write_text
from ser.common.output import markdown_table
from ser.corpora import read_protocol
from ser.corpora.protocol import PARTS
from ser.corpora.splits import with_splits
from ser.diarization import joined
from ser.diarization.decoders import Decoder
from ser.diarization.measure import FRAME, Agreement, sum_agreements
from ser.diarization.segments import Channel, Segment, Timeline
from ser.diarization.settings import NO_SPEECH, Settings, write_settings
from ser.diarization.tune import measure, score_recordings, tune
from ser.diarization.writers import rttm
from ser.inference.model import open_model
from ser.inference.predictor import Predictor

Recordings = list[tuple[Path, tuple[Segment, ...]]]


class CorpusScores(NamedTuple):
    """Agreement on the recordings of a corpus: of each window's most probable label, and of the decoded segments."""

    recordings: int
    windowwise: Agreement
    decoded: Agreement


@dataclass(frozen=True)
class EvaluationResult:
    """Scores of one model.

    Attributes:
        cell: what was trained: corpora, task, blocks, preset.
        settings: of the timelines, after tuning if they are tuned.
        tuned: agreement on the recordings that the settings are tuned on; None: not tuned.
        scores: by corpus.
    """

    model: str
    cell: str
    settings: Settings
    tuned: Agreement | None
    scores: dict[str, CorpusScores]


@dataclass
class TimelineEvaluation:
    """A model, and recordings joined from the prepared corpora.

    Attributes:
        orders: recordings of each speaker.
        most_utterances: in a recording; None: as many as `joined.UTTERANCES`.
    """

    model: Path
    data: Path
    recipe: Path | None
    out: Path
    seed: int
    orders: int
    most_utterances: int | None = None

    def __post_init__(self) -> None:
        self.predictor = Predictor(open_model(self.model))
        self.experiment, self.folder = self.predictor.model.experiment, self.out / self.model.name

    def run(self, start: Settings, decoder: Decoder, unseen: Sequence[str], tuning: bool = True) -> EvaluationResult:
        """Tune, write <out>/<model>/timeline_<normalisation>.yaml, measure; or measure the settings as they are.

        Raises:
            InputError: a corpus of `unseen` was trained on, or one is not prepared.
        """
        corpora = self.experiment.corpora
        for corpus in unseen:
            if corpus in corpora:
                raise InputError(f"{self.model.name} was trained on it", f"--unseen {corpus}", "leave it out")
        settings, tuned = start, None
        if tuning:
            valid = [recording for corpus in corpora for recording in self.join(corpus, ("valid",))]
            settings, tuned = tune(valid, self.predictor, start, decoder)
            path = self.folder / f"timeline_{settings.normalisation}.yaml"
            write_settings(settings, path, f"tuned for {self.model.name} on {len(valid)} joined recordings")
        scores = {}
        for corpus in (*corpora, *unseen):
            if recordings := self.join(corpus, PARTS if corpus in unseen else ("test",)):
                scored = score_recordings(recordings, self.predictor, settings)
                agreements = (measure(scored, settings, chosen) for chosen in (None, decoder))
                scores[corpus] = CorpusScores(len(recordings), *agreements)
        e = self.experiment
        cell = f"{e.combination} {e.task}_{e.temporal}_{e.pooling}, preset {e.preset}, split {e.split}"
        return EvaluationResult(self.model.name, cell, settings, tuned, scores)

    def join(self, corpus: str, parts: Sequence[str]) -> Recordings:
        """Write recordings of the speakers of some parts below <out>/<model>/; none if the parts have no speaker."""
        protocol = with_splits(read_protocol(corpus, self.recipe), self.data / corpus)
        known = joined.known_utterances(self.data, protocol, self.experiment, parts)
        known = [utterance for utterance in known if utterance.emotion in self.predictor.classes]
        if not known:
            return []
        folder, empty = self.folder / "-".join(parts), np.empty((0, 0), np.float32)
        classes = (*self.predictor.classes, NO_SPEECH)
        recordings = []
        settings = self.experiment.features, self.seed, self.orders, corpus, self.most_utterances
        for one in joined.join_all(known, *settings):
            duration, channel = len(one.samples) / one.rate, Channel(1, one.reference, 0.0, empty, empty, empty)
            write_text(folder / f"{one.name}.rttm", rttm(Timeline(one.name, duration, 0, classes, (channel,))))
            recordings.append((one.write(folder), one.reference))
        return recordings


TUNED = ("window", "minimum", "switching_cost", "no_speech_cost", "no_speech_decibels", "normalisation")


def results_section(title: str, results: Sequence[EvaluationResult], command: str) -> str:
    """Markdown: all models together, with and without decoder by corpus, and the tuned settings."""
    figures = ["EDER %", "frame accuracy %", "frame UA %", "segment error %"]
    rows = []
    for corpus, normalisation in sorted({(c, r.settings.normalisation) for r in results for c in r.scores}):
        scores = [r.scores[corpus] for r in results if r.settings.normalisation == normalisation and corpus in r.scores]
        recordings, windowwise, decoded = zip(*scores, strict=True)
        for labels, agreements in (("likeliest label of each window", windowwise), ("decoded", decoded)):
            total = sum_agreements(agreements)
            minutes = total.confusion.sum() * FRAME / 60
            counts = [len(scores), sum(recordings), f"{minutes:.1f}", total.segments]
            rows.append([corpus, *counts, normalisation, labels, *_percents(total)])
    tuned = [[r.model, *(getattr(r.settings, key) for key in TUNED), *_percents(r.tuned)] for r in results if r.tuned]
    origin = "those of the highest frame accuracy on recordings of the model's validation speakers, as below, with"
    if not tuned:
        origin = "those of conf/timeline.yaml, not tuned, with"
    low, high = joined.PAUSE_SECONDS
    least, most = joined.TURN_UTTERANCES[0], joined.TURN_UTTERANCES[-1]
    cells = "; ".join(dict.fromkeys(result.cell for result in results))
    notes = f"""\
- Models: {cells}.
- Recordings: utterances of one speaker in turns of {least} to {most} of one emotion; ends {joined.TRIM_DECIBELS:.0f} dB
  softer than the loudest frame are cut off; between them pauses of {low} to {high} s. Speakers of the test part; all
  speakers of a corpus that a model was not trained on.
- EDER: emotion diarization error rate (Wang et al. 2023), (missed + false alarm + confusion) / duration; neutral speech
  and pauses are no emotion.
- Frame accuracy: share of the time with the right emotion, or none in pauses. Frame UA: mean over the emotions of the
  share of their time that is right. Segment error: edits to the row of emotions a segment of the reference, where
  neighbours of one emotion are one segment.
- Settings: {origin}
  hop {results[0].settings.hop} s; windows and no-speech level are the same with and without the decoder.
- Statistics of the channel: from {results[0].settings.statistics_minimum:g} s of speech on.
- Printed by `{command}`."""
    head = ["corpus", "models", "recordings", "min", "segments", "normalisation", "timeline", *figures]
    parts = [title, markdown_table(head, rows), notes]
    if tuned:
        parts.append(markdown_table(["model", *TUNED, *figures], tuned))
    return "\n\n".join(parts) + "\n"


def _percents(agreement: Agreement) -> list[str]:
    figures = agreement.errors.eder, agreement.frame_accuracy, agreement.frame_ua, agreement.segment_error
    return [f"{100 * value:.1f}" for value in figures]
