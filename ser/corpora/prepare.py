"""Prepare a corpus: read every file once, account for every utterance, write manifests and data dirs."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ser.common import InputError, atomic_path, digest, locked, read_json, write_json, write_text
from ser.corpora.compare import (
    check_classes,
    check_labels,
    check_parts,
    compare_with_protocol,
    incomplete_error,
    unknown_names,
)
from ser.corpora.controls import permute_labels
from ser.corpora.describe import read_prepared
from ser.corpora.equal_audio import check_equal_audio, equal_pairs, find_contradictions
from ser.corpora.issues import Issue, Issues, raise_issues
from ser.corpora.known_files import read_known_files, write_known_files
from ser.corpora.manifests import MANIFESTS, write_data_dirs, write_manifests
from ser.corpora.preparers import Preparer
from ser.corpora.protocol import FEW_FOLDS, PARTS, Protocol, corpus_fold, is_rule
from ser.corpora.splits import SPLITS, apply_splits, resolve_splits, with_splits, write_splits
from ser.corpora.utterance import UNMATCHED, Utterance, count_hidden_files, other_files, real_folder
from ser.corpora.validation import ValidatedUtterance, check_times, is_segmented, origin_of, validate_utterances

log = logging.getLogger(__name__)
# Part of the fingerprint; to be raised when the meaning of the files below data/ changes.
VERSION = 3
# Pairs of utterances with equal samples.
EQUAL = "equal_audio.tsv"
ONE_ID = "one id, other content"
# Kinds of issues whose files or lines are left out with --allow-partial true.
PARTIAL = (
    UNMATCHED,
    "table",
    "segments",
    "missing files",
    "failed pipes",
    "durations",
    "speakers",
    "one id, two lines",
)


def prepare_corpus(
    preparer: Preparer,
    protocol: Protocol,
    corpus_dir: Path,
    out_dir: Path,
    allow_partial: bool,
    allow_pipes: bool = False,
    recheck: bool = False,
    jobs: int = 1,
    fold: tuple[str, int] | None = None,
) -> str:
    """Write manifests and Kaldi data dirs of a corpus, unless they exist already and the files are the same.

    Args:
        preparer: lists the utterances.
        protocol: of the corpus.
        corpus_dir: folder or table of the corpus.
        out_dir: data/<corpus>.
        allow_partial: leave out and list what is missing or unreadable.
        allow_pipes: run the commands of a wav.scp.
        recheck: read every file again, also those whose size and times of change are as before.
        jobs: number of processes that read files.
        fold: split and fold of the experiment that the corpus is prepared for; of a split with many folds, only this
            one is written. None: all are.

    Returns:
        A summary of a few lines.

    Raises:
        InputError: the corpus differs from its protocol.
    """
    check_corpus_exists(protocol, corpus_dir)
    _check_out_dir(corpus_dir, out_dir)
    real_folder.cache_clear()
    issues = Issues()
    # Audio that a preparer makes lies beside the folder that is replaced, and stays when the corpus is prepared again.
    audio_dir = out_dir.with_name(f"{out_dir.name}.audio")
    offered = {"protocol": protocol, "issues": issues, "allow_pipes": allow_pipes, "audio_dir": audio_dir}
    utterances, duplicates = deduplicate(preparer.utterances(corpus_dir, **offered), issues)
    kinds = PARTIAL if allow_partial else ()
    raise_issues([issue for issue in issues if issue.kind not in kinds])
    tolerated = [issue for issue in issues if issue.kind in kinds]
    unmatched = [issue for issue in tolerated if issue.kind == UNMATCHED]
    fingerprint = _fingerprint(preparer, protocol, utterances, allow_partial, tolerated)
    report_path = out_dir / "report.json"
    previous: dict[str, Any] | None = None  # report of an earlier preparation of the same files
    if not recheck and report_path.is_file():
        previous = read_json(report_path)
        if not _is_done(out_dir, protocol, previous, fingerprint):
            previous = None
        elif not (missing := _folds_to_write(with_splits(protocol, out_dir), out_dir, fold)):
            return f"{protocol.corpus}: up to date\n{_summary(protocol, previous)}"
    raise_issues(check_labels(protocol, utterances))
    comparison = compare_with_protocol(protocol, utterances)
    if comparison.differences and not allow_partial:
        raise incomplete_error(protocol, corpus_dir, comparison)
    unknown = unknown_names(protocol, utterances)
    if not allow_partial:
        raise_issues(unknown)
    report: dict[str, Any] = {"edition": comparison.edition} if comparison.edition else {}
    report |= {"stray": len(unmatched), "lines": len(tolerated) - len(unmatched)}
    report["unknown_names"] = list(map(str, unknown))
    report |= {"found": comparison.counts, "missing": comparison.differences}
    report |= {"fingerprint": fingerprint, "duplicates": len(duplicates), "hidden": count_hidden_files(corpus_dir)}
    report["others"] = len(other_files(corpus_dir, [*(u.path for u in utterances), *duplicates])) - len(unmatched)
    known = {} if recheck else read_known_files(out_dir, utterances)
    log.info("%s: the files of %d of %d utterances are as before", protocol.corpus, len(known), len(utterances))
    validated, unreadable = validate_utterances(protocol, utterances, known, jobs)
    items, unusable = _usable_items(protocol, validated, unreadable, allow_partial)
    labelled = [item for item in items if protocol.labels[item.utterance.label] is not None]
    left_out = _left_out(protocol, utterances, items, unusable, tolerated)
    for name, reason in left_out:
        log.info("%s: left out: %s: %s", protocol.corpus, name, reason)
    if not labelled:
        raise InputError(
            "no utterance that can be read is in a class", corpus_dir, f"complete it (from {protocol.source})"
        )
    if not allow_partial:
        raise_issues(check_classes(protocol, items))
    splits = resolve_splits(protocol, [item.utterance for item in labelled])
    if previous is not None:
        with locked(out_dir, f"{out_dir} is being written"):
            previous = read_json(report_path)  # another process may have added a fold
            counts = write_data_dirs(out_dir, protocol, labelled, splits, missing)
            for key, added in zip(("parts", "other_text", "not_kept"), counts, strict=True):
                if added:
                    previous[key] = previous.get(key, {}) | added
            _write_report(out_dir, previous)
        names = ", ".join(f"{split}_fold{number}" for split, number in missing)
        return f"{protocol.corpus}: up to date but for {names}, now written\n{_summary(protocol, previous)}"
    raise_issues(check_parts(apply_splits(protocol, splits), labelled, allow_partial))
    raise_issues(check_equal_audio(protocol, labelled, splits))
    equal = equal_pairs(items)
    report |= {**_counts(protocol, items, labelled), "equal_audio": len(equal), "left_out": len(left_out)}
    report["unusable"] = len(unusable)
    if is_segmented(utterances):
        report["recordings"] = len({item.recording for item in items})
        report["parted"] = _count_divided_recordings(apply_splits(protocol, splits), labelled)
    unused = _unused_splits(protocol, utterances)
    if unused:
        report["unused_splits"] = unused
    with locked(out_dir, f"{out_dir} is being written"), atomic_path(out_dir) as folder:
        folder.mkdir()
        write_manifests(folder, protocol, items, labelled)
        write_known_files(folder, validated)
        write_splits(folder / SPLITS, splits)
        folds = _folds_to_write(apply_splits(protocol, splits), folder, fold, every=True)
        report["parts"], other_text, not_kept = write_data_dirs(folder, protocol, labelled, splits, folds)
        if other_text:
            report["other_text"] = other_text
        if not_kept:
            report["not_kept"] = not_kept
        write_text(folder / "left_out.tsv", "".join(f"{name}\t{reason}\n" for name, reason in sorted(left_out)))
        if equal:
            write_text(folder / EQUAL, "".join(f"{key}\t{other}\n" for key, other in equal))
        _write_report(folder, report)
    return _summary(protocol, report)


def _write_report(folder: Path, report: dict[str, Any]) -> None:
    """Write report.json, with notes on confounding and on classes that parts lack."""
    write_json(folder / "report.json", report)
    prepared = read_prepared(folder)
    report["notes"] = [str(prepared.confounding), *prepared.missing_classes()]
    write_json(folder / "report.json", report)


def _usable_items(
    protocol: Protocol, items: Sequence[ValidatedUtterance], unreadable: Mapping[str, Issue], allow_partial: bool
) -> tuple[list[ValidatedUtterance], dict[str, Issue]]:
    """Divide utterances into usable ones, with their labels permuted if `shuffle_labels` is set, and issues by id.

    Raises:
        InputError: an utterance is not usable, and not `allow_partial`.
    """
    unusable = {**unreadable, **find_contradictions(protocol, items)}
    if not allow_partial:
        raise_issues(list(unusable.values()), " (or go on without with --allow-partial true)")
    return permute_labels(protocol, [item for item in items if item.utterance.id not in unusable]), unusable


def _left_out(
    protocol: Protocol,
    utterances: Sequence[Utterance],
    items: Sequence[ValidatedUtterance],
    unusable: Mapping[str, Issue],
    tolerated: Sequence[Issue],
) -> list[tuple[str, str]]:
    """List (utterance id, or file if it has none, reason for leaving it out)."""
    dropped = [(u.id, protocol.drop[u.id]) for u in utterances if u.id in protocol.drop]
    others = [
        (item.utterance.id, f"label {item.utterance.label} is in no class")
        for item in items
        if protocol.labels[item.utterance.label] is None
    ]
    files = [(str(i.where), i.what.partition(" (")[0] if i.kind == UNMATCHED else i.what) for i in tolerated]
    return [*dropped, *((key, str(issue)) for key, issue in unusable.items()), *files, *others]


def _counts(
    protocol: Protocol, items: Sequence[ValidatedUtterance], labelled: Sequence[ValidatedUtterance]
) -> dict[str, Any]:
    return {
        "utterances": len(items),
        "speakers": len({item.utterance.speaker for item in items}),
        "classes": {c: sum(protocol.labels[i.utterance.label] == c for i in labelled) for c in protocol.classes},
        "hours": round(sum(item.duration for item in labelled) / 3600, 3),
        "stereo": sum(item.num_channels > 1 and item.channel is None for item in items),
        "rates": {str(rate): n for rate, n in sorted(Counter(i.sampling_rate for i in items).items())},
    }


def check_corpus_exists(protocol: Protocol, corpus_dir: Path) -> None:
    """Check that the corpus folder, or the table of its files, exists."""
    if not corpus_dir.exists():
        raise InputError(
            "no such folder or table", corpus_dir, f"fix the path ({protocol.name} can be had from {protocol.source})"
        )


def _check_out_dir(corpus_dir: Path, out_dir: Path) -> None:
    """Check that the folder to write, which is replaced completely, holds nothing but a prepared corpus."""
    folder, corpus = out_dir.resolve(), corpus_dir.resolve()
    if folder == corpus or folder in corpus.parents:
        raise InputError("holds the corpus and would be replaced", out_dir, "give another folder to write")
    if out_dir.exists() and not out_dir.is_dir():
        raise InputError("a file is in the way", out_dir, "remove it, or give another folder to write")
    prepared = any((out_dir / name).is_file() for name in ("report.json", *MANIFESTS))
    if out_dir.is_dir() and any(out_dir.iterdir()) and not prepared:
        raise InputError(
            "holds something else than a prepared corpus and would be replaced",
            out_dir,
            "remove it, or give another folder to write, such as data/<corpus>",
        )


def _fingerprint(
    preparer: Preparer,
    protocol: Protocol,
    utterances: Sequence[Utterance],
    allow_partial: bool,
    tolerated: Sequence[Issue],
) -> str:
    """Hash everything that determines the files below data/<corpus>."""
    state = []
    for u in utterances:
        row: list[Any] = [str(u.real_path), u.version, u.id, u.label, u.speaker, u.gender, u.text_id]
        state.append([*row, u.custom, u.start, u.end, u.channel, u.recording, u.language, u.split])
    return digest(
        VERSION,
        protocol.path,
        preparer.path,
        state,
        allow_partial,
        sorted((i.kind, str(i)) for i in tolerated),
        *protocol.bases,
    )


def _is_done(out_dir: Path, protocol: Protocol, report: dict[str, Any], fingerprint: str) -> bool:
    """Whether the corpus was prepared from the same files, and no output has been removed since."""
    names = [*MANIFESTS, "left_out.tsv", *(f"{part}/utt2spk" for part in report.get("parts", {}))]
    if any(is_rule(spec) for spec in protocol.splits.values()):
        names.append(SPLITS)
    return report.get("fingerprint") == fingerprint and all((out_dir / name).is_file() for name in names)


def _folds_to_write(
    protocol: Protocol, folder: Path, fold: tuple[str, int] | None, every: bool = False
) -> list[tuple[str, int]]:
    """List (split, fold) of the data dirs that do not exist yet and are needed.

    Args:
        protocol: with resolved splits.
        folder: data/<corpus>.
        fold: as in `prepare_corpus`.
        every: include splits of few folds, which are always written together with the manifests.
    """
    folds = []
    for split in protocol.splits:
        count = protocol.count_folds(split)
        numbers: Iterable[int] = range(1, count + 1)
        if count <= FEW_FOLDS and not every:
            continue
        if count > FEW_FOLDS and fold is not None:
            numbers = [corpus_fold(fold[1], count)] if split == fold[0] else []
        folds += [(split, number) for number in numbers if not (folder / f"{split}_fold{number}").is_dir()]
    return folds


def deduplicate(listed: Iterable[Utterance], issues: Issues) -> tuple[list[Utterance], list[Path]]:
    """Remove second copies of files, and check ids, times and genders; an id is never made unique by a suffix.

    Args:
        listed: utterances of the preparer.
        issues: gets equal ids with different content or label, impossible times, and speakers with two genders.

    Returns:
        The utterances, sorted by id, and the duplicate files that were skipped.

    Raises:
        InputError: an id or path cannot stand in Kaldi's tables.
    """
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
        if other.label != utterance.label:
            difference = f"label {utterance.label} in place of {other.label}"
        elif not _is_same(other, utterance):
            difference = "other content"
        else:
            difference = ""
        if difference:
            what = f"the same utterance as {origin_of(other)} ({utterance.id}) with {difference}"
            issues.add(Issue(ONE_ID, what, origin_of(utterance), "remove the wrong one"))
            continue
        kept, dropped = (utterance, other) if len(utterance.path.parts) < len(other.path.parts) else (other, utterance)
        first[utterance.id] = kept
        duplicates.append(dropped.path)
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
    for name in (utterance.id, utterance.speaker, utterance.recording or "-"):
        if len(name.split()) != 1:
            raise InputError(
                f"{name!r} cannot name an utterance or a speaker, which have no spaces",
                origin_of(utterance),
                "fix the preparer",
            )
    if not utterance.id.startswith(f"{utterance.speaker}-"):
        raise InputError(
            f"utterance id {utterance.id} does not start with its speaker {utterance.speaker} and a dash",
            origin_of(utterance),
            "fix the preparer",
        )
    if utterance.gender not in ("f", "m", ""):
        raise InputError(f"gender {utterance.gender!r} is not f, m or empty", origin_of(utterance), "fix the preparer")
    path = str(utterance.real_path)
    if "\n" in path or not (path.isascii() or path == path.encode("utf-8", "replace").decode()):
        raise InputError("a path that is no line of UTF-8 text", f"{path!r}", "rename it")
    if path != path.strip() or path.endswith("|"):
        raise InputError(
            "Kaldi would take that path for a command or cut its spaces off", f"{path!r}", "rename the file"
        )


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


def _unused_splits(protocol: Protocol, utterances: Sequence[Utterance]) -> str:
    """Make a note if the corpus has a split of its own that no split of the protocol uses, else ""."""
    given = sum(bool(u.split) for u in utterances)
    if not given or any("given" in spec for spec in protocol.splits.values()):
        return ""
    return (
        f"{given} utterances have a split of their own, which {protocol.path.name} does not use: {{given: true}} does"
    )


def _count_divided_recordings(protocol: Protocol, labelled: Sequence[ValidatedUtterance]) -> dict[str, int]:
    """Count recordings whose speakers are in several parts: <split>_fold<k> -> number, without zeros."""
    speakers: dict[str, set[str]] = {}
    for item in labelled:
        speakers.setdefault(item.recording, set()).add(item.utterance.speaker)
    counts = {}
    for split in protocol.splits:
        for number, fold in enumerate(protocol.folds(split), 1):
            part_of = {s: part for part in PARTS for s in fold[part]}
            divided = [names for names in speakers.values() if len({part_of[s] for s in names}) > 1]
            counts[f"{split}_fold{number}"] = len(divided)
    return {name: number for name, number in counts.items() if number}


def _summary(protocol: Protocol, report: dict[str, Any]) -> str:
    classes = ", ".join(f"{name} {n}" for name, n in report["classes"].items())
    edition = f" ({report['edition']})" if report.get("edition") else ""
    recordings = f" in {report['recordings']} recordings" if "recordings" in report else ""
    lines = [
        f"{protocol.corpus}{edition}: {report['utterances']} utterances{recordings} of {report['speakers']} speakers; "
        f"{sum(report['classes'].values())} in the classes ({classes}), {report['hours']} hours",
        f"  rates {', '.join(f'{rate} Hz: {n}' for rate, n in report['rates'].items())}; "
        f"{report['stereo']} of several channels, mixed down; {report['left_out']} left out (left_out.tsv)",
    ]
    if report["duplicates"] or report["hidden"]:
        lines.append(
            f"  {report['duplicates']} second copies of equal content and {report['hidden']} hidden files passed over"
        )
    if report.get("others"):
        lines.append(f"  {report['others']} files that are no utterances passed over (--check true lists them)")
    if report["stray"]:
        lines.append(
            f"  {report['stray']} audio files whose names do not follow the corpus's scheme, or folders of them, left "
            "out (left_out.tsv)"
        )
    if report.get("lines"):
        lines.append(f"  {report['lines']} lines of tables that cannot be used left out (left_out.tsv)")
    if report["equal_audio"]:
        lines.append(
            f"  {report['equal_audio']} utterances have the samples of another one of their speaker and label ({EQUAL})"
        )
    lines += [f"  {message}" for message in report["unknown_names"]]
    if report["missing"]:
        lines.append(f"  partial copy: {', '.join(report['missing'])}")
    for name, number in report.get("other_text", {}).items():
        lines.append(f"  {name}: {number} utterances left out, since their text is for the other side")
    for name, number in report.get("not_kept", {}).items():
        lines.append(f"  {name}: {number} utterances left out (keep: {protocol.keep})")
    if protocol.shuffle_labels:
        lines.append("  labels are permuted among the utterances of each speaker (shuffle_labels)")
    for name, number in report.get("parted", {}).items():
        lines.append(f"  {name}: {number} recordings have speakers in several parts, who may speak in each other's")
    if report.get("unused_splits"):
        lines.append(f"  {report['unused_splits']}")
    lines += [f"  {note}" for note in report.get("notes", [])]
    return os.linesep.join(lines)
