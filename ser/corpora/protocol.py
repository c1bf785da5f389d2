"""Protocols of corpora, conf/corpora/<corpus>.yaml: expected counts, labels and classes, splits."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ser.common import InputError
from ser.config import find
from ser.config.yaml_file import QUOTE, read_yaml, shown

PARTS = ("train", "valid", "test")
MAPPINGS = ("labels", "drop", "expected", "splits", "columns")
KINDS = {list: ("classes",), dict: MAPPINGS, bool: ("shuffle_labels", "synthetic")}
KIND_NAMES = {list: "a list", dict: "`key: value` lines, or {} for none", bool: "true or false", str: "text"}
OPTIONAL = {"note", "base", "preparer", "keep", "shuffle_labels", "synthetic", "columns"}
# A split with more folds gets, in stage 1, only the data dirs of the experiment's fold; others get those of all folds.
FEW_FOLDS = 20
COUNTS = ("utterances", "speakers", "labels")
SPLIT_NAME = re.compile(r"\w[\w.-]{0,99}")
# Ends messages about lists of speakers or texts.
NAMES = "; names that YAML takes for numbers, true, false or null need quotes"
# Form of a split -> its keys.
FORMS = {"groups": {"groups", "seed"}, "shares": {"shares", "seed"}, "given": {"given"}, "train": set(PARTS)}


@dataclass(frozen=True)
class Protocol:
    """A protocol file.

    Attributes:
        corpus: the name that recipes use, which is the file's name.
        classes: the classes of the corpus, in the order of its head's outputs.
        labels: raw label -> class, or None to leave its utterances out.
        drop: utterance id -> reason for leaving it out.
        expected: counts of the complete corpus: utterances, speakers, labels (raw label -> utterances). A corpus with
            several editions has such counts for each, by the edition's name.
        splits: name -> one of
            {"groups": [[speaker, ...], ...]}: rotating folds;
            {"groups": "speakers"}: a group for each speaker; {"groups": 5, "seed": 0}: five groups, balanced by class;
            {"train": [speaker, ...], "valid": [...], "test": [...]};
            {"shares": [0.7, 0.2, 0.1], "seed": 0}: shares of the utterances, divided by speaker;
            {"given": True}: the `split` of each utterance.
            Each may also have "texts": "disjoint" or {part: [text id, ...]}. Rules are resolved to lists of speakers
            when the corpus is prepared (`ser.corpora.splits`).
        note: printed with every table that has figures of this corpus.
        base: name of the corpus whose protocol gives the keys that this one lacks, or "".
        preparer: local/prepare_<preparer>.py lists the utterances.
        keep: for control experiments, the share of the training utterances of each fold to train on, or
            {"hours": number}; None: all.
        shuffle_labels: for control experiments, permute the labels of each speaker.
        synthetic: the speech is synthesised, so that figures measure nothing about people.
        columns: for the preparer csv, its name of a column -> the name in the table, where they differ.
        path: the file.
        bases: the protocol files of the bases.
    """

    corpus: str
    name: str
    description: str
    licence: str
    citation: str
    source: str
    language: str
    classes: tuple[str, ...]
    labels: Mapping[str, str | None]
    drop: Mapping[str, str]
    expected: Mapping[str, Any]
    splits: Mapping[str, Mapping[str, Any]]
    path: Path
    note: str = ""
    base: str = ""
    preparer: str = ""
    keep: float | Mapping[str, float] | None = None
    shuffle_labels: bool = False
    synthetic: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    bases: tuple[Path, ...] = ()

    @property
    def editions(self) -> dict[str, Mapping[str, Any]]:
        """Expected counts by edition; "" names the only one, and without expected counts there are no editions."""
        if not self.expected:
            return {}
        return {"": self.expected} if self.expected.keys() & COUNTS else dict(self.expected)

    def folds(self, split: str) -> list[dict[str, list[str]]]:
        """List the folds of a split, each {part: speakers}.

        Raises:
            InputError: as in `count_folds`.
        """
        return [self.fold(split, number + 1) for number in range(self.count_folds(split))]

    def count_folds(self, split: str) -> int:
        """Count the folds of a split.

        Raises:
            InputError: there is no such split, or it is a rule that stage 1 has not resolved.
        """
        spec = self._spec(split)
        if is_rule(spec):
            what = f"splits: {split}: a rule that the prepared corpus has not been split by"
            raise InputError(what, self.path, "run stage 1")
        return len(spec.get("folds", spec.get("groups", [spec])))

    def num_folds(self, split: str) -> int | None:
        """Count the folds of a split, resolved or not; None: a fold for each speaker, and these are not known yet."""
        spec = self._spec(split)
        if not is_rule(spec):
            return self.count_folds(split)
        groups = spec.get("groups", 1)
        return groups if isinstance(groups, int) else None

    def has_test(self, split: str, fold: int) -> bool:
        """Whether a fold has test speakers; the corpus's own split is assumed to have some."""
        spec = self._spec(split)
        if not is_rule(spec):
            return bool(self.fold(split, fold)["test"])
        return "shares" not in spec or spec["shares"][PARTS.index("test")] > 0

    def fold(self, split: str, fold: int) -> dict[str, list[str]]:
        """Return {part: speakers} of a split.

        With groups, fold k tests group k, validates on group k + 1 (the first after the last) and trains on the rest.

        Args:
            split: name of the split.
            fold: fold of the experiment, from 1; see `corpus_fold`.
        """
        number = corpus_fold(fold, self.count_folds(split)) - 1
        spec = self._spec(split)
        if "groups" in spec:
            return rotating_fold(spec["groups"], number)
        speakers = spec["folds"][number] if "folds" in spec else spec
        return {part: list(speakers.get(part, [])) for part in PARTS}

    def named_speakers(self, split: str) -> dict[str, None]:
        """Return the speakers that a split lists, in order; a rule lists none."""
        folds = [] if is_rule(self._spec(split)) else self.folds(split)
        return dict.fromkeys(speaker for fold in folds for part in PARTS for speaker in fold[part])

    def split_name(self, split: str, fold: int) -> str:
        """Return the name of a fold's folder in data/<corpus>/.

        Args:
            split: name of the split.
            fold: fold of the experiment, from 1; see `corpus_fold`.
        """
        return f"{split}_fold{corpus_fold(fold, self.count_folds(split))}"

    def _spec(self, split: str) -> Mapping[str, Any]:
        if split not in self.splits:
            raise InputError(f"no split {split}; there is: {', '.join(self.splits)}", self.path)
        return self.splits[split]


