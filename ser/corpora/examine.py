"""Examine a corpus: the steps that preparing and checking share, from the list of its utterances to its splits.

Each step reports its issues to an `Issues`. Preparing collects the kinds that --allow-partial true leaves out, and the
others are raised; a check collects all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser.common import InputError, digest
from ser.corpora.compare import (
    Comparison,
    check_classes,
    check_labels,
    check_parts,
    compare_with_protocol,
    incomplete_issue,
    unknown_names,
)
from ser.corpora.controls import permute_labels
from ser.corpora.equal_audio import check_equal_audio, find_contradictions
from ser.corpora.issues import Issue, Issues
from ser.corpora.preparers import Preparer
from ser.corpora.protocol import Protocol
from ser.corpora.splits import apply_splits, resolve_splits
from ser.corpora.utterance import Utterance
from ser.corpora.validation import ValidatedUtterance, check_times, origin_of, validate_utterances

ONE_ID = "one id, other content"


@dataclass(frozen=True)
class Listing:
    """The utterances of a corpus, before any audio is read.

    Attributes:
        utterances: sorted by id.
        duplicates: files that are second copies and were skipped.
        tolerated: issues of what was left out.
    """

    utterances: list[Utterance]
    duplicates: list[Path]
    tolerated: list[Issue]


@dataclass(frozen=True)
class Examination:
    """A corpus whose audio has been read.

    Attributes:
        listing: its utterances, also those left out.
        comparison: of its counts with those of the protocol.
        unknown: issues of names in the protocol that the corpus does not have.
        validated: utterances whose audio can be read.
        unusable: utterance id -> issue of those that cannot be used.
        items: usable utterances, with their labels permuted if the protocol sets `shuffle_labels`.
        labelled: those of `items` with a class.
    """

    listing: Listing
    comparison: Comparison
    unknown: list[Issue]
    validated: list[ValidatedUtterance]
    unusable: dict[str, Issue]
    items: list[ValidatedUtterance]
    labelled: list[ValidatedUtterance]


def check_corpus_exists(protocol: Protocol, corpus_dir: Path) -> None:
    """Check that the corpus folder, or the table of its files, exists."""
    if not corpus_dir.exists():
        raise InputError(
            "no such folder or table", corpus_dir, f"fix the path ({protocol.name} can be had from {protocol.source})"
        )


def list_utterances(
    preparer: Preparer, protocol: Protocol, corpus_dir: Path, audio_dir: Path, allow_pipes: bool, issues: Issues
) -> Listing:
    """List the utterances of a corpus without reading its audio.

    Args:
        preparer: lists them.
        protocol: of the corpus.
        corpus_dir: folder or table of the corpus.
        audio_dir: folder for audio that the preparer makes.
        allow_pipes: run the commands of a wav.scp.
        issues: gets those of the preparer, equal ids with different content or label, impossible times, and speakers
            with two genders.

    Raises:
        InputError: an id or path cannot be written in Kaldi's tables, or an issue is of a kind that `issues` does not
            collect.
    """
    offered = {"protocol": protocol, "issues": issues, "allow_pipes": allow_pipes, "audio_dir": audio_dir}
    return Listing(*_deduplicate(preparer.utterances(corpus_dir, **offered), issues), issues)


def examine(
    protocol: Protocol,
    corpus_dir: Path,
    listing: Listing,
    issues: Issues,
    known: Mapping[str, ValidatedUtterance] | None = None,
    jobs: int = 1,
) -> Examination:
    """Compare the utterances with the protocol, then read their audio.

    Args:
        protocol: of the corpus.
        corpus_dir: folder or table of the corpus, for messages.
        listing: from `list_utterances`.
        issues: gets the issues of every step.
        known: utterance id -> utterance whose file need not be read again.
        jobs: number of processes that read files.

    Raises:
        InputError: an issue is of a kind that `issues` does not collect.
    """
    utterances = listing.utterances
    issues.report(check_labels(protocol, utterances))
    with_label = [u for u in utterances if u.label in protocol.labels]
    comparison = compare_with_protocol(protocol, with_label)
    unknown = unknown_names(protocol, utterances)
    # If utterances are missing, the unknown names may be theirs.
    issues.report([incomplete_issue(protocol, corpus_dir, comparison)] if comparison.differences else unknown)
    validated, unreadable = validate_utterances(protocol, with_label, known, jobs)
    unusable = {**unreadable, **find_contradictions(protocol, validated)}
    issues.report([*unusable.values()], " (or go on without with --allow-partial true)")
    items = permute_labels(protocol, [item for item in validated if item.utterance.id not in unusable])
    labelled = [item for item in items if protocol.labels[item.utterance.label] is not None]
    return Examination(listing, comparison, unknown, validated, unusable, items, labelled)


def examine_splits(protocol: Protocol, examined: Examination, issues: Issues) -> dict[str, dict[str, Any]]:
    """Check the classes, and resolve the splits.

    Args:
        protocol: of the corpus.
        examined: from `examine`.
        issues: gets the issues; if a rule of a split is one, no splits are returned.

    Returns:
        Content of splits.json.

    Raises:
        InputError: an issue is of a kind that `issues` does not collect.
    """
    issues.report(check_classes(protocol, examined.items))
    try:
        return resolve_splits(protocol, [item.utterance for item in examined.labelled])
    except InputError as error:
        issues.report([Issue("splits", error.what, error.where, error.fix)])
        return {}


def check_folds(
    protocol: Protocol, labelled: Sequence[ValidatedUtterance], splits: Mapping[str, Any], allow_partial: bool = False
) -> list[Issue]:
    """Return the issues of the parts of all folds.

    Args:
        protocol: of the corpus.
        labelled: utterances with a class.
        splits: content of splits.json.
        allow_partial: parts without utterances are no issue.
    """
    parts = check_parts(apply_splits(protocol, splits), labelled, allow_partial)
    return parts + check_equal_audio(protocol, labelled, splits)


def _deduplicate(listed: Iterable[Utterance], issues: Issues) -> tuple[list[Utterance], list[Path]]:
    """Remove second copies of files, and check ids, times and genders; an id is never made unique by a suffix."""
    first: dict[str, Utterance] = {}
    duplicates = []
    for utterance in listed:
        _check_names(utterance)
        if issue := check_times(utterance):
            issues.add(issue)
            continue
        other = first.setdefault(utterance.id, utterance)
        if other is utterance:
            continue
        same_label = other.label == utterance.label
        if same_label and _is_same(other, utterance):
            first[utterance.id], duplicate = sorted((other, utterance), key=lambda u: len(u.path.parts))
            duplicates.append(duplicate.path)
        else:
            difference = "other content" if same_label else f"label {utterance.label} in place of {other.label}"
            what = f"the same utterance as {origin_of(other)} ({utterance.id}) with {difference}"
            issues.add(Issue(ONE_ID, what, origin_of(utterance), "remove the wrong one"))
    utterances = [first[key] for key in sorted(first, key=str.encode)]
    _check_recordings(utterances, issues)
    _check_genders(utterances, issues)
    return utterances, duplicates


def _is_same(one: Utterance, other: Utterance) -> bool:
    """Whether two utterances are the same segment of files with equal content."""
    segments = [(u.start, u.end, u.channel) for u in (one, other)]
    may_equal = segments[0] == segments[1] and one.version[0] == other.version[0]
    return may_equal and digest(one.path) == digest(other.path)


def _check_names(utterance: Utterance) -> None:
    """Check ids and path for Kaldi's tables: UTF-8 lines, split at spaces, that sort by speaker as by utterance."""
    origin, fix = origin_of(utterance), "fix the preparer"
    for name in (utterance.id, utterance.speaker, utterance.recording or "-"):
        if len(name.split()) != 1:
            what = f"{name!r} cannot name an utterance or a speaker, which have no spaces"
            raise InputError(what, origin, fix)
    if not utterance.id.startswith(f"{utterance.speaker}-"):
        what = f"utterance id {utterance.id} does not start with its speaker {utterance.speaker} and a dash"
        raise InputError(what, origin, fix)
    if utterance.gender not in ("f", "m", ""):
        raise InputError(f"gender {utterance.gender!r} is not f, m or empty", origin, fix)
    path = utterance.real_path
    if "\n" in path or not (path.isascii() or path == path.encode("utf-8", "replace").decode()):
        raise InputError("a path that is no line of UTF-8 text", f"{path!r}", "rename it")
    if path != path.strip() or path.endswith("|"):
        what = "Kaldi would take that path for a command or cut its spaces off"
        raise InputError(what, f"{path!r}", "rename the file")


def _check_recordings(utterances: Sequence[Utterance], issues: Issues) -> None:
    """Check that the id of a recording, also with a channel's number, belongs to one file only."""
    first: dict[str, Utterance] = {}
    for u in utterances:
        name = u.recording or u.id
        for key in (name, *([] if u.channel is None else [f"{name}-{u.channel}"])):
            other = first.setdefault(key, u)
            if other.real_path != u.real_path:
                what = f"recording {key} is {u.path} here and {other.path} in {origin_of(other)}"
                issues.add(Issue(ONE_ID, what, origin_of(u), "give each file an id of its own"))


def _check_genders(utterances: Sequence[Utterance], issues: Issues) -> None:
    first: dict[str, Utterance] = {}
    for u in utterances:
        other = first.setdefault(u.speaker, u) if u.gender else u
        if other.gender != u.gender:
            what = f"speaker {u.speaker} is {u.gender} here and {other.gender} in {origin_of(other)}"
            issues.add(Issue("genders", what, origin_of(u), "fix one"))
