"""Resolve splits given by a rule to lists of speakers when the corpus is prepared: data/<corpus>/splits.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ser.common import InputError, read_json, write_json
from ser.common.seeding import derive_seed
from ser.corpora.protocol import PARTS, Protocol, is_rule, rotating_fold
from ser.corpora.utterance import Utterance

SPLITS = "splits.json"
# With `texts: disjoint`, the inverse of the share of common texts that validation and test get.
TEXT_GROUPS = 3
# A part whose share of a class is less has no utterance of it: the share is a rounding error of a sum.
TINY = 1e-9
# Largest number of speakers whose pairs `partition` tries to exchange, which takes time quadratic in it.
EXCHANGED = 1000


def resolve_splits(protocol: Protocol, labelled: Sequence[Utterance]) -> dict[str, dict[str, Any]]:
    """Resolve the splits of a protocol to lists of speakers.

    Args:
        protocol: of the corpus.
        labelled: utterances with a class.

    Returns:
        Split -> {"rule": as in the protocol, "folds": [fold, ...]}. A fold is {part: speakers} and, if the split also
        divides texts, "texts": {part: text ids that it may have}.

    Raises:
        InputError: a rule cannot be applied to these speakers.
    """
    splits = {}
    for split, spec in protocol.splits.items():
        where = f"{protocol.path}: splits: {split}"
        folds: list[dict[str, Any]]
        folds = list(_folds(protocol, where, spec, labelled) if is_rule(spec) else protocol.folds(split))
        if "texts" in spec:
            for number, fold in enumerate(folds):
                fold["texts"] = _texts(where, spec, fold, number, labelled)
        splits[split] = {"rule": dict(spec), "folds": folds}
    return splits


def write_splits(path: Path, splits: Mapping[str, Any]) -> None:
    """Write splits.json, with "groups" in place of rotating folds, whose lists grow quadratically with their number.

    Args:
        path: the file.
        splits: from `resolve_splits`.
    """
    compact = {}
    for name, split in splits.items():
        folds = split["folds"]
        groups = [fold["test"] for fold in folds]
        rotates = len(groups) >= len(PARTS) and all(fold == rotating_fold(groups, k) for k, fold in enumerate(folds))
        compact[name] = {"rule": split["rule"], **({"groups": groups} if rotates else {"folds": folds})}
    write_json(path, compact)


def apply_splits(protocol: Protocol, splits: Mapping[str, Any]) -> Protocol:
    """Replace the rules of a protocol by lists of speakers; a rule that has changed since stays.

    Args:
        protocol: of the corpus.
        splits: from `resolve_splits`, or from splits.json.
    """
    resolved = {
        name: {key: splits[name][key] for key in ["groups" if "groups" in splits[name] else "folds"]}
        for name, spec in protocol.splits.items()
        if is_rule(spec) and name in splits and splits[name]["rule"] == spec
    }
    return replace(protocol, splits={**protocol.splits, **resolved})


def with_splits(protocol: Protocol, data_dir: Path) -> Protocol:
    """Replace the rules of a protocol by the splits that stage 1 wrote for this corpus.

    A rule that has changed since stays a rule, so that the protocol's `folds` raise an error that asks for stage 1.
    Without splits.json, the protocol is returned as it is.

    Args:
        protocol: of the corpus.
        data_dir: data/<corpus>.

    Raises:
        InputError: splits.json is damaged.
    """
    path = data_dir / SPLITS
    if not path.is_file():
        return protocol
    splits = read_json(path)
    try:
        return apply_splits(protocol, dict(splits))
    except (LookupError, TypeError, ValueError):
        raise InputError("holds no splits", path, f"remove {data_dir} and run stage 1") from None


class Fold:
    """A fold, which assigns utterances to parts by speaker and, if the split also divides texts, by text.

    Args:
        fold: as in splits.json.
    """

    def __init__(self, fold: Mapping[str, Any]) -> None:
        self._part = {speaker: part for part in PARTS for speaker in fold[part]}
        self._texts = {part: set(fold["texts"].get(part, [])) for part in PARTS} if "texts" in fold else None

    def part_of(self, utterance: Utterance) -> str | None:
        """Return the part of the utterance's speaker, also if that part must not have its text; None: no part."""
        return self._part.get(utterance.speaker)

    def holds(self, part: str, utterance: Utterance) -> bool:
        """Whether an utterance belongs to a part."""
        if self.part_of(utterance) != part:
            return False
        return self._texts is None or not utterance.text_id or utterance.text_id in self._texts[part]