def corpus_fold(fold: int, num_folds: int) -> int:
    """Return the fold of a corpus in a fold of an experiment; a corpus with fewer folds starts again at its first.

    Args:
        fold: fold of the experiment, from 1.
        num_folds: number of folds of the corpus.

    Returns:
        The fold, from 1.
    """
    return (fold - 1) % num_folds + 1


def is_rule(spec: Mapping[str, Any]) -> bool:
    """Whether a split is a rule, which needs the corpus's speakers to become lists of speakers."""
    return "shares" in spec or "given" in spec or isinstance(spec.get("groups"), int | str)


def rotating_fold(groups: Sequence[Sequence[str]], number: int) -> dict[str, list[str]]:
    """Make the fold that tests one group, validates on the next one, and trains on the rest.

    Args:
        groups: lists of speakers.
        number: index of the test group, from 0.
    """
    following = (number + 1) % len(groups)
    train = [s for k, group in enumerate(groups) if k not in (number, following) for s in group]
    return {"train": train, "valid": list(groups[following]), "test": list(groups[number])}


def read_protocol(corpus: str, recipe: Path | None = None) -> Protocol:
    """Read and check a protocol; the recipe's folder comes before the toolkit's.

    Args:
        corpus: name of the protocol file.
        recipe: recipe folder.

    Raises:
        InputError: there is no such file, a key is missing or unknown, a label's class is none of the classes, a split
            has no known form, or a speaker is in two parts of a fold.
    """
    values, (path, *bases) = _read(corpus, recipe, ())
    names = {field.name for field in fields(Protocol)} - {"corpus", "path", "bases"}
    for key in sorted((values.keys() ^ names) - OPTIONAL):
        state = "missing" if key in names else "unknown"
        raise InputError(f"key {key} is {state}; a protocol has: {', '.join(sorted(names))}", path)
    for key, value in values.items():
        if key == "keep":
            _check_keep(path, value)
            continue
        kind = next((kind for kind, keys in KINDS.items() if key in keys), str)
        if not isinstance(value, kind):
            hint = QUOTE if kind is str else ""
            raise InputError(f"key {key} must hold {KIND_NAMES[kind]}, not {shown(value)}{hint}", path)
    _check_classes(path, values["classes"])
    for key, reason in values["drop"].items():
        if not is_name(reason):
            raise InputError(f"drop: {key}: must give the reason in a line of text, not {shown(reason)}{QUOTE}", path)
    protocol = Protocol(corpus=corpus, path=path, bases=tuple(bases), **{**values, "classes": tuple(values["classes"])})
    for label, name in protocol.labels.items():
        if name is not None and name not in protocol.classes:
            wrong, hint = (name, "") if is_name(name) else (shown(name), QUOTE)
            classes = ", ".join(protocol.classes)
            raise InputError(f"labels: {label}: {wrong} is no class; classes are {classes}{hint}", path)
    _check_expected(protocol)
    if not protocol.splits:
        raise InputError("splits: none", path, "give one, such as strict: {groups: speakers}")
    for split, spec in protocol.splits.items():
        if not SPLIT_NAME.fullmatch(split):
            raise InputError(f"splits: {shown(split)}: a name of letters, digits and _, which names a folder", path)
        _check_form(protocol, split, spec)
        if not is_rule(spec):
            _check_speakers(protocol, split)
    return protocol


