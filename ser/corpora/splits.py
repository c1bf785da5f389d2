"""Splits by rule become lists of speakers, once, when the corpus is prepared: data/<corpus>/splits.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ser.common import InputError, read_json, write_json
from ser.common.seeding import derive_seed
from ser.corpora.protocol import PARTS, Protocol, is_rule, rotated
from ser.corpora.utterance import Utterance

SPLITS = "splits.json"
# With `texts: disjoint`, this share of the shared texts is kept for validation and test.
TEXT_GROUPS = 3
# Less than any share of a class; what remains of a sum from which all is taken.
TINY = 1e-9
# Speakers up to whose number `partition` tries to exchange each with each, which takes time by the square of it.
EXCHANGED = 1000


def resolve(protocol: Protocol, labelled: Sequence[Utterance]) -> dict[str, dict[str, Any]]:
    """Split -> {"rule": as in the protocol, "folds": [fold, ...]}.

    A fold is {part: speakers}, and, where it splits by text, "texts": {part: the text ids that it may have}.

    Args:
        labelled: the utterances that are in a class.

    Raises:
        InputError: a rule that these speakers cannot meet.
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
    """Write splits.json: what `resolve` gives, but "groups" for folds that rotate, whose lists grow by their square.

    Args:
        path: of the file.
        splits: of `resolve`.
    """
    written = {}
    for name, found in splits.items():
        groups = [fold["test"] for fold in found["folds"]]
        rotates = len(groups) >= len(PARTS) and all(f == rotated(groups, k) for k, f in enumerate(found["folds"]))
        written[name] = {"rule": found["rule"], **({"groups": groups} if rotates else {"folds": found["folds"]})}
    write_json(path, written)


def resolved(protocol: Protocol, splits: Mapping[str, Any]) -> Protocol:
    """The protocol with lists of speakers in place of those rules by which `splits` were made.

    Args:
        protocol: of the corpus.
        splits: of `resolve`, or of splits.json.
    """
    found = {
        name: {key: splits[name][key] for key in ["groups" if "groups" in splits[name] else "folds"]}
        for name, spec in protocol.splits.items()
        if is_rule(spec) and name in splits and splits[name]["rule"] == spec
    }
    return replace(protocol, splits={**protocol.splits, **found})


def with_splits(protocol: Protocol, data_dir: Path) -> Protocol:
    """The protocol with the splits that stage 1 wrote for this corpus.

    A rule that has changed since stays a rule, so that the protocol's `folds` ask for stage 1. A corpus prepared
    before there were rules has no splits.json, and needs none.
    """
    path = data_dir / SPLITS
    if not path.is_file():
        return protocol
    splits = read_json(path)
    try:
        return resolved(protocol, dict(splits))
    except (LookupError, TypeError, ValueError):
        raise InputError("holds no splits", path, f"remove {data_dir} and run stage 1") from None


class Fold:
    """Which utterances belong to which part of a fold, by their speakers and, where parts have own texts, by text.

    Args:
        fold: of splits.json.
    """

    def __init__(self, fold: Mapping[str, Any]) -> None:
        self._part = {speaker: part for part in PARTS for speaker in fold[part]}
        self._texts = {part: set(fold["texts"].get(part, [])) for part in PARTS} if "texts" in fold else None

    def part_of(self, utterance: Utterance) -> str | None:
        """The part of its speaker, whether it may have the utterance's text or not; None: of no part."""
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
        there = f"there is 1 speaker ({speakers[0]})" if len(speakers) == 1 else f"there are {len(speakers)} speakers"
        raise InputError(
            f"{needed} {what} need a speaker each, and {there}",
            where,
            "give more speakers, or another split in a protocol of your own",
        )
    if groups == "speakers":
        return _rotate([[speaker] for speaker in speakers])
    rows = {speaker: row for row, speaker in enumerate(speakers)}
    counts = np.zeros((len(speakers), len(protocol.classes) + 1))
    for u in labelled:
        counts[rows[u.speaker], protocol.classes.index(str(protocol.labels[u.label]))] += 1
    counts[:, -1] = counts.sum(1)
    number = partition(counts, shares, [derive_seed(spec.get("seed", 0), "split", s) for s in speakers])
    parts = [[s for s, n in zip(speakers, number, strict=True) if n == k] for k in range(len(shares))]
    return _rotate(parts) if groups is not None else [dict(zip(PARTS, parts, strict=True))]


def _rotate(groups: Sequence[Sequence[str]]) -> list[dict[str, list[str]]]:
    return [rotated(groups, number) for number in range(len(groups))]


