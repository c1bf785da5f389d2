"""conf/corpora/<corpus>.yaml: what a corpus should look like, which labels count, who is in which split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ser.common import InputError
from ser.config import find
from ser.config.load import read_yaml

PARTS = ("train", "valid", "test")
KINDS = {list: ("classes",), dict: ("labels", "drop", "expected", "splits")}
KIND_NAMES = {list: "a list", dict: "`key: value` lines, or {} for none", str: "text"}


@dataclass(frozen=True)
class Protocol:
    """A protocol file.

    Attributes:
        corpus: the name that recipes use, which is the file's name.
        classes: the class list of the corpus, in the order of its head's outputs.
        labels: raw label -> class, or None where the utterances are left out.
        drop: utterance id -> why this one is left out.
        expected: counts of the complete corpus: utterances, speakers, labels (raw label -> utterances).
        note: what every table with this corpus has to say beside its figures.
        splits: name -> {"groups": [[speaker, ...], ...]} for rotating folds, or {"train": [...], ...}.
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
    splits: Mapping[str, Mapping[str, list[Any]]]
    path: Path
    note: str = ""

    def folds(self, split: str) -> list[dict[str, list[str]]]:
        """Every fold of a split as {part: speakers}.

        With groups, fold k tests group k, validates on group k + 1 (the first after the last) and trains on the rest.
        """
        if split not in self.splits:
            raise InputError(f"{self.path}: no split {split}; there is: {', '.join(self.splits)}")
        spec = self.splits[split]
        if "groups" not in spec:
            return [{part: list(spec.get(part, [])) for part in PARTS}]
        groups = spec["groups"]
        folds = []
        for k, test in enumerate(groups):
            valid = groups[(k + 1) % len(groups)]
            train = [s for group in groups if group is not test and group is not valid for s in group]
            folds.append({"train": train, "valid": list(valid), "test": list(test)})
        return folds

    def fold(self, split: str, fold: int) -> dict[str, list[str]]:
        """Fold `fold`, from 1; a corpus with fewer folds than another starts again at its first."""
        folds = self.folds(split)
        return folds[(fold - 1) % len(folds)]

    def split_name(self, split: str, fold: int) -> str:
        """The folder of a fold below data/<corpus>/."""
        return f"{split}_fold{(fold - 1) % len(self.folds(split)) + 1}"


def read_protocol(corpus: str, recipe: Path | None = None) -> Protocol:
    """Read and check a protocol, the recipe's own before the toolkit's.

    Raises:
        InputError: absent, a key missing or unknown, a map to no class, or a speaker in two parts of a fold.
    """
    path = find(f"conf/corpora/{corpus}.yaml", recipe)
    values = read_yaml(path)
    names = {field.name for field in fields(Protocol)} - {"corpus", "path"}
    for key in sorted((values.keys() ^ names) - {"note"}):
        raise InputError(
            f"{path}: key {key} is {'missing' if key in names else 'unknown'}; "
            f"a protocol has: {', '.join(sorted(names))}"
        )
    for key, value in values.items():
        kind = next((kind for kind, keys in KINDS.items() if key in keys), str)
        if not isinstance(value, kind):
            raise InputError(f"{path}: key {key} must hold {KIND_NAMES[kind]}, not {value!r}")
    protocol = Protocol(corpus=corpus, path=path, **{**values, "classes": tuple(values["classes"])})
    for label, name in protocol.labels.items():
        if name is not None and name not in protocol.classes:
            raise InputError(f"{path}: labels: {label}: {name} is no class; classes are {', '.join(protocol.classes)}")
    for split in protocol.splits:
        _check_speakers(protocol, split)
    return protocol


def _check_speakers(protocol: Protocol, split: str) -> None:
    for number, fold in enumerate(protocol.folds(split), 1):
        twice = [s for s, n in Counter(s for part in PARTS for s in fold[part]).items() if n > 1]
        if twice:
            parts = ", ".join(part for part in PARTS for s in fold[part] if s == twice[0])
            raise InputError(
                f"{protocol.path}: splits: {split}: fold {number}: speaker {twice[0]} is in {parts}; "
                "a speaker may be in one part only"
            )
