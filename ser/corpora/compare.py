"""Compare a corpus with its protocol: labels, counts, classes, parts, names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser.common import did_you_mean
from ser.corpora.issues import Issue
from ser.corpora.protocol import PARTS, Protocol
from ser.corpora.table import unknown_label
from ser.corpora.utterance import Utterance
from ser.corpora.validation import ValidatedUtterance, origin_of

# Kinds of the issues of a corpus whose counts differ from the protocol's, and of names that it does not have.
MISSING, NAMES = "missing", "names"


@dataclass(frozen=True)
class Comparison:
    """A corpus folder compared with its protocol, before any file is read.

    Attributes:
        edition: the edition of the corpus that equals the folder or is nearest to it, or "".
        expected: the protocol's counts of that edition (utterances, speakers, labels), as far as it has them.
        counts: the same counts of the folder.
        differences: such as "23 of 24 happy".
        absent: files that the corpus's own table names and that do not exist; they are not counted.
    """

    edition: str
    expected: Mapping[str, Any]
    counts: Mapping[str, Any]
    differences: list[str]
    absent: list[Path]


def check_labels(protocol: Protocol, utterances: Sequence[Utterance]) -> list[Issue]:
    """Raw labels are a closed set: return an issue for each utterance with another label."""
    return [unknown_label(protocol, u.label, origin_of(u)) for u in utterances if u.label not in protocol.labels]


def compare_with_protocol(protocol: Protocol, utterances: Sequence[Utterance]) -> Comparison:
    """Count the utterances whose file exists, and compare with the nearest edition of the corpus."""
    absent = {u.path for u in utterances if not os.path.lexists(u.path)}
    present = [u for u in utterances if u.path not in absent]
    counts: dict[str, Any] = {
        "utterances": len(present),
        "speakers": len({u.speaker for u in present}),
        "labels": dict(sorted(Counter(u.label for u in present).items())),
    }
    candidates: list[tuple[Any, ...]] = []
    for edition, expected in protocol.editions.items():
        pairs = _count_pairs(counts, expected)
        differences = [f"{number} of {right} {what}" for number, right, what in pairs if number != right]
        distance = abs(counts["utterances"] - expected.get("utterances", counts["utterances"]))
        rank = (bool(differences), distance, len(differences), len(candidates))
        candidates.append((*rank, edition, expected, differences))
    *_, edition, expected, differences = min(candidates, default=("", {}, []))
    return Comparison(edition, expected, counts, differences, sorted(absent))


def _count_pairs(counts: Mapping[str, Any], expected: Mapping[str, Any]) -> list[tuple[int, int, str]]:
    """The number counted, the number expected, and of what, for all that the protocol expects."""
    pairs = [(counts[key], expected[key], key) for key in ("utterances", "speakers") if key in expected]
    labels = expected.get("labels", {}).items()
    return pairs + [(counts["labels"].get(label, 0), number, label) for label, number in labels]


def incomplete_issue(protocol: Protocol, corpus_dir: Path, comparison: Comparison) -> Issue:
    """Make the issue of a corpus whose counts differ from the protocol's."""
    edition = f" ({comparison.edition})" if comparison.edition else ""
    absent = (
        f"; {len(comparison.absent)} files are not there (such as {comparison.absent[0]})" if comparison.absent else ""
    )
    differences = f"{', '.join(comparison.differences)}{absent}"
    pairs = _count_pairs(comparison.counts, comparison.expected)
    if pairs and all(number >= right for number, right, _ in pairs) and not comparison.absent:
        fix = f"if it has grown, give the new numbers under `expected` in {protocol.path}; else remove the rest"
        return Issue(MISSING, f"more than the complete {protocol.name}{edition}: {differences}", corpus_dir, fix)
    return Issue(
        MISSING,
        f"not the complete {protocol.name}{edition}: {differences}",
        corpus_dir,
        f"complete it (from {protocol.source}), fix `expected` in {protocol.path}, or go on with --allow-partial true",
    )


def check_classes(protocol: Protocol, items: Sequence[ValidatedUtterance]) -> list[Issue]:
    """Return issues of classes without a speaker and, if the corpus is a table, of speakers without a class."""
    classes_of: dict[str, set[str | None]] = {}
    for item in items:
        classes_of.setdefault(item.utterance.speaker, set()).add(protocol.labels[item.utterance.label])
    available = set().union(*classes_of.values())
    lacking = [name for name in protocol.classes if name not in available]
    fix = "map a label to it, take it out of `classes`, or go on with --allow-partial true"
    issues = [Issue("classes", f"class {name} has no speaker", protocol.path, fix) for name in lacking]
    for item in items:
        u = item.utterance
        if u.origin and classes_of.pop(u.speaker, {""}) == {None}:
            what = f"speaker {u.speaker} has no utterance in a class"
            fix = "fix the labels, remove the lines, or go on without with --allow-partial true"
            issues.append(Issue("classes", what, u.origin, fix))
    return issues


def check_parts(protocol: Protocol, labelled: Sequence[ValidatedUtterance], allow_partial: bool) -> list[Issue]:
    """Return issues of speakers that are in no part of a fold, and of parts with speakers but without utterances.

    Args:
        protocol: of the corpus; its splits are lists of speakers.
        labelled: utterances with a class.
        allow_partial: parts without utterances are no issue.
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
    """Return an issue for each id in `drop` and each speaker or text in `splits` that the corpus does not have.

    Args:
        protocol: of the corpus.
        utterances: all utterances that the preparer lists.
    """
    ids, speakers = {u.id for u in utterances}, {u.speaker for u in utterances}
    texts = {u.text_id for u in utterances if u.text_id}
    issues = _unknown(f"{protocol.path}: drop", "utterance", protocol.drop, ids)
    for split, spec in protocol.splits.items():
        where = f"{protocol.path}: splits: {split}"
        issues += _unknown(where, "speaker", protocol.named_speakers(split), speakers)
        if isinstance(spec.get("texts"), Mapping):
            listed = dict.fromkeys(text for names in spec["texts"].values() for text in names)
            issues += _unknown(f"{where}: texts", "text", listed, texts)
    return issues


def _unknown(where: str, what: str, names: Iterable[str], known: set[str]) -> list[Issue]:
    fixes = {name: did_you_mean(name, sorted(known), before="") or "remove it" for name in names if name not in known}
    return [Issue(NAMES, f"the corpus has no such {what}", f"{where}: {name}", fix) for name, fix in fixes.items()]
