"""Utterances of equal samples within a corpus, whatever their files say beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ser.corpora.issues import Issue
from ser.corpora.items import ValidatedUtterance, where
from ser.corpora.protocol import PARTS, Protocol
from ser.corpora.splits import Fold


def equal_groups(items: Sequence[ValidatedUtterance]) -> list[list[ValidatedUtterance]]:
    """Utterances of equal samples, two and more of each."""
    groups: dict[str, list[ValidatedUtterance]] = {}
    for item in items:
        groups.setdefault(item.sound, []).append(item)
    return [group for group in groups.values() if len(group) > 1]


def contradicting(protocol: Protocol, items: Sequence[ValidatedUtterance]) -> dict[str, Issue]:
    """Utterances of equal samples that differ in label or speaker, so that one is wrong: id -> what is wrong."""
    found: dict[str, Issue] = {}
    for group in equal_groups(items):
        names = " and ".join(where(item.utterance) for item in group)
        if len({item.utterance.label for item in group}) > 1:
            what, which = "equal audio with two labels", "both"
        elif len({item.utterance.speaker for item in group}) > 1:
            what, which = "equal audio of two speakers", "one"
        else:
            continue
        issue = Issue("equal audio", what, names, f"name {which} under `drop` in {protocol.path}")
        found |= {item.utterance.id: issue for item in group}
    return found


def check_equal_parts(
    protocol: Protocol, items: Sequence[ValidatedUtterance], splits: Mapping[str, Any]
) -> list[Issue]:
    """No fold has equal samples in two of its parts, as splits by text may bring about: those that have.

    Args:
        splits: what splits.json holds.
    """
    issues = []
    groups = equal_groups(items)
    folds = [(s, k, Fold(fold)) for s, found in splits.items() for k, fold in enumerate(found["folds"], 1) if groups]
    for group in groups:
        for split, number, fold in folds:
            parts = [part for part in PARTS if any(fold.holds(part, item.utterance) for item in group)]
            if len(parts) > 1:
                names = " and ".join(where(item.utterance) for item in group)
                what = f"equal audio in {' and '.join(parts)} of fold {number} of split {split}"
                issues.append(Issue("equal audio", what, names, f"name one under `drop` in {protocol.path}"))
    return issues


def equal_pairs(items: Sequence[ValidatedUtterance]) -> list[tuple[str, str]]:
    """Each utterance that has the samples, label and speaker of one before it, and that one; by id."""
    groups = [g for g in equal_groups(items) if len({(i.utterance.label, i.utterance.speaker) for i in g}) == 1]
    return [(item.utterance.id, group[0].utterance.id) for group in groups for item in group[1:]]
