"""Open everything that an experiment reads: protocols, features, parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ser.augment import build_augment
from ser.augment.copies import oversampling_factors
from ser.augment.train_set import TrainSet
from ser.batches.dataset import UtteranceDataset, fit_statistics
from ser.batches.overlap import Samples, check_equal_audio, sample_digests
from ser.batches.part import TABLES, Part, data_dir_of, load_part
from ser.batches.statistics import can_store
from ser.common import InputError, digest
from ser.config import Experiment, result_affecting
from ser.corpora import Protocol, read_protocol
from ser.corpora.confounding import check_confounded, confounded
from ser.corpora.cuts import Cut, read_cuts
from ser.corpora.describe import incompleteness
from ser.corpora.kaldi import read_table
from ser.corpora.protocol import PARTS
from ser.corpora.splits import with_splits
from ser.features import FeatureStore
from ser.frontends import build_frontend

UNIFIED = "unified"


@dataclass(frozen=True)
class Data:
    """The corpora of an experiment.

    Attributes:
        protocols: corpus -> its protocol.
        stores: corpus -> the features of its utterances.
        heads: head name -> class list; one head per corpus, or one for the union of all class lists.
        train_sets: corpus -> its training utterances with augmented copies, for corpora that get copies.
        train_stores: corpus -> the features of its train set.
        samples: corpus -> part -> utterance -> digest of its samples.
    """

    experiment: Experiment
    protocols: dict[str, Protocol]
    stores: dict[str, FeatureStore]
    heads: dict[str, tuple[str, ...]]
    data_root: Path
    train_sets: dict[str, TrainSet]
    train_stores: dict[str, FeatureStore]
    samples: Samples

    def parts(self, name: str) -> dict[str, Part]:
        """Load the part of a name (train, valid or test) of all corpora that have it."""
        parts = {}
        for corpus, protocol in self.protocols.items():
            classes = self.heads[UNIFIED if UNIFIED in self.heads else corpus]
            store, originals = self.stores[corpus], None
            if name == "train" and corpus in self.train_sets:
                store, originals = self.train_stores[corpus], self.train_sets[corpus].originals()
            part = load_part(self.data_root, protocol, self.experiment, name, store, classes, originals)
            if part is not None:
                parts[corpus] = part
        return parts

    def untrained(self, part: str) -> dict[str, list[str]]:
        """Find classes of a part for which a head has no training utterances.

        Args:
            part: valid or test.

        Returns:
            Corpus -> such classes, for the corpora that have any.
        """
        in_train = {corpus: self._classes(corpus, "train") for corpus in self.protocols}
        if UNIFIED in self.heads:
            in_train = dict.fromkeys(self.protocols, set().union(*in_train.values()))
        untrained = {corpus: sorted(self._classes(corpus, part) - classes) for corpus, classes in in_train.items()}
        return {corpus: classes for corpus, classes in untrained.items() if classes}

    def check_confounded(self, normalisation: str) -> None:
        """Refuse normalisation by speaker for a corpus whose speakers determine the classes, unless it is allowed."""
        check_confounded(self.data_root, self.protocols, normalisation, self.experiment.batches.allow_confounded)

    def caveats(self, normalisation: str | None = None) -> list[str]:
        """Describe each corpus that is incomplete, or whose classes the normalisation removes, in one line.

        Args:
            normalisation: None: that of the experiment.
        """
        lacking = {c: incompleteness(self.data_root / c) for c in self.protocols}
        normalisation = normalisation or self.experiment.batches.normalisation
        figures_of = confounded(self.data_root, self.protocols, normalisation)
        return [
            *(f"{c}: an incomplete copy of the corpus ({', '.join(items)})" for c, items in lacking.items() if items),
            *(
                f"{c}: statistics of a speaker remove the differences between classes ({figures})"
                for c, figures in figures_of.items()
            ),
        ]

    def warnings(self, normalisation: str | None = None) -> list[str]:
        """List what a reader of the results has to know about the data.

        Args:
            normalisation: None: that of the experiment.
        """
        untrained = [
            f"{corpus}: {', '.join(names)} to test and none to train: recall 0, which counts in UA"
            for corpus, names in self.untrained("test").items()
        ]
        duplicates = [
            f"{', '.join(self.protocols)}: {n} utterances of the {part} part have the samples of another one there"
            for part, n in check_equal_audio(self.samples).items()
        ]
        return [*untrained, *self.caveats(normalisation), *duplicates]

    def _classes(self, corpus: str, part: str) -> set[str]:
        table = data_dir_of(self.data_root, self.protocols[corpus], self.experiment, part) / "utt2emo"
        return set(read_table(table).values()) if table.is_file() else set()

    def check_trained(self, recorded: Mapping[str, Any], folder: Path) -> None:
        """Check that a training was on these data and with these settings.

        Args:
            recorded: hashes of the training.
            folder: of the experiment.

        Raises:
            InputError: naming the first of config, data and split that differs.
        """
        if odd := [name for name, value in self.hashes().items() if recorded[name] != value]:
            what = {"config_hash": "config than its config.yaml"}.get(odd[0], odd[0].removesuffix("_hash"))
            raise InputError(
                f"trained with another {what}",
                folder,
                "restore that, remove the folder and run stages 4 to 6 again, or give another --exp folder",
            )

    def hashes(self) -> dict[str, str]:
        """config_hash, data_hash (features and tables of every part) and split_hash (speakers of each part)."""
        e = self.experiment
        tables = [
            path
            for protocol in self.protocols.values()
            for part in PARTS
            for name in TABLES
            if (path := data_dir_of(self.data_root, protocol, e, part) / name).is_file()
        ]
        names = [str(path.relative_to(self.data_root)) for path in tables]
        copies = [{c: store.key for c, store in self.train_stores.items()}] if self.train_stores else []
        return {
            "config_hash": digest(result_affecting(e)),
            "data_hash": digest(
                {c: store.key for c, store in self.stores.items()}, self.heads, names, *tables, *copies
            ),
            "split_hash": digest({c: p.fold(e.split, e.fold) for c, p in self.protocols.items()}),
        }


def open_data(
    experiment: Experiment, recipe: Path | None, data_root: Path, dump_root: Path, most_folds: int = 1
) -> Data:
    """Open protocols and features of an experiment.

    Args:
        experiment: the settings.
        recipe: folder whose protocols come first; None: those of the toolkit.
        data_root: folder in which stage 1 wrote the corpora.
        dump_root: root of the feature store.
        most_folds: number of folds to allow even if the corpora have fewer, as in a grid with other corpora.

    Raises:
        InputError: a corpus has no protocol, or its stage 1 or 3 has not run; an utterance id or a speaker is in two
            corpora; equal audio is in two parts.
    """
    protocols = {c: with_splits(read_protocol(c, recipe), data_root / c) for c in experiment.corpora}
    frontend = build_frontend(experiment)
    local = experiment.training.local_dump
    stores = {c: FeatureStore(dump_root, data_root / c, frontend, local=local) for c in experiment.corpora}
    _check_ids(stores, data_root)
    _check_speakers(protocols, experiment, data_root)
    samples = {
        c: sample_digests({part: data_dir_of(data_root, protocols[c], experiment, part) for part in PARTS}, store.cuts)
        for c, store in stores.items()
    }
    check_equal_audio(samples)
    folds = max(most_folds, *(protocol.count_folds(experiment.split) for protocol in protocols.values()))
    if experiment.fold > folds:
        raise InputError(
            f"split {experiment.split} of {', '.join(protocols)} has folds 1 to {folds}", f"fold = {experiment.fold}"
        )
    if experiment.task == "multi":
        heads = {corpus: protocol.classes for corpus, protocol in protocols.items()}
    else:
        heads = {UNIFIED: tuple(sorted({name for p in protocols.values() for name in p.classes}))}
    cuts = {c: store.cuts for c, store in stores.items()}
    train_sets = _train_sets(experiment, protocols, cuts, data_root, dump_root)
    sets = {c: train_set for c, train_set in train_sets.items() if train_set.oversampling > 1}
    for train_set in sets.values():
        train_set.check()
    copied = {c: FeatureStore(dump_root, s.folder, frontend, s.augment, local) for c, s in sets.items()}
    return Data(experiment, protocols, stores, heads, data_root, sets, copied, samples)


def compute_statistics(
    experiment: Experiment, recipe: Path | None, data_root: Path, dump_root: Path, job: int = 1, jobs: int = 1
) -> int:
    """Compute the statistics of all parts of an experiment that are not stored yet.

    One job computes the statistics of a part, in the order of the utterances; other jobs wait for it. A part that
    cannot be loaded is skipped: the stage that needs it reports the error. In a read-only store nothing is computed.

    Args:
        experiment: the settings.
        recipe: folder whose protocols come first; None: those of the toolkit.
        data_root: folder in which stage 1 wrote the corpora.
        dump_root: root of the feature store.
        job: number of this job, from 1; job 1 also computes the statistics over all training parts.
        jobs: number of jobs, which share the parts.

    Returns:
        The number of parts that are the share of this job.

    Raises:
        InputError: see `open_data`.
    """
    local = replace(experiment.training, local_dump="")  # read the archives in place
    opened, config = replace(experiment, training=local), experiment.batches
    data = open_data(opened, recipe, data_root, dump_root, most_folds=experiment.fold)
    number = computed = 0
    for name in PARTS:
        parts: list[Part] = []
        with suppress(InputError):
            parts = list(data.parts(name).values())
        if not parts or not all(can_store(part.reader.scp.parent) for part in parts):
            continue
        for part in parts:
            number += 1
            if (number - job) % jobs == 0:
                UtteranceDataset(part, config)
                computed += 1
        if name == "train" and job == 1:
            fit_statistics([UtteranceDataset(part, config) for part in parts])
    return computed


def open_train_sets(
    experiment: Experiment, recipe: Path | None, data_root: Path, dump_root: Path
) -> dict[str, TrainSet]:
    """The train set of each corpus, with augmented copies, whether it is written or not; {} if there are no copies.

    Args:
        experiment: the settings.
        recipe: folder whose protocols come first; None: those of the toolkit.
        data_root: folder in which stage 1 wrote the corpora.
        dump_root: root of the feature store.

    Raises:
        InputError: stage 1 has not run, or a folder of the settings cannot be used.
    """
    protocols = {c: with_splits(read_protocol(c, recipe), data_root / c) for c in experiment.corpora}
    cuts = {c: read_cuts(data_root / c / "cuts.jsonl.gz") for c in experiment.corpora}
    return _train_sets(experiment, protocols, cuts, data_root, dump_root)


def _train_sets(
    experiment: Experiment,
    protocols: Mapping[str, Protocol],
    cuts: Mapping[str, Sequence[Cut]],
    data_root: Path,
    dump_root: Path,
) -> dict[str, TrainSet]:
    if not experiment.augment["copies"]:
        return {}
    augment = build_augment(experiment.augment, dump_root / "rooms")
    folders = {
        c: data_dir_of(data_root, protocol, experiment, "train")
        for c, protocol in protocols.items()
        if protocol.fold(experiment.split, experiment.fold)["train"]
    }
    sizes = {c: len(read_table(folder / "utt2spk")) for c, folder in folders.items()}
    factors = oversampling_factors(sizes, augment.copies)
    return {c: TrainSet(folders[c], {cut.id: cut for cut in cuts[c]}, factors[c], augment) for c in folders}


def _check_ids(stores: Mapping[str, FeatureStore], data_root: Path) -> None:
    """Refuse an utterance id that two corpora share: what an experiment writes is keyed by utterance."""
    if len(stores) < 2:  # stage 1 has checked each corpus
        return
    _refuse_shared(
        "utterance",
        ((cut.id, corpus, data_root / corpus) for corpus, store in stores.items() for cut in store.cuts),
        "leave one of the two corpora out, or, if they are not versions of one corpus, give one's speakers other names "
        "in its preparer",
    )


def _check_speakers(protocols: Mapping[str, Protocol], experiment: Experiment, data_root: Path) -> None:
    """Refuse a speaker that two corpora share: training on one corpus and testing on the other would leak."""
    tables = {
        data_dir_of(data_root, protocol, experiment, part) / "utt2spk": corpus
        for corpus, protocol in protocols.items()
        for part in PARTS
    }
    speakers = {table: sorted({*read_table(table).values()}) for table in tables if table.is_file()}
    _refuse_shared(
        "speaker",
        ((name, tables[table], table) for table, names in speakers.items() for name in names),
        "begin the names of speakers with that of their corpus in its preparer (if it is one person, leave one of the "
        "two corpora out)",
    )


def _refuse_shared(kind: str, names: Iterable[tuple[str, str, Path]], fix: str) -> None:
    """Refuse a name that two corpora share.

    Args:
        kind: of the names, for the message.
        names: each with its corpus and the file or folder that contains it.
        fix: what to do about it.
    """
    first: dict[str, str] = {}
    for name, corpus, where in names:
        if (other := first.setdefault(name, corpus)) != corpus:
            raise InputError(f"{kind} {name} is in {other} too", where, fix)