def _folds(
    protocol: Protocol, where: str, spec: Mapping[str, Any], labelled: Sequence[Utterance]
) -> list[dict[str, list[str]]]:
    speakers = sorted({u.speaker for u in labelled})
    if "given" in spec:
        return [_given(where, labelled)]
    groups: Any = spec.get("groups")
    shares = [float(s) for s in spec.get("shares", [])] or [1 / groups] * groups if groups != "speakers" else []
    needed = sum(share > 0 for share in shares) or len(PARTS)
    if len(speakers) < needed:
        what = "groups" if type(groups) is int else "parts"
        state = f"there is 1 speaker ({speakers[0]})" if len(speakers) == 1 else f"there are {len(speakers)} speakers"
        fix = "give more speakers, or another split in a protocol of your own"
        raise InputError(f"{needed} {what} need a speaker each, and {state}", where, fix)
    if groups == "speakers":
        return _rotate([[speaker] for speaker in speakers])
    rows = {speaker: row for row, speaker in enumerate(speakers)}
    counts = np.zeros((len(speakers), len(protocol.classes) + 1))
    for u in labelled:
        counts[rows[u.speaker], protocol.classes.index(str(protocol.labels[u.label]))] += 1
    counts[:, -1] = counts.sum(1)
    part_of = partition(counts, shares, [derive_seed(spec.get("seed", 0), "split", s) for s in speakers])
    parts = [[s for s, part in zip(speakers, part_of, strict=True) if part == k] for k in range(len(shares))]
    return _rotate(parts) if groups is not None else [dict(zip(PARTS, parts, strict=True))]


def _rotate(groups: Sequence[Sequence[str]]) -> list[dict[str, list[str]]]:
    return [rotating_fold(groups, number) for number in range(len(groups))]


def partition(counts: np.ndarray, shares: Sequence[float], order: Sequence[int]) -> list[int]:
    """Divide speakers into parts so that each part has about its share of every class, and none stays empty.

    Speakers are assigned greedily, those with most utterances first. Then single moves and exchanges are made as long
    as one improves the partition: first in the number of classes that a part lacks, then in the balance.

    Args:
        counts: utterances of each speaker in each class, and in total: (speakers, classes + 1).
        shares: share of the utterances of each part; parts of share 0 get no speakers.
        order: a random number for each speaker, which orders speakers of equal size.

    Returns:
        The index of each speaker's part.
    """
    used = [k for k, share in enumerate(shares) if share > 0]
    target = np.array([shares[k] for k in used])[:, None]
    share = counts / np.maximum(counts.sum(0), 1)
    part = np.full(len(counts), -1)
    filled = np.zeros((len(used), counts.shape[1]))

    def cost(filled: np.ndarray) -> np.ndarray:
        """Chi-square distance from the shares, of (..., parts, columns); rounded to be equal on all processors."""
        return np.round((np.square(filled - target) / target).sum((-2, -1)), 9)

    def gaps(filled: np.ndarray) -> np.ndarray:
        """Count the classes that parts lack, of (..., parts, columns)."""
        return np.asarray((filled < TINY).sum((-2, -1)))

    speakers = sorted(range(len(counts)), key=lambda s: (-counts[s, -1], order[s]))
    for rank, speaker in enumerate(speakers):
        empty = [k for k in range(len(used)) if k not in part]
        open_parts = empty if len(speakers) - rank <= len(empty) else list(range(len(used)))
        candidates = np.stack([filled + share[speaker] * (np.arange(len(used)) == k)[:, None] for k in open_parts])
        part[speaker] = open_parts[int(cost(candidates).argmin())]
        filled[part[speaker]] += share[speaker]
    improved = True
    while improved:
        improved = False
        for speaker in speakers:
            current, before = part[speaker], (int(gaps(filled)), float(cost(filled)))
            # Exchanges with every other speaker, then moves to every part; with very many speakers, moves alone.
            others = np.arange(len(counts) if len(counts) <= EXCHANGED else 0)
            change = share[others] - share[speaker]
            candidates = np.repeat(filled[None], len(others) + len(used), 0)
            candidates[others, current] += change
            candidates[others, part[others]] -= change
            if (part == current).sum() > 1:
                moves = len(others) + np.arange(len(used))
                candidates[moves, current] -= share[speaker]
                candidates[moves, np.arange(len(used))] += share[speaker]
            missing, costs = gaps(candidates), cost(candidates)
            best = int(np.lexsort((costs, missing))[0])
            if (int(missing[best]), float(costs[best])) < before:
                improved, filled = True, candidates[best]
                if best < len(others):
                    part[speaker], part[best] = part[best], current
                else:
                    part[speaker] = best - len(others)
    return [used[k] for k in part]


