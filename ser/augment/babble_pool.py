"""The utterances from which babble noise is made."""

from __future__ import annotations

from collections.abc import Mapping
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
        excluded: speakers whose utterances are not used.
    """

    def __init__(
        self, cuts: Mapping[str, Cut], speakers: Mapping[str, str], excluded: frozenset[str] = frozenset()
    ) -> None:
        self.cuts = cuts
        self.speakers = speakers
        self.excluded = excluded

    @cached_property
    def ids(self) -> list[str]:
        """Sorted ids of the utterances to sample babble from."""
        return [name for name in sorted(self.cuts) if self.speakers[name] not in self.excluded]

    def exclude_speaker(self, speaker: str) -> BabblePool:
        """The pool without the utterances of a speaker."""
        return BabblePool(self.cuts, self.speakers, self.excluded | {speaker})

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


@lru_cache(maxsize=64)
def _samples(cut: Cut, rate: int) -> np.ndarray:
    return resample(*read_cut(cut), rate)
