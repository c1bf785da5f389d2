"""The utterances from which babble noise is made."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ser.audio import resample
from ser.common import InputError
from ser.corpora.cuts import Cut, read_cut


class BabblePool:
    """Training utterances of one corpus for babble, without augmented copies.

    Args:
        cuts: utterance id -> cut.
        speakers: utterance id -> speaker; other ids are ignored.
        ids: sorted ids of the utterances to sample babble from; None: all of `cuts`.
        excluded: speakers whose utterances are not in `ids`.
    """

    def __init__(
        self,
        cuts: Mapping[str, Cut],
        speakers: Mapping[str, str],
        ids: Sequence[str] | None = None,
        excluded: frozenset[str] = frozenset(),
    ) -> None:
        self.cuts = cuts
        self.speakers = speakers
        self.ids: Sequence[str] = sorted(cuts) if ids is None else ids
        self.excluded = excluded

    @cached_property
    def _positions(self) -> dict[str, list[int]]:
        """Speaker -> positions of the utterances in `ids`, ascending."""
        positions: dict[str, list[int]] = {}
        for position, name in enumerate(self.ids):
            positions.setdefault(self.speakers[name], []).append(position)
        return positions

    def exclude_speaker(self, speaker: str) -> BabblePool:
        """The pool without the utterances of a speaker; the list of ids is not copied."""
        others = _WithoutPositions(self.ids, self._positions.get(speaker, []))
        return BabblePool(self.cuts, self.speakers, others, self.excluded | {speaker})

    def content(self, utterance_id: str) -> dict[str, Any]:
        """The values that identify an utterance and its samples, as JSON allows.

        Raises:
            InputError: the utterance is not in the pool.
        """
        if utterance_id not in self.cuts or self.speakers.get(utterance_id) in self.excluded:
            raise InputError("babble was made of it, and it is no training utterance", utterance_id, "run stage 2")
        cut = self.cuts[utterance_id]
        return {
            "utterance": utterance_id,
            "audio_digest": cut.audio_digest,
            "start": cut.start,
            "duration": cut.duration,
            "channel": cut.channel,
        }

    def samples(self, utterance_id: str, rate: int) -> np.ndarray:
        """Read an utterance, mixed down to mono, at a sampling rate.

        Args:
            utterance_id: of an utterance of the pool.
            rate: in Hz.

        Returns:
            float32, (samples,); callers must not change it.

        Raises:
            InputError: the file cannot be read.
        """
        return _samples(self.cuts[utterance_id], rate)


class _WithoutPositions(Sequence[str]):
    """A view of ids that skips some positions, given in ascending order."""

    def __init__(self, ids: Sequence[str], skipped: Sequence[int]) -> None:
        self._ids = ids
        # For each skipped position, the number of ids before it that are not skipped.
        self._before = [position - number for number, position in enumerate(skipped)]

    def __len__(self) -> int:
        return len(self._ids) - len(self._before)

    def __getitem__(self, index: Any) -> Any:
        position = range(len(self))[index]
        return self._ids[position + bisect_right(self._before, position)]


@lru_cache(maxsize=64)
def _samples(cut: Cut, rate: int) -> np.ndarray:
    return resample(*read_cut(cut), rate)
