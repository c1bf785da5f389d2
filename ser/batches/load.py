"""Everything an experiment reads: protocols, features, parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser.batches.part import Part, data_dir_of, load_part
from ser.common import InputError, digest
from ser.config import Experiment, decisive
from ser.corpora import Protocol, read_protocol
from ser.corpora.kaldi import read_table
from ser.corpora.protocol import PARTS
from ser.corpora.splits import with_splits
from ser.features import FeatureStore

UNIFIED = "unified"


@dataclass(frozen=True)
class Data:
    """The corpora of an experiment.

    Attributes:
        heads: head name -> class list: one a corpus, or one over the union of all class lists.
    """

    experiment: Experiment
    protocols: dict[str, Protocol]
    stores: dict[str, FeatureStore]
    heads: dict[str, tuple[str, ...]]
    data_root: Path

    def parts(self, name: str) -> dict[str, Part]:
        """The parts of that name (train, valid or test) of all corpora that have one."""
        found = {}
        for corpus, protocol in self.protocols.items():
            classes = self.heads[UNIFIED if UNIFIED in self.heads else corpus]
            part = load_part(self.data_root, protocol, self.experiment, name, self.stores[corpus], classes)
            if part is not None:
                found[corpus] = part
        return found

    def differs_in(self, recorded: Mapping[str, Any]) -> str | None:
        """Which of config, data and split is not the one that a result was made with."""
        found = (name for name, value in self.hashes().items() if recorded[name] != value)
        return next((name.removesuffix("_hash") for name in found), None)

    def hashes(self) -> dict[str, str]:
        """config_hash, data_hash (features, labels, speakers of every part), split_hash (who is in which part)."""
        e = self.experiment
        tables = [
            path
            for protocol in self.protocols.values()
            for part in PARTS
            for name in ("utt2spk", "utt2emo")
            if (path := data_dir_of(self.data_root, protocol, e, part) / name).is_file()
        ]
        return {
            "config_hash": digest(decisive(e)),
            "data_hash": digest({c: store.key for c, store in self.stores.items()}, self.heads, *tables),
            "split_hash": digest({c: p.fold(e.split, e.fold) for c, p in self.protocols.items()}),
        }


def open_data(experiment: Experiment, recipe: Path | None, data_root: Path, dump_root: Path) -> Data:
    """Find protocols and features of an experiment.

    Raises:
        InputError: a corpus without protocol, or whose stages 1 and 3 have not run; an utterance id in two corpora.
    """
    protocols = {c: with_splits(read_protocol(c, recipe), data_root / c) for c in experiment.corpora}
    stores = {c: FeatureStore(dump_root, data_root / c, experiment.features) for c in experiment.corpora}
    _check_ids(stores, data_root)
    _check_speakers(protocols, experiment, data_root)
    folds = max(len(protocol.folds(experiment.split)) for protocol in protocols.values())
    if experiment.fold > folds:
        raise InputError(
            f"fold = {experiment.fold}: split {experiment.split} of {', '.join(protocols)} has folds 1 to {folds}"
        )
    if experiment.task == "multi":
        heads = {corpus: protocol.classes for corpus, protocol in protocols.items()}
    else:
        heads = {UNIFIED: tuple(sorted({name for p in protocols.values() for name in p.classes}))}
    return Data(experiment, protocols, stores, heads, data_root)


def _check_ids(stores: Mapping[str, FeatureStore], data_root: Path) -> None:
    """An utterance id names one utterance in all that an experiment writes."""
    first: dict[str, str] = {}
    for corpus, store in stores.items():
        for cut in store.cuts:
            other = first.setdefault(cut.id, corpus)
            if other != corpus:
                raise InputError(
                    f"{data_root / corpus}: utterance {cut.id} is in {other} too; leave one of the two corpora out, "
                    "or, if they are not versions of one corpus, give one's speakers other names in its preparer"
                )


def _check_speakers(protocols: Mapping[str, Protocol], experiment: Experiment, data_root: Path) -> None:
    """A speaker of two corpora might be trained on in one and tested in the other."""
    first: dict[str, str] = {}
    for corpus, protocol in protocols.items():
        for part in PARTS:
            table = data_dir_of(data_root, protocol, experiment, part) / "utt2spk"
            for speaker in sorted(set(read_table(table).values())) if table.is_file() else ():
                other = first.setdefault(speaker, corpus)
                if other != corpus:
                    raise InputError(
                        f"{table}: speaker {speaker} is in {other} too; begin the names of speakers with that of their "
                        "corpus in its preparer (if it is one person, leave one of the two corpora out)"
                    )