def _read(corpus: str, recipe: Path | None, above: tuple[Path, ...]) -> tuple[dict[str, Any], list[Path]]:
    """Read the values of a protocol and of its bases; returns them merged, and the files, the protocol's own first."""
    path = find(f"conf/corpora/{corpus}.yaml", recipe)
    if path in above:
        raise InputError(f"base: leads back to itself by way of {', '.join(map(str, above))}", path, "name another")
    values = read_yaml(path)
    base = values.get("base")
    if base is None:
        values.setdefault("preparer", corpus)
        return values, [path]
    if not isinstance(base, str):
        raise InputError(f"key base must hold the name of a corpus, not {shown(base)}{QUOTE}", path)
    # A recipe's own version of a corpus may build on the toolkit's of the same name.
    base_values, paths = _read(base, None if base == corpus else recipe, (*above, path))
    for key in MAPPINGS:
        if isinstance(base_values.get(key), dict) and isinstance(values.get(key), dict):
            values[key] = base_values[key] | values[key]
    if isinstance(values.get("expected"), dict):  # null removes an edition of the base
        values["expected"] = {key: value for key, value in values["expected"].items() if value is not None}
    return base_values | values, [path, *paths]


def is_name(value: Any) -> bool:
    """Whether a value is one line of text, not empty, of at most 302 characters, without spaces at its ends."""
    return isinstance(value, str) and re.fullmatch(r"\S(?:[^\n\t]{0,300}\S)?", value) is not None


def _check_classes(path: Path, classes: list[Any]) -> None:
    invalid = [name for name in classes if not is_name(name)]
    if invalid:
        raise InputError(f"classes: {shown(invalid[0])}: must be text, not empty{QUOTE}", path)
    twice = [name for name, n in Counter(classes).items() if n > 1]
    if twice or not classes:
        raise InputError(f"classes: {f'{twice[0]} appears twice' if twice else 'none'}", path, "list each once")


def _check_keep(path: Path, keep: Any) -> None:
    hours = isinstance(keep, Mapping) and keep.keys() == {"hours"}
    number = keep["hours"] if hours else keep
    if type(number) not in (int, float) or number <= 0 or (not hours and number > 1):
        what = f"keep: a share of the training utterances up to 1, or {{hours: 0.5}}, not {shown(keep)}"
        raise InputError(what, path)


