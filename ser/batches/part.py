"""The utterances of one corpus in one part of a fold, with their features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser.common import InputError
from ser.config import Experiment
from ser.corpora import Protocol
from ser.corpora.kaldi import read_table
from ser.corpora.protocol import FEW_FOLDS
from ser.features import ArkReader, FeatureStore

GENDERS = {"f": 0, "m": 1}
# The tables of a data dir that a part is loaded from; `Data.hashes` takes their digest.
TABLES = ("utt2spk", "utt2emo", "utt2text_id", "utt2votes", "spk2gender", "known_spk2gender")


@dataclass(frozen=True)
class Part:
    """The utterances of a part, in the order of their ids.

    Attributes:
        classes: the class list that `targets` index.
        targets: int64, (utterances,).
        frames: int64, (utterances,).
        genders: 0 woman, 1 man, -1 unknown, int64, (utterances,).
        votes: float32, (utterances, classes): shares of the annotators' votes; one-hot where there are none.
        original: bool, (utterances,): False for an augmented copy.
        texts: ids of the spoken texts, "" if unknown.
        features: digest of everything that the features depend on; "": unknown.
    """

    corpus: str
    name: str
    ids: list[str]
    speakers: list[str]
    classes: tuple[str, ...]
    targets: np.ndarray
    frames: np.ndarray
    genders: np.ndarray
    votes: np.ndarray
    reader: ArkReader
    original: np.ndarray
    texts: list[str]
    features: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def class_counts(self) -> np.ndarray:
        """Number of originals of each class, int64, (classes,)."""
        return np.bincount(self.targets[self.original], minlength=len(self.classes))


def data_dir_of(data_root: Path, protocol: Protocol, experiment: Experiment, part: str) -> Path:
    """The Kaldi data dir of a part of a corpus in the fold of an experiment."""
    return data_root / protocol.corpus / protocol.split_name(experiment.split, experiment.fold) / part


def load_part(
    data_root: Path,
    protocol: Protocol,
    experiment: Experiment,
    part: str,
    store: FeatureStore,
    classes: Sequence[str],
    originals: Mapping[str, str] | None = None,
) -> Part | None:
    """Load a part; None if the protocol gives it no speakers (TESS has no test part).

    Args:
        data_root: folder in which stage 1 wrote the corpora.
        protocol: of the corpus.
        experiment: names split and fold.
        part: train, valid or test.
        store: the features.
        classes: the class list of the head that the corpus trains; the targets index it.
        originals: utterance or augmented copy -> the original utterance, which has its speaker, emotion and votes;
            None: there are no copies.

    Raises:
        InputError: stage 1 or 3 has not run, or data and protocol disagree.
    """
    speakers = protocol.fold(experiment.split, experiment.fold)[part]
    if not speakers:
        return None
    folder = data_dir_of(data_root, protocol, experiment, part)
    if (folder.parents[1] / "report.json").is_file() and not (folder / "utt2spk").is_file():
        if not folder.parent.is_dir() and protocol.count_folds(experiment.split) > FEW_FOLDS:
            raise InputError("not written", folder.parent, f"run stage 1 with --fold {experiment.fold}")
        raise InputError(
            f"fold {experiment.fold} has no {part} utterances in this partial copy of "
            f"{protocol.name} (it wants those of {', '.join(speakers)})",
            folder,
            "complete the corpus, or choose another --fold",
        )
    tables = {name: _optional_table(folder / name) for name in TABLES[2:]}
    utt2spk, utt2emo = (read_table(folder / name) for name in TABLES[:2])
    unexpected = sorted(set(utt2spk.values()) - set(speakers))
    if unexpected:
        raise InputError(f"speaker {unexpected[0]} is not in this part by {protocol.path}", folder, "run stage 1 again")
    index = {name: i for i, name in enumerate(classes)}
    for utterance, emotion in utt2emo.items():
        if emotion not in index:
            raise InputError(
                f"{utterance}: {emotion} is no class of the head ({', '.join(classes)})",
                folder / "utt2emo",
                "run stage 1 again",
            )
    original_of = originals or {key: key for key in utt2spk}
    for name, table in (("utt2emo", utt2emo), ("utt2spk", utt2spk)):
        absent = next((key for key in original_of.values() if key not in table), None)
        if absent is not None:
            raise InputError(f"no line of {absent}", folder / name, "run stage 1 again")
    ids, frames = list(original_of), store.num_frames()
    missing = [key for key in ids if key not in frames]
    if missing:
        raise InputError(f"no features of {missing[0]}", store.folder, "run stage 3 again")
    empty = [key for key in ids if frames[key] < 1]
    if empty:
        raise InputError(f"{empty[0]} has no frames", store.folder, f"name it under `drop` in {protocol.path}")
    targets = [index[utt2emo[original_of[key]]] for key in ids]
    texts, gender = tables["utt2text_id"], tables["spk2gender"] or tables["known_spk2gender"]
    return Part(
        corpus=protocol.corpus,
        name=part,
        ids=ids,
        speakers=[utt2spk[original_of[key]] for key in ids],
        classes=tuple(classes),
        targets=np.array(targets),
        frames=np.array([frames[key] for key in ids]),
        genders=np.array([GENDERS.get(gender.get(utt2spk[original_of[key]], ""), -1) for key in ids]),
        votes=_vote_shares(tables["utt2votes"], [original_of[key] for key in ids], targets, index),
        reader=store.reader(),
        original=np.array([original_of[key] == key for key in ids]),
        texts=[texts.get(original_of[key], "") for key in ids],
        features=store.key,
    )


def _optional_table(path: Path) -> dict[str, str]:
    return read_table(path) if path.is_file() else {}


def _vote_shares(
    votes: Mapping[str, str], ids: Sequence[str], targets: Sequence[int], index: Mapping[str, int]
) -> np.ndarray:
    """Convert utt2votes (`happy:2 sad:1`) to shares of the classes, (ids, classes); one-hot without such votes."""
    shares = np.zeros((len(ids), len(index)), np.float32)
    for row, key, target in zip(shares, ids, targets, strict=True):
        for vote in votes.get(key, "").split():
            name, _, count = vote.rpartition(":")
            if name in index:
                row[index[name]] += int(count)
        if not row.any():
            row[target] = 1
    return shares / shares.sum(1, keepdims=True)
