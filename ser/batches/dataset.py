"""Features of a part as input of a network: trimmed, subsampled, normalised by group, augmented on the fly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ser.augment.spectral import change_speed, mask, sample_augmentation, warp_frequency
from ser.batches.part import Part
from ser.batches.statistics import VERSION, load_or_compute
from ser.common import digest
from ser.common.tensors import Tensors
from ser.config import Batches
from ser.frontends.preprocess import Preprocess, RunningStats

CACHE_BYTES = 2**28  # limit on the preprocessed utterances that a dataset keeps in memory


class UtteranceDataset:
    """The utterances of a part, preprocessed by the settings.

    The steps are, in this order: trim silence at the ends, apply a floor below the maximum of the utterance, augment
    (in training, if switched on), keep every n-th frame, and CMVN per utterance, speaker or corpus. "speaker" and
    "corpus" use all originals of the group within the part. On test data this is transductive: it needs no label, but
    it needs the other test utterances.

    Args:
        part: the utterances and their stored features.
        config: the settings, conf/batches.yaml.

    Attributes:
        frames: int64, (utterances,), lengths after trimming and frame subsampling.
        ranges: int64, (utterances, 2), first frame in the archive and the frame after the last.
        floors: float32, (utterances,), least value of each utterance.
        statistics: group -> mean and deviation, float32, (bins,) each.
        statistics_key: digest of everything that ranges, floors and statistics depend on; "" if it is not known from
            what the features were made.
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
        self.statistics_key = self._statistics_key()
        self.ranges = np.stack([np.zeros_like(part.frames), part.frames], axis=1)
        self.floors = torch.full((len(part),), -torch.inf)
        if config.trim_decibels or config.floor_decibels:
            levels = self._load_or_compute("levels", self._ranges_and_floors)
            self.ranges, self.floors = levels["ranges"].numpy(), levels["floors"]
        self.frames = -(-(self.ranges[:, 1] - self.ranges[:, 0]) // config.frame_step)
        self._cache: dict[int, np.ndarray] = {}
        self._cache_bytes_left = CACHE_BYTES if config.frame_step > 1 else 0
        self.statistics: dict[str, tuple[Tensor, Tensor]] = {}
        if self.groups is not None:
            groups = self._load_or_compute("groups", self._group_statistics)
            pairs = zip(groups["means"], groups["deviations"], strict=True)
            self.statistics = dict(zip(dict.fromkeys(self.groups), pairs, strict=True))

    def __len__(self) -> int:
        return len(self.part)

    def read(self, index: int, start: int = 0, rows: int | None = None) -> np.ndarray:
        """Read frames `start` to `start + rows` of an utterance.

        With frame subsampling, preprocessed utterances are cached in memory up to `CACHE_BYTES`, so callers must not
        change the array.

        Args:
            index: position of the utterance in the part.
            start: first frame.
            rows: number of frames; None: to the end.

        Returns:
            float32, (rows, bins).
        """
        if index not in self._cache:
            size = int(self.frames[index]) * self.bins * 4
            if size > self._cache_bytes_left:
                return self._normalise(index, self._read_subsampled(index, start, rows))
            self._cache_bytes_left -= size
            self._cache[index] = self._normalise(index, self._read_subsampled(index, 0, None))
        return self._cache[index][start : None if rows is None else start + rows]

    def read_into(self, out: np.ndarray, index: int, start: int) -> None:
        """Read frames into an array; without frame subsampling no copy is made.

        Args:
            out: float32, (rows, bins), filled with frames `start` to `start + rows`.
            index: position of the utterance in the part.
            start: first frame.
        """
        if self.config.frame_step == 1:
            self._normalise(index, self._read_frames(index, start, len(out), out))
        else:
            out[:] = self.read(index, start, len(out))

    def read_augmented(self, index: int, start: int, rows: int, rng: np.random.Generator) -> np.ndarray:
        """Read frames with augmentation on the fly: speed, VTLP and SpecAugment masks.

        Args:
            index: position of the utterance in the part.
            start: first frame.
            rows: number of frames before the change of speed.
            rng: draws the parameters of the augmentation.

        Returns:
            float32, (about `rows`, bins).
        """
        config = self.config
        speed, alpha = sample_augmentation(rng, config.speeds, config.vtlp)
        values = self._read_frames(index, start, round(rows * speed))
        if speed != 1:
            values = change_speed(values, speed)
        if alpha != 1:
            values = warp_frequency(values, alpha)
        values = self._normalise(index, np.ascontiguousarray(values[:: config.frame_step]))
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
        """Whether the settings switch on augmentation on the fly."""
        config = self.config
        return bool(config.vtlp or config.time_masks or config.frequency_masks or set(config.speeds) != {1.0})

    def _statistics_key(self) -> str:
        part, config = self.part, self.config
        if not part.features:
            return ""
        settings = [config.normalisation, config.frame_step, config.trim_decibels, config.floor_decibels]
        return digest([VERSION, part.features, settings, part.ids, self.groups, part.original.tolist()])

    def _load_or_compute(self, name: str, compute: Callable[[], Tensors]) -> Tensors:
        if not self.statistics_key:
            return compute()
        return load_or_compute(self.part.reader.scp.parent, f"{name}.{self.statistics_key}", compute)

    def _ranges_and_floors(self) -> Tensors:
        """Compute ranges, int64, (utterances, 2), and floors, float32, (utterances,)."""
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
        """Compute means and deviations, float32, (groups, bins) each, in the order in which the groups occur."""
        assert self.groups is not None
        running_stats = {group: RunningStats(self.bins) for group in self.groups}
        # An augmented copy is normalised by the statistics of the originals of its speaker or corpus.
        counted = self.part.original | (self.config.normalisation == "utterance")
        for index in map(int, np.flatnonzero(counted)):
            running_stats[self.groups[index]].add(self._read_subsampled(index, 0, None))
        means, deviations = zip(*(stats.finish() for stats in running_stats.values()), strict=True)
        return {"means": torch.from_numpy(np.stack(means)), "deviations": torch.from_numpy(np.stack(deviations))}

    def _read_frames(self, index: int, start: int, rows: int | None, out: np.ndarray | None = None) -> np.ndarray:
        """Read every stored frame that frames `start` to `start + rows` of the dataset span, and apply the floor."""
        first, last = self.ranges[index]
        step = self.config.frame_step
        begin = first + start * step
        end = last if rows is None else min(last, begin + (rows - 1) * step + 1)
        values = self.part.reader.read(self.part.ids[index], int(begin), int(end - begin), out)
        if self.config.floor_decibels:
            np.maximum(values, self.floors[index].numpy(), out=values)
        return values

    def _read_subsampled(self, index: int, start: int, rows: int | None) -> np.ndarray:
        values = self._read_frames(index, start, rows)
        return values if self.config.frame_step == 1 else np.ascontiguousarray(values[:: self.config.frame_step])

    def _normalise(self, index: int, values: np.ndarray) -> np.ndarray:
        """Normalise frames in place by the statistics of the group of the utterance."""
        if self.groups is not None:
            x = torch.from_numpy(values)
            x.copy_(self.preprocess.normalise(x, torch.tensor(len(x)), *self.statistics[self.groups[index]]))
        return values


def fit_statistics(datasets: Sequence[UtteranceDataset]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation per bin over all frames of the originals, float32, (bins,) each; 0 and 1 for "none"."""
    bins = datasets[0].bins
    if datasets[0].config.normalisation == "none":
        return np.zeros(bins, np.float32), np.ones(bins, np.float32)
    running_stats = RunningStats(bins)
    for number, dataset in enumerate(datasets, 1):
        # Each corpus adds to the sums of those before it, so that stored and computed sums agree to the last bit.
        keys, compute = [d.statistics_key for d in datasets[:number]], partial(_add_corpus, running_stats, dataset)
        folder = dataset.part.reader.scp.parent
        total = load_or_compute(folder, f"global.{digest(keys)}", compute) if all(keys) else compute()
        running_stats = RunningStats(bins, int(total["count"]), total["sums"])
    return running_stats.finish()


def _add_corpus(running_stats: RunningStats, dataset: UtteranceDataset) -> Tensors:
    """Add the originals of a dataset; return the total count, int64, and sums, float64, (2, bins)."""
    for index in map(int, np.flatnonzero(dataset.part.original)):
        running_stats.add(dataset.read(index))
    return {"count": torch.tensor(running_stats.count), "sums": running_stats.sums}
