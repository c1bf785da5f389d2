"""Utterances of other speakers, of which babble is made."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from ser.audio import resample
from ser.common import InputError
from ser.corpora.cuts import Cut, read_cut


class Voices:
    """Training utterances of one corpus: originals, no copies.

    Args:
        cuts: by utterance id.
        speakers: of each utterance id, and of others maybe.
    """

    def __init__(self, cuts: Mapping[str, Cut], speakers: Mapping[str, str]) -> None:
        self.cuts = cuts
        self.speakers = speakers
        self.ids = sorted(cuts)
        self._without: dict[str, Voices] = {}

    def beside(self, speaker: str) -> list[str]:
        """Ids of the utterances of all other speakers, sorted."""
        return [name for name in self.ids if self.speakers[name] != speaker]

    def without(self, speaker: str) -> Voices:
        """Those of all other speakers; kept until another speaker is asked for."""
        if speaker not in self._without:
            self._without = {speaker: Voices({name: self.cuts[name] for name in self.beside(speaker)}, self.speakers)}
        return self._without[speaker]

    def content(self, utterance_id: str) -> dict[str, Any]:
        """What names an utterance and its samples, JSON-able.

        Raises:
            InputError: it is not among these.
        """
        if utterance_id not in self.cuts:
            raise InputError(f"{utterance_id}: babble was made of it, and it is no training utterance; run stage 2")
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


@lru_cache(maxsize=64)
def _samples(cut: Cut, rate: int) -> np.ndarray:
    samples, own_rate = read_cut(cut)
    return resample(samples, own_rate, rate)
