"""Check a corpus folder, and report all of its issues without writing: `steps/prepare.py --check true`."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ser.common import InputError
from ser.corpora.compare import MISSING, NAMES, Comparison
from ser.corpora.equal_audio import equal_pairs
from ser.corpora.examine import Listing, check_corpus_exists, check_folds, examine, examine_splits, list_utterances
from ser.corpora.issues import Issue, Issues
from ser.corpora.preparers import Preparer
from ser.corpora.protocol import Protocol
from ser.corpora.utterance import Utterance, files_below, is_hidden, other_files

MAX_SHOWN = 5  # lines of each list


def check_corpus(
    preparer: Preparer, protocol: Protocol, corpus_dir: Path, allow_pipes: bool = False
) -> tuple[str, bool]:
    """Read a corpus completely, and compare it with its protocol.

    Args:
        preparer: lists the utterances.
        protocol: of the corpus.
        corpus_dir: folder or table of the corpus.
        allow_pipes: run the commands of a wav.scp.

    Returns:
        The report, and whether stage 1 would prepare the corpus as it is.

    Raises:
        InputError: the folder does not exist.
    """
    check_corpus_exists(protocol, corpus_dir)
    issues = Issues()
    with tempfile.TemporaryDirectory() as audio_dir:
        listing, stopped = Listing([], [], issues), False
        try:
            listing = list_utterances(preparer, protocol, corpus_dir, Path(audio_dir), allow_pipes, issues)
        except InputError as error:
            kind = "the list of utterances cannot be read further"
            issues.append(Issue(kind, error.what, error.where, error.fix))
            stopped = True
        examined = examine(protocol, corpus_dir, listing, issues)
        if examined.validated:
            splits = examine_splits(protocol, examined, issues)
            issues += check_folds(protocol, examined.labelled, splits) if splits else []
    comparison, pairs = examined.comparison, [f"{key} = {other}" for key, other in equal_pairs(examined.validated)]
    # Missing utterances are listed one by one; if the list of utterances stops, they and their names are not known.
    found = [issue for issue in issues if issue.kind != MISSING and not (stopped and issue.kind == NAMES)]
    if comparison.differences and not stopped:
        found += [Issue(MISSING, text) for text in _missing(protocol, comparison, listing.utterances)]
    reported = [
        *(u.path for u in listing.utterances),
        *listing.duplicates,
        *(Path(str(issue.where)) for issue in found),
    ]
    lines = [
        *_head(preparer, protocol, corpus_dir, comparison),
        *_notes(protocol, corpus_dir, listing, reported, stopped),
        *_block("utterances that have the samples of another one of their speaker and label, kept", pairs),
    ]
    messages: dict[str, dict[str, None]] = {}
    for issue in found:
        messages.setdefault(issue.kind, {})[str(issue)] = None
    for kind, of_kind in messages.items():
        lines += [f"  {kind}: {len(of_kind)}", *_first(list(of_kind))]
    number = sum(map(len, messages.values()))
    twice = f"; {len(pairs)} recordings are listed twice, under two ids" if pairs else ""
    verdict = (f"not complete: {number} issues" if messages else "complete") + twice
    return os.linesep.join([*lines, f"{protocol.corpus}: {verdict}"]), not messages


def _head(preparer: Preparer, protocol: Protocol, corpus_dir: Path, comparison: Comparison) -> list[str]:
    lines = [f"{protocol.name} in {corpus_dir}"]
    if preparer.tree is not None:
        lines.append(f"  tree: {preparer.tree(corpus_dir)}")
    for edition, expected in protocol.editions.items():
        lines.append(f"  should hold{f' ({edition})' if edition else ''}: {_counted(expected)}")
    if not protocol.editions:
        lines.append(f"  should hold: {protocol.path} does not give it")
    nearest = f" ({'nearest to ' if comparison.differences else ''}{comparison.edition})" if comparison.edition else ""
    return [*lines, f"  holds{nearest}: {_counted(comparison.counts)}"]


def _counted(counts: Mapping[str, Any]) -> str:
    numbers = [f"{counts[key]} {key}" for key in ("utterances", "speakers") if key in counts]
    labels = ", ".join(f"{label} {n}" for label, n in counts.get("labels", {}).items())
    return ", ".join(numbers) + (f" ({labels})" if labels else "")


def _notes(
    protocol: Protocol, corpus_dir: Path, listing: Listing, reported: Sequence[Path], stopped: bool
) -> list[str]:
    """List what is skipped without harm; after a listing that stopped, other files are unknown and not listed."""
    files = files_below(corpus_dir, unreadable=lambda error: None)
    hidden = [path for path in files if is_hidden(path.relative_to(corpus_dir))]
    others = [] if stopped else other_files(corpus_dir, reported)
    dropped = [u.id for u in listing.utterances if u.id in protocol.drop]
    return [
        *_block("second copies of equal content, skipped", listing.duplicates),
        *_block("hidden files, skipped", hidden),
        *_block("files that are no utterances, skipped", others),
        *_block(f"utterances dropped by {protocol.path.name}, skipped", dropped),
    ]


def _block(what: str, names: Sequence[object]) -> list[str]:
    """Format a list: its length and its first entries; no lines if it is empty."""
    return [f"  {len(names)} {what}:", *_first(names)] if names else []


def _first(names: Sequence[object]) -> list[str]:
    rest = [f"    ... and {len(names) - MAX_SHOWN} more"] if len(names) > MAX_SHOWN else []
    return [*(f"    {name}" for name in names[:MAX_SHOWN]), *rest]


def _missing(protocol: Protocol, comparison: Comparison, utterances: Sequence[Utterance]) -> list[str]:
    """List differences, speakers of the splits without utterances and, if equal counts are usual, those with others."""
    counts: dict[str, Counter[str]] = {}
    for u in sorted(utterances, key=lambda u: u.speaker):
        if u.label in protocol.labels and u.path not in comparison.absent:
            counts.setdefault(u.speaker, Counter())[u.label] += 1
    named = {speaker for split in protocol.splits for speaker in protocol.named_speakers(split)}
    lines = comparison.differences + [f"{speaker}: no utterances" for speaker in sorted(named - counts.keys())]
    if not counts or "labels" not in comparison.expected:  # a table of the user's, for example
        return lines
    usual = Counter(frozenset(c.items()) for c in counts.values()).most_common(1)[0][0]
    speakers = comparison.expected.get("speakers", len(counts))
    if sum(n for _, n in usual) * speakers != comparison.expected.get("utterances"):
        return lines
    for speaker, by_label in counts.items():
        wrong = [f"{by_label[label]} of {n} {label}" for label, n in sorted(usual) if by_label[label] != n]
        if wrong:
            lines.append(f"{speaker}: {by_label.total()} of {sum(n for _, n in usual)} utterances ({', '.join(wrong)})")
    return lines
