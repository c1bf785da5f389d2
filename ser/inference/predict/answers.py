"""Answers to sources: batched, in the order given, and one bad file spoils no other."""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ser.audio.reader import is_silent
from ser.common import InputError
from ser.inference.base import BasePredictor, Statistics
from ser.inference.predict.inputs import Source
from ser.inference.predict.sound import EACH, MIX, Sound, open_samples
from ser.scoring.calibration import tempered

WINDOW = 60.0  # seconds that are answered in one piece, where no training utterance was longer
FRAMES = 1_000, 16_000  # that are gathered before they are answered: at first, so that an answer comes soon; at most


@dataclass(frozen=True)
class Prediction:
    """The answer to a file, or to one channel of it.

    Attributes:
        id: path, or the id of a list.
        channel: where it is one of several.
        seconds: how long it is.
        label: the most probable class; None where it is withheld or there is no answer.
        confidence: the posterior of the most probable class.
        posteriors: class -> probability, calibrated unless raw ones are asked for.
        warnings: why the answer may be worth less.
        error: why there is no answer; "" where there is.
        left_out: whether that is a file of a folder that is not meant to be answered, such as a readme.
        columns: of the row of a table that names the file.
    """

    id: str
    channel: int | None = None
    seconds: float = 0.0
    label: str | None = None
    confidence: float = math.nan
    posteriors: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    error: str = ""
    left_out: bool = False
    columns: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The id, with the channel where there is one."""
        return self.id if self.channel is None else f"{self.id}:{self.channel}"


@dataclass
class _Row:
    """An answer in the making.

    Attributes:
        whole: whether all of its windows are gathered.
        waiting: how many of these are not answered yet.
        total: sum of the posteriors of the others, weighted by `weight`, their seconds.
    """

    source: Source
    channel: int | None = None
    seconds: float = 0.0
    warnings: dict[str, None] = field(default_factory=dict)
    error: str = ""
    whole: bool = False
    waiting: int = 0
    weight: float = 0.0
    total: np.ndarray | float = 0.0


class Answers:
    """Predictions of sources, in their order, as they are ready.

    Args:
        channel: "mix": the mean of all channels, as in training; "each": every channel by itself; or a number from 0.
        precision: the share of right answers that is wanted, on validation; labels of too little confidence are
            withheld for it.
        raw: posteriors and confidence without calibration, as decoding gives them.

    Attributes:
        common: warnings that are in every answer.
        pending: the sources that are answered, at first all; statistics of speakers are of all in any case.
        named: whether statistics are of the speakers that the sources name.
        threshold: confidence below which no label is given.
        expected: share of utterances answered, and of right ones among them, at that threshold on validation.

    Raises:
        InputError: no such channel, a precision that was not reached on validation, or one with `raw`.
    """

    def __init__(
        self,
        predictor: BasePredictor,
        sources: Sequence[Source],
        channel: str = MIX,
        precision: float | None = None,
        raw: bool = False,
    ) -> None:
        if raw and precision is not None:
            raise InputError("the thresholds of --abstain are of calibrated confidence", "--raw", "give one of the two")
        if channel not in (MIX, EACH) and not channel.isdecimal():
            raise InputError(f"must be {MIX}, {EACH} or a number from 0", f"channel {channel}")
        self.predictor, self.sources, self.channel = predictor, sources, channel
        self.pending = sources
        self.rate = predictor.sampling_rate
        self.shortest, self.longest = predictor.trained["seconds"]
        self.lowest = min(self.rate, *map(int, predictor.trained["sampling_rates"]))
        groups = predictor.grouped and predictor.running_stats is not None
        self.named = groups and any(source.speaker for source in sources)
        self.common: list[str] = []
        if predictor.grouped and not self.named:
            kind = predictor.normalisation
            self.common.append(
                f"trained with statistics of each {kind}, and no speakers are named (--utt2spk, or a list that does): "
                "the mean of those in training is used"
                if groups
                else f"trained with statistics of each {kind}, which a graph takes from no file (its model package "
                "does): the mean of those in training is used"
            )
        confidence = predictor.confidence(self.named, precision)
        if not predictor.calibration(self.named) and not raw:
            self.common.append(f"head {predictor.head} has no validation utterances, so nothing is calibrated")
        for text in self.common:
            warnings.warn(text, stacklevel=2)
        self.temperature, self.threshold = 1.0 if raw else confidence.temperature, confidence.threshold
        self.expected = confidence.coverage, confidence.precision

    def __iter__(self) -> Iterator[Prediction]:
        statistics = self.statistics() if self.pending else {}
        rows: deque[_Row] = deque()
        gathered: list[tuple[_Row, np.ndarray, float]] = []
        count, most = 0, FRAMES[0]
        for source in self.pending:
            own = statistics.get(self._group(source))
            for row, frames, seconds in self._windows(source, rows):
                gathered.append((row, self.predictor.normalised(frames, own), seconds))
                row.waiting += 1
                count += len(frames)
                if count >= most:
                    self._answer(gathered)
                    gathered, count, most = [], 0, min(2 * most, FRAMES[1])
            yield from self._finished(rows)
        self._answer(gathered)
        yield from self._finished(rows)

    def statistics(self) -> dict[str, Statistics]:
        """Mean and deviation of each speaker, or of all sources, where these are to be taken out and any is named.

        Every file is read for it, and once more for its answer, so that nothing is held.
        """
        files = (source for source in (self.sources if self.named else ()) if self._group(source))
        return self.predictor.statistics_of(
            (self._group(source), frames) for source in files for _, frames, _ in self._windows(source, deque())
        )

    def _group(self, source: Source) -> str:
        return source.speaker if self.predictor.normalisation == "speaker" else "all"

    def _windows(self, source: Source, rows: deque[_Row]) -> Iterator[tuple[_Row, np.ndarray, float]]:
        """Windows of a source: its row, which is added to `rows`, its frames, and its seconds."""
        own: list[_Row] = []
        try:
            with open_samples(source, self.channel, self.rate, max(WINDOW, self.longest)) as sound:
                own = [_Row(source, c, sound.seconds, self._warnings(source, sound)) for c in sound.channels]
                rows += own
                for window in sound.windows:
                    for row, samples in zip(own, window, strict=True):
                        if len(samples) < self.predictor.shortest:
                            row.warnings["less than one frame, padded with zeros"] = None
                        if is_silent(samples):
                            row.warnings["silent" if sound.parts == 1 else "silent in parts"] = None
                        yield row, self.predictor.frames(samples), len(samples) / self.rate
        except InputError as error:
            if not own:
                own = [_Row(source)]
                rows += own
            for row in own:
                row.error = str(error)
        for row in own:
            row.whole = True

    def _warnings(self, source: Source, sound: Sound) -> dict[str, None]:
        found = [*self.common]
        span = f"the {self.shortest:.1f} to {self.longest:.1f} s of training"
        if sound.seconds < self.shortest - 0.0005:
            found.append(f"shorter than {span}")
        elif sound.parts > 1:
            found.append(f"longer than {span}: the mean of its windows (`ser timeline` shows what changes within)")
        elif sound.seconds > self.longest + 0.0005:
            found.append(f"longer than {span}")
        if sound.sampling_rate < self.lowest:
            found.append(f"sampled at {sound.sampling_rate} Hz, so without the upper part of the trained band")
        if self.named and not self._group(source):
            found.append("no speaker named: the mean statistics of training are used")
        return dict.fromkeys(found)

    def _answer(self, gathered: Sequence[tuple[_Row, np.ndarray, float]]) -> None:
        found = self.predictor.posteriors([values for _, values, _ in gathered])
        for (row, _, seconds), posteriors in zip(gathered, found, strict=True):
            row.total = row.total + seconds * posteriors.astype(np.float64)
            row.weight += seconds
            row.waiting -= 1

    def _finished(self, rows: deque[_Row]) -> Iterator[Prediction]:
        while rows and rows[0].whole and not rows[0].waiting:
            row = rows.popleft()
            if row.error:
                source = row.source
                yield Prediction(
                    source.id, row.channel, error=row.error, left_out=source.left_out, columns=source.columns
                )
                continue
            posteriors = np.asarray(row.total) / row.weight
            if self.temperature != 1:
                posteriors = tempered(posteriors[None], self.temperature)[0]
            best = int(posteriors.argmax())
            confidence = float(posteriors[best])
            classes = self.predictor.classes
            yield Prediction(
                row.source.id,
                row.channel,
                row.seconds,
                classes[best] if confidence >= self.threshold else None,
                confidence,
                dict(zip(classes, posteriors.tolist(), strict=True)),
                tuple(row.warnings),
                columns=row.source.columns,
            )
