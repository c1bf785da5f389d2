"""How far the class of an utterance follows from its speaker, so that statistics of speakers may not be removed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser.common import InputError
from ser.common.once import parsed_once
from ser.corpora.cuts import read_cuts

# A corpus is confounded where the speaker determines at least this share of the class (normalised mutual information).
LIMIT = 0.5


@dataclass(frozen=True)
class Confounding:
    """Speakers and classes of a corpus.

    Attributes:
        speakers: how many there are.
        single: how many of them have one class only, of a corpus of several.
        information: normalised mutual information of speaker and class; see `confounding`.
        share: the largest share of one speaker in a class.
        largest: that speaker and class.
    """

    speakers: int
    single: int
    information: float
    share: float
    largest: tuple[str, str]

    @property
    def is_confounded(self) -> bool:
        """The rule: statistics of a speaker are, at least half, statistics of a class."""
        return self.information >= LIMIT

    def __str__(self) -> str:
        speaker, name = self.largest
        return (
            f"{self.single} of {self.speakers} speakers have one class only, normalised mutual information of speaker "
            f"and class {self.information:.2f}, largest share of a speaker in a class {self.share:.0%} ({speaker} in "
            f"{name})"
        )


def confounding(pairs: Iterable[tuple[str, str]]) -> Confounding:
    """Measure it.

    The mutual information of speaker and class is divided by the entropy of the class (Theil's uncertainty
    coefficient): 0 where every speaker has the classes in the proportions of the corpus, 1 where the speaker
    determines the class. It is 0 in a corpus of one class. Speakers of few utterances raise it, as they make speaker
    statistics follow the class.

    Args:
        pairs: speaker and class of each utterance; one at least.
    """
    found = Counter(pairs)
    speakers, classes = (sorted({pair[i] for pair in found}) for i in (0, 1))
    counts = np.array([[found[s, c] for c in classes] for s in speakers], np.float64)
    of_class, of_speaker = counts.sum(0), counts.sum(1)
    within = sum(n * _entropy(row) for n, row in zip(of_speaker, counts, strict=True)) / counts.sum()
    whole = _entropy(of_class)
    shares = counts / of_class
    speaker, name = np.unravel_index(shares.argmax(), shares.shape)
    several = len(classes) > 1
    return Confounding(
        len(speakers),
        int(((counts > 0).sum(1) == 1).sum()) if several else 0,
        round(float(1 - within / whole), 9) if several else 0.0,
        float(shares.max()),
        (speakers[int(speaker)], classes[int(name)]),
    )


def _entropy(counts: np.ndarray) -> float:
    """In nats."""
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def confounded(data_root: Path, corpora: Iterable[str], normalisation: str) -> dict[str, str]:
    """Corpus -> figures, of those where normalisation by speaker takes the classes away.

    Args:
        data_root: what stage 1 wrote.
        normalisation: as in conf/batches.yaml; {} for any but speaker.
    """
    if normalisation != "speaker":
        return {}
    found = {corpus: _read_confounding(data_root / corpus / "cuts.jsonl.gz") for corpus in corpora}
    return {corpus: str(measured) for corpus, measured in found.items() if measured.is_confounded}


@parsed_once
def _read_confounding(path: Path) -> Confounding:
    return confounding((cut.speaker, cut.emotion) for cut in read_cuts(path))


def check_confounded(data_root: Path, corpora: Iterable[str], normalisation: str, allow: bool) -> None:
    """Refuse to normalise such a corpus by speaker.

    Raises:
        InputError: unless `allow`.
    """
    for corpus, figures in confounded(data_root, corpora, normalisation).items():
        if not allow:
            raise InputError(
                f"the classes of {corpus} follow from its speakers ({figures}), so that statistics of a speaker take "
                "away what is to be recognised",
                "batches.normalisation = speaker",
                "give another normalisation, as --preset strong_global or pretrained_global or "
                "--batches.normalisation global, or go on with --allow-confounded true",
            )
