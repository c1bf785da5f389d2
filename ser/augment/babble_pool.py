"""Utterances of other speakers, of which babble is made."""

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
    """Training utterances of one corpus: originals, no copies.

    Args:
        cuts: by utterance id.
        speakers: of each utterance id, and of others maybe.
        ids: those that babble is drawn from, sorted; None: all of `cuts`.
        left_out: speakers whose utterances are not among them.
    """

    def __init__(
        self,
        cuts: Mapping[str, Cut],
        speakers: Mapping[str, str],
        ids: Sequence[str] | None = None,
        left_out: frozenset[str] = frozenset(),
    ) -> None:
        self.cuts = cuts
        self.speakers = speakers
        self.ids: Sequence[str] = sorted(cuts) if ids is None else ids
        self.left_out = left_out

    @cached_property
    def _positions(self) -> dict[str, list[int]]:
        """Speaker -> where the utterances stand in `ids`, rising."""
        found: dict[str, list[int]] = {}
        for position, name in enumerate(self.ids):
            found.setdefault(self.speakers[name], []).append(position)
        return found

    def exclude_speaker(self, speaker: str) -> BabblePool:
        """Those of all other speakers; the ids are looked up one by one, not listed."""
        others = _Others(self.ids, self._positions.get(speaker, []))
        return BabblePool(self.cuts, self.speakers, others, self.left_out | {speaker})

    def content(self, utterance_id: str) -> dict[str, Any]:
        """What names an utterance and its samples, JSON-able.

        Raises:
            InputError: it is not among these.
        """
        if utterance_id not in self.cuts or self.speakers.get(utterance_id) in self.left_out:
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
        """An utterance, its channels mixed down, at `rate` Hz: float32, (samples,); not to be changed.

        Raises:
            InputError: its file cannot be read.
        """
        return _samples(self.cuts[utterance_id], rate)


class _Others(Sequence[str]):
    """Ids but for those at some positions, which rise."""

    def __init__(self, ids: Sequence[str], left_out: Sequence[int]) -> None:
        self._ids = ids
        # How many of the others stand in front of each that is left out.
        self._before = [position - number for number, position in enumerate(left_out)]

    def __len__(self) -> int:
        return len(self._ids) - len(self._before)

    def __getitem__(self, index: Any) -> Any:
        place = range(len(self))[index]
        return self._ids[place + bisect_right(self._before, place)]


@lru_cache(maxsize=64)
def _samples(cut: Cut, rate: int) -> np.ndarray:
    samples, own_rate = read_cut(cut)
    return resample(samples, own_rate, rate)