def _given(where: str, labelled: Sequence[Utterance]) -> dict[str, list[str]]:
    """Read the corpus's own split: each utterance names its part, the same for all of a speaker."""
    first: dict[str, Utterance] = {}
    for u in labelled:
        if u.split not in PARTS:
            others = sum(not other.split for other in labelled) - 1
            absent = "no split is given" + (f", nor for {others} other utterances" if others else "")
            named = f"split {u.split!r} is none of {', '.join(PARTS)}" if u.split else absent
            raise InputError(named, u.origin or u.path, f"give one, or another rule than {{given: true}} ({where})")
        other = first.setdefault(u.speaker, u)
        if other.split != u.split:
            what = f"speaker {u.speaker} is in {u.split} here and in {other.split} in {other.origin or other.path}"
            raise InputError(f"{what}; a speaker may be in one part only", u.origin or u.path)
    return {part: sorted(s for s, u in first.items() if u.split == part) for part in PARTS}


def _texts(
    where: str, spec: Mapping[str, Any], fold: Mapping[str, Any], number: int, labelled: Sequence[Utterance]
) -> dict[str, list[str]]:
    """List the text ids that each part of a fold may have.

    `disjoint` divides the texts that training speakers share with others: validation and test get one third of them,
    a different third in each fold, and training gets the rest. Utterances without a text id (spontaneous speech) stay
    where they are.
    """
    used: dict[str, set[str]] = {part: set() for part in PARTS}
    parts = Fold(fold)
    for u in labelled:
        if u.text_id and (part := parts.part_of(u)):
            used[part].add(u.text_id)
    if spec["texts"] != "disjoint":
        allowed = {part: set(spec["texts"].get(part, [])) for part in PARTS}
        shared = sorted(allowed["train"] & (allowed["valid"] | allowed["test"]))
        if shared:
            what = f"texts: {shared[0]} is in train and in another part; a text may be on one side only"
            raise InputError(what, where)
        unplaced = sorted(set().union(*used.values()) - set().union(*allowed.values()))
        if unplaced:
            raise InputError(f"texts: {unplaced[0]} is in no part", where, "add it to one")
    else:
        if not any(used.values()):
            raise InputError("texts: disjoint: the corpus gives no texts", where, "remove it")
        common = used["train"] & (used["valid"] | used["test"])
        ordered = sorted(common, key=lambda text: (derive_seed(spec.get("seed", 0), "texts", text), text))
        groups = max(1, min(TEXT_GROUPS, len(ordered)))
        held_out = {text for rank, text in enumerate(ordered) if rank % groups == number % groups}
        allowed = {part: used[part] - (held_out if part == "train" else common - held_out) for part in PARTS}
    divided = Fold({**fold, "texts": allowed})
    for part in PARTS:
        if fold[part] and not any(divided.holds(part, u) for u in labelled):
            what = f"texts: fold {number + 1} would have no utterances in {part}"
            raise InputError(what, where, "allow it more texts")
    return {part: sorted(allowed[part] & used[part]) for part in PARTS}
