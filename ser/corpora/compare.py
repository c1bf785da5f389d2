"""How a corpus compares with its protocol: labels, counts, classes, parts, names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser.common import InputError, did_you_mean
from ser.corpora.issues import Issue
from ser.corpora.items import ValidatedUtterance, where
from ser.corpora.protocol import PARTS, Protocol
from ser.corpora.table import unknown_label
from ser.corpora.utterance import Utterance


@dataclass(frozen=True)
class Comparison:
    """How the corpus folder compares with the protocol, before any file is read.

    Attributes:
        edition: the edition that it is or comes nearest to, or "".
        expected: what that edition holds: utterances, speakers, labels; as far as the protocol has it.
        counts: what is there, likewise.
        wrong: the differences, such as "23 of 24 happy".
        absent: files that the corpus's own table names and that are not there; they are not counted.
    """

    edition: str
    expected: Mapping[str, Any]
    counts: Mapping[str, Any]
    wrong: list[str]
    absent: list[Path]


def check_labels(protocol: Protocol, utterances: Sequence[Utterance]) -> list[Issue]:
    """Raw labels are a closed set: an issue for each utterance with another one."""
    return [unknown_label(protocol, u.label, where(u)) for u in utterances if u.label not in protocol.labels]


def compare_with_protocol(protocol: Protocol, utterances: Sequence[Utterance]) -> Comparison:
    """Count those whose file is there, and compare with the edition that comes nearest."""
    absent = {u.path for u in utterances if not os.path.lexists(u.path)}
    present = [u for u in utterances if u.path not in absent]
    counts: dict[str, Any] = {
        "utterances": len(present),
        "speakers": len({u.speaker for u in present}),
        "labels": dict(sorted(Counter(u.label for u in present).items())),
    }
    candidates: list[tuple[Any, ...]] = []
    for edition, expected in protocol.editions.items():
        pairs = [(counts[key], expected[key], key) for key in ("utterances", "speakers") if key in expected]
        pairs += [(counts["labels"].get(label, 0), n, label) for label, n in expected.get("labels", {}).items()]
        wrong = [f"{number} of {wanted} {what}" for number, wanted, what in pairs if number != wanted]
        distance = abs(counts["utterances"] - expected.get("utterances", counts["utterances"]))
        candidates.append((bool(wrong), distance, len(wrong), len(candidates), edition, expected, wrong))
    *_, edition, expected, wrong = min(candidates, default=("", {}, []))
    return Comparison(edition, expected, counts, wrong, sorted(absent))


def incomplete(protocol: Protocol, corpus_dir: Path, comparison: Comparison) -> InputError:
    """The error of a corpus that is not as the protocol has it."""
    edition = f" ({comparison.edition})" if comparison.edition else ""
    absent = (
        f"; {len(comparison.absent)} files are not there (such as {comparison.absent[0]})" if comparison.absent else ""
    )
    return InputError(
        f"not the complete {protocol.name}{edition}: {', '.join(comparison.wrong)}{absent}",
        corpus_dir,
        f"complete it (from {protocol.source}), fix `expected` in {protocol.path}, or go on with --allow-partial true",
    )


def check_classes(protocol: Protocol, items: Sequence[ValidatedUtterance]) -> list[Issue]:
    """Every class has a speaker, and, where the corpus is a table, every speaker a class: what is against it."""
    issues = []
    named: dict[str, set[str | None]] = {}
    for item in items:
        named.setdefault(item.utterance.speaker, set()).add(protocol.labels[item.utterance.label])
    there = set().union(*named.values())
    for name in protocol.classes:
        if name not in there:
            fix = "map a label to it, take it out of `classes`, or go on with --allow-partial true"
            issues.append(Issue("classes", f"class {name} has no speaker", protocol.path, fix))
    for item in items:
        u = item.utterance
        if u.origin and named.pop(u.speaker, {""}) == {None}:
            what = f"speaker {u.speaker} has no utterance in a class"
            fix = "fix the labels, remove the lines, or go on without with --allow-partial true"
            issues.append(Issue("classes", what, u.origin, fix))
    return issues


def check_parts(protocol: Protocol, labelled: Sequence[ValidatedUtterance], allow_partial: bool) -> list[Issue]:
    """Every speaker is in a part of every fold, and every part that has speakers has utterances: what is against it.

    Args:
        allow_partial: parts may have no utterances.
    """
    issues = []
    speakers = {item.utterance.speaker for item in labelled}
    for split in protocol.splits:
        for number, fold in enumerate(protocol.folds(split), 1):
            placed = {s for part in PARTS for s in fold[part]}
            for speaker in sorted(speakers - placed):
                what = f"splits: {split}: speaker {speaker} is in no part of fold {number}"
                issues.append(Issue("splits", what, protocol.path, "add it to one"))
            for part in PARTS:
                if fold[part] and not speakers.intersection(fold[part]) and not allow_partial:
                    what = f"splits: {split}: fold {number}: no utterances in {part}"
                    issues.append(Issue("splits", what, protocol.path, "give it speakers of the corpus"))
    return issues


def unknown_names(protocol: Protocol, utterances: Sequence[Utterance]) -> list[Issue]:
    """An issue for each id in `drop` and each speaker or text in `splits` that no utterance has.

    Args:
        utterances: all that the preparer lists.
    """
    ids, speakers = {u.id for u in utterances}, {u.speaker for u in utterances}
    texts = {u.text_id for u in utterances if u.text_id}
    problems = _unknown(f"{protocol.path}: drop", "utterance", protocol.drop, ids)
    for split, spec in protocol.splits.items():
        where = f"{protocol.path}: splits: {split}"
        problems += _unknown(where, "speaker", protocol.named_speakers(split), speakers)
        if isinstance(spec.get("texts"), Mapping):
            listed = dict.fromkeys(text for names in spec["texts"].values() for text in names)
            problems += _unknown(f"{where}: texts", "text", listed, texts)
    return problems


def _unknown(where: str, what: str, named: Iterable[str], there: set[str]) -> list[Issue]:
    found = []
    for name in named:
        if name not in there:
            fix = did_you_mean(name, sorted(there), before="") or "remove it"
            found.append(Issue("names", f"the corpus has no such {what}", f"{where}: {name}", fix))
    return found
