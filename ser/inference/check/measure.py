"""Robustness evaluation: scores by corpus and gender, and decision changes by volume, noise, codec and telephone."""

from __future__ import annotations

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


def _noise(colour: str, snr: float) -> tuple[Transform, None]:
    return Noise("", [colour], (snr, snr), (1, 1), (snr, snr)), None


# A transform of each utterance, and its sampling rates in Hz: the least that is not below the recording's is used; ():
# the recording's own. None: the rate of the model, so that noise has no frequencies that the model does not use.
CONDITIONS: dict[str, tuple[Transform, Sequence[int] | None]] = {
    LOUDER: (Volume((10, 10)), ()),
    "10 dB quieter": (Volume((-10, -10)), ()),
    "white noise, SNR 20 dB": _noise("white", 20),
    "white noise, SNR 10 dB": _noise("white", 10),
    "pink noise, SNR 20 dB": _noise("pink", 20),
    "pink noise, SNR 10 dB": _noise("pink", 10),
    "MP3, 32 kbit/s": (Mp3([32]), (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)),
    "telephone band, 300 to 3400 Hz": (BandPass((300, 300), (3400, 3400)), None),
}


class DegradedSources(Sequence[Source]):
    """Sources in a condition, each computed when it is indexed.

    Attributes:
        over: indices of those that peak above full scale; they are not clipped.
        too_short: indices of those that are too short for the transform.
    """

    def __init__(self, sources: Sequence[Source], name: str, rate: int) -> None:
        self.sources, self.name, self.model_rate = sources, name, rate
        self.over: set[int] = set()
        self.too_short: set[int] = set()

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: Any) -> Any:
        source, (transform, rates), rate = self.sources[index], CONDITIONS[self.name], self.model_rate
        try:
            native = audio_info(source.path).sampling_rate if source.path else rate
            if rates is not None:
                rate = min((known for known in rates if known >= native), default=max(rates, default=native))
            parameters = transform.randomize_parameters(copy_rng(source.id, 1, f"check {self.name}"))
            samples = transform.apply(read_mono(source, rate), rate, parameters)
        except (TooShort, InputError) as error:
            if isinstance(error, TooShort):
                self.too_short.add(index)
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
        flipped: share of decisions that differ from those on clean recordings; None for clean recordings.
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
        """The condition, or the gender."""
        return GENDERS[self.gender] if self.gender else self.condition


@dataclass
class CheckResults:
    """Scores, and what qualifies them.

    Attributes:
        unread: "<corpus>/<utterance id>" -> why it cannot be read.
        seen: corpus -> ids of utterances in the training data of the model.
        over: number of utterances that peak above full scale in condition LOUDER.
        too_short: condition -> number of utterances that are too short for it.
    """

    rows: list[Row] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    seen: dict[str, list[str]] = field(default_factory=dict)
    over: int = 0
    too_short: dict[str, int] = field(default_factory=dict)


def check_robustness(predictor: Predictor, utterances: Sequence[LabelledUtterance]) -> CheckResults:
    """Predict all utterances clean and in each condition, as `ser predict` does, and score the labels.

    Args:
        predictor: of the model.
        utterances: with their emotions.

    Raises:
        InputError: none of them can be read.
    """
    results = CheckResults(seen=_seen(predictor, utterances))
    sources = [utterance.source for utterance in utterances]
    clean: list[str | None] = []
    with progress(text="check", unit="utt", total=len(sources) * (1 + len(CONDITIONS))) as bar:
        for utterance, prediction in zip(utterances, Answers(predictor, sources), strict=True):
            clean.append(prediction.label)
            if prediction.error:
                results.unread[f"{utterance.corpus}/{prediction.id}"] = prediction.error
            bar.update()
        if len(results.unread) == len(sources):
            raise InputError(f"no utterance can be read, such as: {next(iter(results.unread.values()))}")
        results.rows = list(_rows(predictor.classes, utterances, CLEAN, clean))
        for name in CONDITIONS:
            degraded = DegradedSources(sources, name, predictor.sampling_rate)
            labels = []
            for prediction in Answers(predictor, degraded):
                labels.append(prediction.label)
                bar.update()
            results.rows += _rows(predictor.classes, utterances, name, labels, clean)
            if degraded.too_short:
                results.too_short[name] = len(degraded.too_short)
            if name == LOUDER:
                results.over = len(degraded.over)
    order = list(dict.fromkeys(utterance.corpus for utterance in utterances))
    results.rows.sort(key=lambda row: order.index(row.corpus))
    return results


def _seen(predictor: Predictor, utterances: Sequence[LabelledUtterance]) -> dict[str, list[str]]:
    """Ids of training utterances by corpus. The name of the data does not matter: a folder may be renamed."""
    hashes, corpora = training_hashes(predictor.model.folder), predictor.model.description["corpora"]
    seen: dict[str, list[str]] = {}
    for utterance in utterances:
        if any(utterance_hash(f"{corpus}/{utterance.source.id}") in hashes for corpus in corpora):
            seen.setdefault(utterance.corpus, []).append(utterance.source.id)
    return seen


def _rows(
    classes: Sequence[str],
    utterances: Sequence[LabelledUtterance],
    condition: str,
    labels: Sequence[str | None],
    clean: Sequence[str | None] | None = None,
) -> Iterator[Row]:
    """A row for each corpus; of clean recordings also for each gender.

    Args:
        labels: predicted; None: no prediction.
        clean: labels predicted from clean recordings; None: `labels` are.
    """
    pairs = enumerate(zip(utterances, labels, strict=True))
    predicted = [(utterance, label, i) for i, (utterance, label) in pairs if label is not None]
    for corpus in dict.fromkeys(u.corpus for u in utterances):
        for gender in ("", *GENDERS) if clean is None else ("",):
            members = [each for each in predicted if each[0].corpus == corpus and gender in ("", each[0].gender)]
            if members:
                truth = np.array([classes.index(u.emotion) for u, _, _ in members])
                answers = np.array([classes.index(label) for _, label, _ in members])
                scored = confusion_matrix(truth, answers, len(classes))
                changed = None if clean is None else sum(label != clean[i] for _, label, i in members) / len(members)
                yield Row(corpus, gender, condition, len(members), ua(scored), wa(scored), changed)