def partition(counts: np.ndarray, shares: Sequence[float], order: Sequence[int]) -> list[int]:
    """Deal speakers into parts so that each part has about its share of every column, and none stays empty.

    Greedy, the largest speakers first, then bettered by moves and exchanges for as long as one helps: first to fewer
    classes that a part has not, then to a better balance.

    Args:
        counts: utterances of each speaker in each class, and in all: (speakers, columns).
        shares: of the utterances, one a part; parts of share 0 get no speakers.
        order: a random number for each speaker, for those of equal size.

    Returns:
        The part of each speaker.
    """
    used = [k for k, share in enumerate(shares) if share > 0]
    target = np.array([shares[k] for k in used])[:, None]
    share = counts / np.maximum(counts.sum(0), 1)
    part = np.full(len(counts), -1)
    filled = np.zeros((len(used), counts.shape[1]))

    def cost(filled: np.ndarray) -> np.ndarray:
        """Of (..., parts, columns); rounded, so that no processor's last bit decides."""
        return np.round((np.square(filled - target) / target).sum((-2, -1)), 9)

    def gaps(filled: np.ndarray) -> np.ndarray:
        """How many columns some part has nothing of, of (..., parts, columns)."""
        return np.asarray((filled < TINY).sum((-2, -1)))

    turn = sorted(range(len(counts)), key=lambda s: (-counts[s, -1], order[s]))
    for rank, speaker in enumerate(turn):
        empty = [k for k in range(len(used)) if k not in part]
        open_parts = empty if len(turn) - rank <= len(empty) else list(range(len(used)))
        tried = np.stack([filled + share[speaker] * (np.arange(len(used)) == k)[:, None] for k in open_parts])
        part[speaker] = open_parts[int(cost(tried).argmin())]
        filled[part[speaker]] += share[speaker]
    better = True
    while better:
        better = False
        for speaker in turn:
            own, before = part[speaker], (int(gaps(filled)), float(cost(filled)))
            # Exchanges with every other speaker, then moves into every part; of very many speakers, moves alone.
            others = np.arange(len(counts) if len(counts) <= EXCHANGED else 0)
            change = share[others] - share[speaker]
            tried = np.repeat(filled[None], len(others) + len(used), 0)
            tried[others, own] += change
            tried[others, part[others]] -= change
            if (part == own).sum() > 1:
                moved = len(others) + np.arange(len(used))
                tried[moved, own] -= share[speaker]
                tried[moved, np.arange(len(used))] += share[speaker]
            missing, costs = gaps(tried), cost(tried)
            best = int(np.lexsort((costs, missing))[0])
            if (int(missing[best]), float(costs[best])) < before:
                better, filled = True, tried[best]
                if best < len(others):
                    part[speaker], part[best] = part[best], own
                else:
                    part[speaker] = best - len(others)
    return [used[k] for k in part]


def _given(where: str, labelled: Sequence[Utterance]) -> dict[str, list[str]]:
    """The corpus's own split: every utterance has one, and a speaker has one."""
    first: dict[str, Utterance] = {}
    for u in labelled:
        if u.split not in PARTS:
            named = f"split {u.split!r} is none of {', '.join(PARTS)}" if u.split else "no split is given"
            raise InputError(named, u.origin or u.path, f"give one, or another rule than {{given: true}} ({where})")
        other = first.setdefault(u.speaker, u)
        if other.split != u.split:
            raise InputError(
                f"speaker {u.speaker} is in {u.split} here and in {other.split} in "
                f"{other.origin or other.path}; a speaker may be in one part only",
                u.origin or u.path,
            )
    return {part: sorted(s for s, u in first.items() if u.split == part) for part in PARTS}


def _texts(
    where: str, spec: Mapping[str, Any], fold: Mapping[str, Any], number: int, labelled: Sequence[Utterance]
) -> dict[str, list[str]]:
    """The text ids that each part may have.

    `disjoint` deals those texts that training speakers and others have in common: one third of them, another one from
    fold to fold, stays with validation and test. Utterances without a text id (spontaneous speech) stay where they are.
    """
    used: dict[str, set[str]] = {part: set() for part in PARTS}
    parts = Fold({part: fold[part] for part in PARTS})
    for u in labelled:
        if u.text_id and (own := parts.part_of(u)):
            used[own].add(u.text_id)
    if spec["texts"] != "disjoint":
        allowed = {part: set(spec["texts"].get(part, [])) for part in PARTS}
        both = sorted(allowed["train"] & (allowed["valid"] | allowed["test"]))
        if both:
            raise InputError(f"texts: {both[0]} is in train and in another part; a text may be on one side only", where)
        unplaced = sorted(set().union(*used.values()) - set().union(*allowed.values()))
        if unplaced:
            raise InputError(f"texts: {unplaced[0]} is in no part", where, "add it to one")
    else:
        if not any(used.values()):
            raise InputError("texts: disjoint: the corpus gives no texts", where, "remove it")
        common = used["train"] & (used["valid"] | used["test"])
        ordered = sorted(common, key=lambda text: (derive_seed(spec.get("seed", 0), "texts", text), text))
        groups = max(1, min(TEXT_GROUPS, len(ordered)))
        held = {text for rank, text in enumerate(ordered) if rank % groups == number % groups}
        allowed = {part: used[part] - (held if part == "train" else common - held) for part in PARTS}
    chosen = Fold({**{part: fold[part] for part in PARTS}, "texts": allowed})
    for part in PARTS:
        if fold[part] and not any(chosen.holds(part, u) for u in labelled):
            raise InputError(
                f"texts: fold {number + 1} would have no utterances in {part}", where, "allow it more texts"
            )
    return {part: sorted(allowed[part] & used[part]) for part in PARTS}