def _check_expected(protocol: Protocol) -> None:
    path = protocol.path
    for edition, counts in protocol.editions.items():
        where = f"{path}: expected: {edition}" if edition else f"{path}: expected"
        if not isinstance(counts, Mapping) or counts.keys() - COUNTS:
            raise InputError(f"must hold {', '.join(COUNTS)} and no other keys, or such keys for each edition", where)
        labels = counts.get("labels", {})
        numbers = [counts.get("utterances", 0), counts.get("speakers", 0)]
        if not isinstance(labels, Mapping) or not all(type(n) is int and n >= 0 for n in [*numbers, *labels.values()]):
            raise InputError("utterances and speakers are whole numbers, labels are `label: number` lines", where)
        unknown = sorted(labels.keys() - protocol.labels.keys())
        if unknown:
            raise InputError(f"label {unknown[0]} is not among the labels of the protocol", where, "add it there")


def _check_form(protocol: Protocol, split: str, spec: Any) -> None:
    where = f"{protocol.path}: splits: {split}"
    form = next((name for name in FORMS if isinstance(spec, Mapping) and name in spec), None)
    if form is None:
        raise InputError("must hold groups, shares, given, or train, valid and test", where)
    for key in spec.keys() - FORMS[form] - {"texts"}:
        known = ", ".join(sorted(FORMS[form]))
        raise InputError(f"key {key} is unknown; a split with {form} has: {known}, texts", where)
    if type(spec.get("seed", 0)) is not int:
        raise InputError(f"seed: a whole number, not {shown(spec['seed'])}", where)
    if form == "groups":
        _check_groups(where, spec)
    elif form == "shares":
        _check_shares(where, spec["shares"])
    elif form == "given" and spec["given"] is not True:
        raise InputError("given: true, or another form of split", where)
    elif form == "train" and not all(_is_names(spec.get(part, [])) for part in PARTS):
        raise InputError(f"train, valid and test are lists of speakers{NAMES}", where)
    texts = spec.get("texts", "disjoint")
    if texts != "disjoint" and not (
        isinstance(texts, Mapping) and texts.keys() <= set(PARTS) and all(_is_names(names) for names in texts.values())
    ):
        raise InputError(f"texts: disjoint, or lists of text ids under train, valid and test{NAMES}", where)


def _check_groups(where: str, spec: Mapping[str, Any]) -> None:
    groups = spec["groups"]
    lists = isinstance(groups, list) and bool(groups) and all(_is_names(group) for group in groups)
    if lists and "seed" in spec:
        raise InputError("seed: lists of speakers are not drawn", where, "remove it")
    if not lists and groups != "speakers" and type(groups) is not int:
        raise InputError(f"groups: lists of speakers, a number of groups, or speakers{NAMES}", where)
    if type(groups) is int and groups < len(PARTS):
        raise InputError(f"groups: {groups}: at least 3: one to test, one to validate on, one to train on", where)


def _check_shares(where: str, shares: Any) -> None:
    numbers = isinstance(shares, list) and len(shares) == len(PARTS) and all(type(s) in (int, float) for s in shares)
    if not numbers or min(shares) < 0 or shares[0] <= 0 or abs(sum(shares) - 1) > 1e-6:
        what = f"shares: three numbers for train, valid and test that add up to 1, not {shown(shares)}"
        raise InputError(what, where)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_name, value))


def _check_speakers(protocol: Protocol, split: str) -> None:
    for number, fold in enumerate(protocol.folds(split), 1):
        twice = [s for s, n in Counter(s for part in PARTS for s in fold[part]).items() if n > 1]
        if twice:
            parts = ", ".join(part for part in PARTS for s in fold[part] if s == twice[0])
            what = f"splits: {split}: fold {number}: speaker {twice[0]} is in {parts}"
            raise InputError(f"{what}; a speaker may be in one part only", protocol.path)
