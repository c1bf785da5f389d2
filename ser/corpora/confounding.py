"""Measure how far the speaker determines the class, in which case features must not be normalised by speaker."""

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
    """Dependence between speakers and classes of a corpus.

    Attributes:
        speakers: number of speakers.
        single: number of speakers with one class only; 0 if the corpus has one class.
        information: normalised mutual information of speaker and class; see `confounding`.
        share: the largest share that one speaker has of the utterances of a class.
        largest: the speaker and the class of that share.
    """

    speakers: int
    single: int
    information: float
    share: float
    largest: tuple[str, str]

    def __str__(self) -> str:
        speaker, name = self.largest
        return (
            f"{self.single} of {self.speakers} speakers have one class only, normalised mutual information of speaker "
            f"and class {self.information:.2f}, largest share of a speaker in a class {self.share:.0%} ({speaker} in "
            f"{name})"
        )


def confounding(pairs: Iterable[tuple[str, str]]) -> Confounding:
    """Measure the dependence between speakers and classes.

    The mutual information of speaker and class is divided by the entropy of the class (Theil's uncertainty
    coefficient): 0 where every speaker has the classes in the proportions of the corpus, 1 where the speaker
    determines the class. It is 0 in a corpus of one class. Speakers with few utterances raise it, just as their
    speaker statistics follow the class.

    Args:
        pairs: (speaker, class) of each utterance, at least one.
    """
    pair_counts = Counter(pairs)
    speakers, classes = (sorted({pair[i] for pair in pair_counts}) for i in (0, 1))
    counts = np.array([[pair_counts[s, c] for c in classes] for s in speakers], np.float64)
    class_counts, speaker_counts = counts.sum(0), counts.sum(1)
    conditional = sum(n * _entropy(row) for n, row in zip(speaker_counts, counts, strict=True)) / counts.sum()
    entropy = _entropy(class_counts)
    shares = counts / class_counts
    speaker, name = np.unravel_index(shares.argmax(), shares.shape)
    several = len(classes) > 1
    return Confounding(
        len(speakers),
        int(((counts > 0).sum(1) == 1).sum()) if several else 0,
        max(0.0, round(float(1 - conditional / entropy), 9)) if several else 0.0,
        float(shares.max()),
        (speakers[int(speaker)], classes[int(name)]),
    )


def _entropy(counts: np.ndarray) -> float:
    """Entropy in nats of a distribution given by counts."""
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def confounded(data_root: Path, corpora: Iterable[str], normalisation: str) -> dict[str, str]:
    """Find the corpora where normalisation by speaker would remove the classes.

    Args:
        data_root: data/, which stage 1 wrote.
        corpora: names of the corpora.
        normalisation: as in conf/batches.yaml.

    Returns:
        Corpus -> its figures; {} for any normalisation but `speaker`.
    """
    if normalisation != "speaker":
        return {}
    measured = {corpus: _read_confounding(data_root / corpus / "cuts.jsonl.gz") for corpus in corpora}
    return {corpus: str(figures) for corpus, figures in measured.items() if figures.information >= LIMIT}


@parsed_once
def _read_confounding(path: Path) -> Confounding:
    return confounding((cut.speaker, cut.emotion) for cut in read_cuts(path))


def check_confounded(data_root: Path, corpora: Iterable[str], normalisation: str, allow: bool) -> None:
    """Refuse to normalise confounded corpora by speaker.

    Args:
        data_root: data/, which stage 1 wrote.
        corpora: names of the corpora.
        normalisation: as in conf/batches.yaml.
        allow: do it nevertheless.

    Raises:
        InputError: a corpus is confounded.
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
