"""The features of a part as a network's input: trimmed, subsampled, normalised by group, augmented on the fly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ser.augment.spectral import change_speed, mask, sample_augmentation, warp_frequency
from ser.batches.part import Part
from ser.batches.statistics import VERSION, Tensors, stored
from ser.common import digest
from ser.config import Batches
from ser.frontends.preprocess import Preprocess, RunningStats

IN_MEMORY = 2**28  # bytes of utterances that a dataset holds at most


class UtteranceDataset:
    """The utterances of a part as the settings ask for them.

    In this order: silence at the ends trimmed, a floor below the utterance's maximum, augmentation (in training,
    when asked for), every n-th frame, and CMVN by the utterance, its speaker or its corpus. "speaker" and
    "corpus" use all originals of the group within the part, which on test data is transductive: no label is needed,
    but the other test utterances are.

    Attributes:
        frames: int64, (utterances,), lengths as seen here.
    """

    def __init__(self, part: Part, config: Batches) -> None:
        self.part, self.config = part, config
        self.preprocess = Preprocess(config)
        self.bins = part.reader.shape(part.ids[0])[1]
        self.groups = {
            "utterance": part.ids,
            "speaker": part.speakers,
            "corpus": [part.corpus] * len(part),
        }.get(config.normalisation)
        self.key = self._key()
        # First and last frame in the archive, and the least value, of each utterance.
        self.ranges = np.stack([np.zeros_like(part.frames), part.frames], axis=1)
        self.floors = torch.full((len(part),), -torch.inf)
        if config.trim_decibels or config.floor_decibels:
            found = self._stored("levels", self._levels)
            self.ranges, self.floors = found["ranges"].numpy(), found["floors"]
        self.frames = -(-(self.ranges[:, 1] - self.ranges[:, 0]) // config.frame_step)
        self.in_memory: dict[int, np.ndarray] = {}
        self.room = IN_MEMORY if config.frame_step > 1 else 0
        self.statistics: dict[str, tuple[Tensor, Tensor]] = {}
        if self.groups is not None:
            found = self._stored("groups", self._group_statistics)
            pairs = zip(found["means"], found["deviations"], strict=True)
            self.statistics = dict(zip(dict.fromkeys(self.groups), pairs, strict=True))

    def __len__(self) -> int:
        return len(self.part)

    def read(self, index: int, start: int = 0, rows: int | None = None) -> np.ndarray:
        """Frames `start` to `start + rows` of an utterance (to the end where None), float32, (rows, bins).

        Where not every frame is taken, utterances stay in memory as they are seen, as many as there is room for; what
        is returned is not to be changed.
        """
        if index not in self.in_memory:
            size = int(self.frames[index]) * self.bins * 4
            if size > self.room:
                return self._normalised(index, self._read_clean(index, start, rows))
            self.room -= size
            self.in_memory[index] = self._normalised(index, self._read_clean(index, 0, None))
        return self.in_memory[index][start : None if rows is None else start + rows]

    def read_into(self, out: np.ndarray, index: int, start: int) -> None:
        """The same, as many frames as `out`, (rows, bins), has, without a copy where every frame is taken."""
        if self.config.frame_step == 1:
            self._normalised(index, self._source(index, start, len(out), out))
        else:
            out[:] = self.read(index, start, len(out))

    def read_augmented(self, index: int, start: int, rows: int, rng: np.random.Generator) -> np.ndarray:
        """About as many frames, with speed, warp and masks drawn again, float32, (rows, bins)."""
        config = self.config
        speed, alpha = sample_augmentation(rng, config.speeds, config.vtlp)
        values = self._source(index, start, round(rows * speed))
        if speed != 1:
            values = change_speed(values, speed)
        if alpha != 1:
            values = warp_frequency(values, alpha)
        values = self._normalised(index, np.ascontiguousarray(values[:: config.frame_step]))
        if config.time_masks or config.frequency_masks:
            values = mask(
                values,
                rng,
                time_masks=config.time_masks,
                time_width=config.time_mask_width,
                frequency_masks=config.frequency_masks,
                frequency_width=config.frequency_mask_width,
                fill=float(values.mean()),
            )
        return values

    @property
    def augments(self) -> bool:
        """Whether the settings ask for augmentation on the fly."""
        config = self.config
        return bool(config.vtlp or config.time_masks or config.frequency_masks or set(config.speeds) != {1.0})

    def _key(self) -> str:
        """Names what levels and statistics follow from; "" where it is not known what the features are."""
        part, config = self.part, self.config
        if not part.features:
            return ""
        settings = [config.normalisation, config.frame_step, config.trim_decibels, config.floor_decibels]
        return digest([VERSION, part.features, settings, part.ids, self.groups, part.original.tolist()])

    def _stored(self, what: str, compute: Callable[[], Tensors]) -> Tensors:
        if not self.key:
            return compute()
        return stored(self.part.reader.scp.parent, f"{what}.{self.key}", compute)

    def _levels(self) -> Tensors:
        """ranges, int64, (utterances, 2), and floors, float32, (utterances,)."""
        ranges = torch.empty((len(self), 2), dtype=torch.int64)
        floors = torch.full((len(self),), -torch.inf)
        for index, key in enumerate(self.part.ids):
            values = torch.from_numpy(self.part.reader.read(key))[None]
            lengths = torch.tensor([values.shape[1]])
            ranges[index] = torch.cat(self.preprocess.span(values, lengths))
            if self.config.floor_decibels:
                floors[index] = self.preprocess.floor(values, lengths)
        return {"ranges": ranges, "floors": floors}

    def _group_statistics(self) -> Tensors:
        """means and deviations, float32, (groups, bins) each, in the order in which the groups occur."""
        assert self.groups is not None
        running_stats = {group: RunningStats(self.bins) for group in self.groups}
        # A copy is seen as the originals of its speaker or corpus are.
        counted = self.part.original | (self.config.normalisation == "utterance")
        for index in map(int, np.flatnonzero(counted)):
            running_stats[self.groups[index]].add(self._read_clean(index, 0, None))
        means, deviations = zip(*(found.finish() for found in running_stats.values()), strict=True)
        return {"means": torch.from_numpy(np.stack(means)), "deviations": torch.from_numpy(np.stack(deviations))}

    def _source(self, index: int, start: int, rows: int | None, out: np.ndarray | None = None) -> np.ndarray:
        """Every frame of the archive below frames `start` to `start + rows` of the dataset, floored."""
        first, last = self.ranges[index]
        step = self.config.frame_step
        begin = first + start * step
        end = last if rows is None else min(last, begin + (rows - 1) * step + 1)
        values = self.part.reader.read(self.part.ids[index], int(begin), int(end - begin), out)
        if self.config.floor_decibels:
            np.maximum(values, self.floors[index].numpy(), out=values)
        return values

    def _read_clean(self, index: int, start: int, rows: int | None) -> np.ndarray:
        values = self._source(index, start, rows)
        return values if self.config.frame_step == 1 else np.ascontiguousarray(values[:: self.config.frame_step])

    def _normalised(self, index: int, values: np.ndarray) -> np.ndarray:
        if self.groups is not None:
            x = torch.from_numpy(values)
            x.copy_(self.preprocess.normalise(x, torch.tensor(len(x)), *self.statistics[self.groups[index]]))
        return values


def fit_statistics(datasets: Sequence[UtteranceDataset]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation a bin over all frames of the originals, float32, (bins,); 0 and 1 for "none"."""
    bins = datasets[0].bins
    if datasets[0].config.normalisation == "none":
        return np.zeros(bins, np.float32), np.ones(bins, np.float32)
    running_stats = RunningStats(bins)
    for number, dataset in enumerate(datasets, 1):
        # Sums go on from one corpus to the next, so that they are the same to the last bit with and without a store.
        names, compute = [v.key for v in datasets[:number]], partial(_sums, running_stats, dataset)
        found = stored(dataset.part.reader.scp.parent, f"global.{digest(names)}", compute) if all(names) else compute()
        running_stats = RunningStats(bins, int(found["count"]), found["sums"])
    return running_stats.finish()


def _sums(running_stats: RunningStats, dataset: UtteranceDataset) -> Tensors:
    """count, int64, and sums, float64, (2, bins), with those of a dataset added."""
    for index in map(int, np.flatnonzero(dataset.part.original)):
        running_stats.add(dataset.read(index))
    return {"count": torch.tensor(running_stats.count), "sums": running_stats.sums}
