"""Find utterances with equal samples within a corpus, also if their files differ otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ser.corpora.issues import Issue
from ser.corpora.protocol import PARTS, Protocol
from ser.corpora.splits import Fold
from ser.corpora.validation import ValidatedUtterance, origin_of


def equal_groups(items: Sequence[ValidatedUtterance]) -> list[list[ValidatedUtterance]]:
    """Group the utterances with equal samples, two or more in each group."""
    groups: dict[str, list[ValidatedUtterance]] = {}
    for item in items:
        groups.setdefault(item.samples_digest, []).append(item)
    return [group for group in groups.values() if len(group) > 1]


def find_contradictions(protocol: Protocol, items: Sequence[ValidatedUtterance]) -> dict[str, Issue]:
    """Find utterances with equal samples but different labels or speakers, so that one must be wrong: id -> issue."""
    issues: dict[str, Issue] = {}
    for group in equal_groups(items):
        names = " and ".join(origin_of(item.utterance) for item in group)
        if len({item.utterance.label for item in group}) > 1:
            what, which = "equal audio with two labels", "both"
        elif len({item.utterance.speaker for item in group}) > 1:
            what, which = "equal audio of two speakers", "one"
        else:
            continue
        issue = Issue("equal audio", what, names, f"name {which} under `drop` in {protocol.path}")
        issues |= {item.utterance.id: issue for item in group}
    return issues


def check_equal_audio(
    protocol: Protocol, items: Sequence[ValidatedUtterance], splits: Mapping[str, Any]
) -> list[Issue]:
    """Find equal samples in two parts of a fold, which splits by text can cause.

    Args:
        protocol: of the corpus.
        items: utterances with a class.
        splits: content of splits.json.

    Returns:
        An issue for each group, split and fold.
    """
    issues = []
    groups = equal_groups(items)
    folds = [(s, k, Fold(fold)) for s, split in splits.items() for k, fold in enumerate(split["folds"], 1) if groups]
    for group in groups:
        for split, number, fold in folds:
            parts = [part for part in PARTS if any(fold.holds(part, item.utterance) for item in group)]
            if len(parts) > 1:
                names = " and ".join(origin_of(item.utterance) for item in group)
                what = f"equal audio in {' and '.join(parts)} of fold {number} of split {split}"
                issues.append(Issue("equal audio", what, names, f"name one under `drop` in {protocol.path}"))
    return issues


def equal_pairs(items: Sequence[ValidatedUtterance]) -> list[tuple[str, str]]:
    """List (utterance id, id of an earlier utterance with the same samples, label and speaker)."""
    groups = [g for g in equal_groups(items) if len({(i.utterance.label, i.utterance.speaker) for i in g}) == 1]
    return [(item.utterance.id, group[0].utterance.id) for group in groups for item in group[1:]]
