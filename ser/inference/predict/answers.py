"""Predictions of sources: in batches, in the order given; a file that cannot be read does not stop the others."""

from __future__ import annotations

import math
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ser.audio.reader import is_silent
from ser.common import InputError
from ser.inference.base import BasePredictor, Confidence, Statistics
from ser.inference.predict.inputs import Source
from ser.inference.predict.sound import EACH, MIX, SampleWindows, open_samples
from ser.scoring.calibration import tempered

WINDOW = 60.0  # seconds of a window, if no training utterance was longer
BATCH_FRAMES = 1_000, 16_000  # of the first batch, so that the first answer comes soon; of the largest


@dataclass(frozen=True)
class Prediction:
    """The prediction of a file, or of one channel of it.

    Attributes:
        id: path, or the id in a list.
        channel: its number if each channel is predicted by itself.
        seconds: duration.
        label: the most probable class; None if the model abstains or the file cannot be read.
        confidence: the posterior of the most probable class.
        posteriors: class -> probability, calibrated unless raw ones are asked for.
        warnings: why the prediction may be less accurate.
        error: why there is no prediction, or "".
        left_out: whether it is a file of a folder that is no audio, such as a readme; `error` is the reason.
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
class _Pending:
    """A prediction whose windows are not all computed yet.

    Attributes:
        complete: whether all of its windows are read.
        num_waiting: windows that are read, and wait for their batch.
        total: sum of the posteriors of the others, weighted by their seconds.
        weight: sum of these seconds.
    """

    source: Source
    channel: int | None = None
    seconds: float = 0.0
    warnings: dict[str, None] = field(default_factory=dict)
    error: str = ""
    complete: bool = False
    num_waiting: int = 0
    weight: float = 0.0
    total: np.ndarray | float = 0.0


class Answers:
    """Predictions of sources, in their order, as they are ready.

    Args:
        channel: "mix": the mean of all channels, as in training; "each": every channel by itself; or a number from 0.
        precision: on validation; without the confidence that it asks for there is no label. None: all labels are given.
        raw: posteriors and confidence without calibration, as decoding gives them.

    Attributes:
        common_warnings: that every prediction has.
        pending: sources that are to be predicted, at first all; statistics of speakers are of all sources in any case.
        speakers_known: whether statistics are of the speakers that the sources name.
        sources_of_group: number of sources of each speaker, or of all, whose statistics they share.
        confidence: calibration, and the threshold for the precision.

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
        self.speakers_known = groups and any(source.speaker for source in sources)
        self.sources_of_group = Counter(map(self._group, sources))
        self.common_warnings: list[str] = []
        if predictor.grouped and not self.speakers_known:
            kind = predictor.normalisation
            self.common_warnings.append(
                f"trained with statistics of each {kind}, and no speakers are named (--utt2spk, or a list that does): "
                "the mean of those in training is used"
                if groups
                else f"trained with statistics of each {kind}, which a graph takes from no file (its model package "
                "does): the mean of those in training is used"
            )
        self.confidence = Confidence() if raw else predictor.confidence(self.speakers_known, precision)
        if not predictor.calibration(self.speakers_known) and not raw:
            text = f"head {predictor.head} has no validation utterances, so nothing is calibrated"
            self.common_warnings.append(text)
        for text in self.common_warnings:
            warnings.warn(text, stacklevel=2)

    def __iter__(self) -> Iterator[Prediction]:
        statistics = self.statistics() if self.pending else {}
        rows: deque[_Pending] = deque()
        batch: list[tuple[_Pending, np.ndarray, float]] = []
        count, most = 0, BATCH_FRAMES[0]
        for source in self.pending:
            for row, frames, seconds in self._windows(source, rows):
                batch.append((row, self.predictor.normalised(frames, statistics.get(self._group(source))), seconds))
                row.num_waiting += 1
                count += len(frames)
                if count >= most:
                    self._predict_batch(batch)
                    batch, count, most = [], 0, min(2 * most, BATCH_FRAMES[1])
            yield from self._finished(rows)
        self._predict_batch(batch)
        yield from self._finished(rows)

    def statistics(self) -> dict[str, Statistics]:
        """CMVN statistics of each speaker, or of all sources; none if no speakers are named or the model needs none.

        Every file is read for its statistics, and once more for its prediction, so that memory is bounded.
        """
        files = (source for source in (self.sources if self.speakers_known else ()) if self._group(source))
        return self.predictor.group_statistics_of(
            (self._group(source), frames) for source in files for _, frames, _ in self._windows(source, deque())
        )

    def _group(self, source: Source) -> str:
        return source.speaker if self.predictor.normalisation == "speaker" else "all"

    def _windows(self, source: Source, rows: deque[_Pending]) -> Iterator[tuple[_Pending, np.ndarray, float]]:
        """The windows of a source: prediction, which is added to `rows`, frames, and seconds of each."""
        new_rows: list[_Pending] = []
        try:
            with open_samples(source, self.channel, self.rate, max(WINDOW, self.longest)) as sound:
                new_rows = [_Pending(source, c, sound.seconds, self._warnings(source, sound)) for c in sound.channels]
                for window in sound.windows:
                    for row, samples in zip(new_rows, window, strict=True):
                        if len(samples) < self.predictor.shortest:
                            row.warnings["less than one frame, padded with zeros"] = None
                        if is_silent(samples):
                            row.warnings["silent" if sound.parts == 1 else "silent in parts"] = None
                        yield row, self.predictor.frames(samples), len(samples) / self.rate
        except InputError as error:
            new_rows = new_rows or [_Pending(source)]
            for row in new_rows:
                row.error = str(error)
        for row in new_rows:
            row.complete = True
        rows += new_rows

    def _warnings(self, source: Source, sound: SampleWindows) -> dict[str, None]:
        texts = [*self.common_warnings]
        span = f"the {self.shortest:.1f} to {self.longest:.1f} s of training"
        if sound.seconds < self.shortest - 0.0005:
            texts.append(f"shorter than {span}")
        elif sound.parts > 1:
            texts.append(f"longer than {span}: the mean of its windows (`ser timeline` shows what changes within)")
        elif sound.seconds > self.longest + 0.0005:
            texts.append(f"longer than {span}")
        if sound.sampling_rate < self.lowest:
            texts.append(f"sampled at {sound.sampling_rate} Hz, so without the upper part of the trained band")
        if self.speakers_known and not self._group(source):
            texts.append("no speaker named: the mean statistics of training are used")
        elif self.speakers_known and self.sources_of_group[self._group(source)] == 1:
            texts.append("normalised by its own statistics: no other file is of this speaker")
        return dict.fromkeys(texts)

    def _predict_batch(self, batch: Sequence[tuple[_Pending, np.ndarray, float]]) -> None:
        computed = self.predictor.posteriors([frames for _, frames, _ in batch])
        for (row, _, seconds), posteriors in zip(batch, computed, strict=True):
            row.total = row.total + seconds * posteriors.astype(np.float64)
            row.weight += seconds
            row.num_waiting -= 1

    def _finished(self, rows: deque[_Pending]) -> Iterator[Prediction]:
        while rows and rows[0].complete and not rows[0].num_waiting:
            row = rows.popleft()
            source = row.source
            if row.error:
                yield Prediction(
                    source.id, row.channel, error=row.error, left_out=source.left_out, columns=source.columns
                )
                continue
            posteriors = np.asarray(row.total) / row.weight
            if self.confidence.temperature != 1:
                posteriors = tempered(posteriors[None], self.confidence.temperature)[0]
            best = int(posteriors.argmax())
            confidence = float(posteriors[best])
            classes = self.predictor.classes
            yield Prediction(
                source.id,
                row.channel,
                row.seconds,
                classes[best] if confidence >= self.confidence.threshold else None,
                confidence,
                dict(zip(classes, posteriors.tolist(), strict=True)),
                tuple(row.warnings),
                columns=source.columns,
            )
