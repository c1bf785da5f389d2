"""Scores by corpus and gender, and the decision changes under other volume, noise, codec and line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ser.audio import Audio, audio_info
from ser.augment import TooShort, Transform, copy_rng
from ser.augment.noise import Noise
from ser.augment.transforms import BandPass, Mp3, Volume
from ser.common import InputError
from ser.common.metrics import confusion_matrix, ua, wa
from ser.common.progress import progress
from ser.inference.card import training_hashes, utterance_hash
from ser.inference.check.labelled import GENDERS, LabelledUtterance
from ser.inference.predict.answers import Answers
from ser.inference.predict.inputs import Source
from ser.inference.predict.sound import read_mono
from ser.inference.predictor import Predictor

CLEAN = "clean"
LOUDER = "10 dB louder"


@dataclass(frozen=True)
class Condition:
    """What is done to each utterance.

    Attributes:
        rates: Hz; it is done at the least of these that holds the recording, or at its own rate where there are none;
            None: at the rate of the model, so that noise has no frequencies that the model does not use.
    """

    kind: Transform
    rates: tuple[int, ...] | None = None

    def rate(self, own: int, model: int) -> int:
        """At which it is done to a recording, in Hz.

        Args:
            own: sampling rate of the recording, in Hz.
            model: that of the model, in Hz.
        """
        if self.rates is None:
            return model
        return min((rate for rate in self.rates if rate >= own), default=max(self.rates, default=own))


def _noise(colour: str, snr: float) -> Condition:
    return Condition(Noise("", [colour], (snr, snr), (1, 1), (snr, snr)))


CONDITIONS = {
    LOUDER: Condition(Volume((10, 10)), ()),
    "10 dB quieter": Condition(Volume((-10, -10)), ()),
    "white noise, SNR 20 dB": _noise("white", 20),
    "white noise, SNR 10 dB": _noise("white", 10),
    "pink noise, SNR 20 dB": _noise("pink", 20),
    "pink noise, SNR 10 dB": _noise("pink", 10),
    "MP3, 32 kbit/s": Condition(Mp3([32]), (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)),
    "telephone band, 300 to 3400 Hz": Condition(BandPass((300, 300), (3400, 3400))),
}


class DegradedSources(Sequence[Source]):
    """Sources after a condition, each made when it is asked for, and none held.

    Attributes:
        over: places of those that peak above full scale, which nothing clips here.
        too_short: places of those that it cannot be done to.
    """

    def __init__(self, sources: Sequence[Source], name: str, rate: int) -> None:
        self.sources, self.name, self.model_rate = sources, name, rate
        self.over: set[int] = set()
        self.too_short: set[int] = set()

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: Any) -> Any:
        source, condition = self.sources[index], CONDITIONS[self.name]
        try:
            own = audio_info(source.path).sampling_rate if source.path else self.model_rate
            rate = condition.rate(own, self.model_rate)
            samples = read_mono(source, rate)
            values = condition.kind.randomize_parameters(copy_rng(source.id, 1, f"check {self.name}"))
            samples = condition.kind.apply(samples, rate, values)
        except TooShort as error:
            self.too_short.add(index)
            return Source(source.id, speaker=source.speaker, problem=str(error))
        except InputError as error:
            return Source(source.id, speaker=source.speaker, problem=str(error))
        if np.abs(samples).max() > 1:
            self.over.add(index)
        return Source(source.id, speaker=source.speaker, audio=Audio(samples[None], rate))


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        gender: "f" or "m"; "": all.
        ua, wa: fractions.
        flipped: share of decisions that differ from those on clean recordings.
    """

    corpus: str
    gender: str
    condition: str
    n: int
    ua: float
    wa: float
    flipped: float | None = None

    @property
    def name(self) -> str:
        """The condition, or whose it is."""
        return GENDERS[self.gender] if self.gender else self.condition


@dataclass
class Check:
    """What was found.

    Attributes:
        unread: "<corpus>/<utterance id>" -> why it has no answer.
        seen: corpus -> ids of utterances that the model was trained on.
        over: how many of the loudened utterances that were read peak above full scale.
        too_short: condition -> how many utterances are left out of it.
    """

    rows: list[Row] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    seen: dict[str, list[str]] = field(default_factory=dict)
    over: int = 0
    too_short: dict[str, int] = field(default_factory=dict)


def check_robustness(predictor: Predictor, utterances: Sequence[LabelledUtterance]) -> Check:
    """Answer all utterances as they are and in each condition, just as predict answers files.

    Args:
        predictor: of the model.
        utterances: with their emotions.

    Raises:
        InputError: none of them can be read.
    """
    found = Check(seen=_seen(predictor, utterances))
    sources = [utterance.source for utterance in utterances]
    plain: list[str | None] = []
    with progress(text="check", unit="utt", total=len(sources) * (1 + len(CONDITIONS))) as bar:
        for utterance, prediction in zip(utterances, Answers(predictor, sources), strict=True):
            plain.append(prediction.label)
            if prediction.error:
                found.unread[f"{utterance.corpus}/{prediction.id}"] = prediction.error
            bar.update()
        if len(found.unread) == len(sources):
            raise InputError(f"no utterance can be read, such as: {next(iter(found.unread.values()))}")
        found.rows = list(_rows(predictor.classes, utterances, CLEAN, plain))
        for name in CONDITIONS:
            changed = DegradedSources(sources, name, predictor.sampling_rate)
            answers = []
            for prediction in Answers(predictor, changed):
                answers.append(prediction.label)
                bar.update()
            found.rows += _rows(predictor.classes, utterances, name, answers, plain)
            if changed.too_short:
                found.too_short[name] = len(changed.too_short)
            if name == LOUDER:
                found.over = len(changed.over)
    order = list(dict.fromkeys(utterance.corpus for utterance in utterances))
    found.rows.sort(key=lambda row: order.index(row.corpus))
    return found


def _seen(predictor: Predictor, utterances: Sequence[LabelledUtterance]) -> dict[str, list[str]]:
    """By the ids alone, whatever the data are called: a corpus may lie in a folder of another name."""
    known, corpora = training_hashes(predictor.model.folder), predictor.model.description["corpora"]
    found: dict[str, list[str]] = {}
    for utterance in utterances:
        if any(utterance_hash(f"{corpus}/{utterance.source.id}") in known for corpus in corpora):
            found.setdefault(utterance.corpus, []).append(utterance.source.id)
    return found


def _rows(
    classes: Sequence[str],
    utterances: Sequence[LabelledUtterance],
    condition: str,
    answers: Sequence[str | None],
    plain: Sequence[str | None] | None = None,
) -> Iterator[Row]:
    """A row a corpus, and of clean recordings also of each gender.

    Args:
        answers: a label each; None: no answer.
        plain: those on clean recordings.
    """
    for corpus in dict.fromkeys(u.corpus for u in utterances):
        for gender in ("", *GENDERS) if plain is None else ("",):
            own = [
                i
                for i, u in enumerate(utterances)
                if u.corpus == corpus and gender in ("", u.gender) and answers[i] is not None
            ]
            if own:
                truth, given = (
                    np.array([classes.index(str(label)) for label in labels])
                    for labels in ([utterances[i].emotion for i in own], [answers[i] for i in own])
                )
                scored = confusion_matrix(truth, given, len(classes))
                flipped = None if plain is None else math.fsum(answers[i] != plain[i] for i in own) / len(own)
                yield Row(corpus, gender, condition, len(own), ua(scored), wa(scored), flipped)
