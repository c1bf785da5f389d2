"""Prepare a corpus: read every file once, account for every utterance, write manifests and data dirs."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ser.common import InputError, atomic_path, digest, locked, read_json, write_json, write_text
from ser.corpora.compare import MISSING, NAMES
from ser.corpora.describe import read_prepared
from ser.corpora.equal_audio import equal_pairs
from ser.corpora.examine import (
    Examination,
    Listing,
    check_corpus_exists,
    check_folds,
    examine,
    examine_splits,
    list_utterances,
)
from ser.corpora.issues import Issues, raise_issues
from ser.corpora.known_files import read_known_files, write_known_files
from ser.corpora.manifests import MANIFESTS, write_data_dirs, write_manifests
from ser.corpora.preparers import Preparer
from ser.corpora.protocol import FEW_FOLDS, PARTS, Protocol, corpus_fold, is_rule
from ser.corpora.splits import SPLITS, apply_splits, with_splits, write_splits
from ser.corpora.utterance import UNMATCHED, count_hidden_files, other_files, real_folder
from ser.corpora.validation import ValidatedUtterance, is_segmented

log = logging.getLogger(__name__)
# Part of the fingerprint; to be raised when the meaning of the files below data/ changes.
VERSION = 3
# Pairs of utterances with equal samples.
EQUAL = "equal_audio.tsv"
REPORT = "report.json"
# Kinds of issues with which --allow-partial true goes on: those of the list of utterances, and those of later steps.
LISTED = (UNMATCHED, "table", "segments", "missing files", "failed pipes", "durations", "speakers", "one id, two lines")
EXAMINED = (MISSING, NAMES, "unreadable", "silent", "too short", "equal audio", "classes")
# Entry of report.json -> what the summary counts, unless there is none.
COUNTED = {
    "others": "files that are no utterances, skipped (--check true lists them)",
    "stray": "audio files whose names do not follow the corpus's scheme, or folders of them, left out (left_out.tsv)",
    "lines": "lines of tables that cannot be used left out (left_out.tsv)",
    "equal_audio": f"utterances have the samples of another one of their speaker and label ({EQUAL})",
}


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
    # Audio that a preparer makes lies beside the folder that is replaced, and stays when the corpus is prepared again.
    audio_dir = out_dir.with_name(f"{out_dir.name}.audio")
    issues = Issues((*LISTED, *EXAMINED) if allow_partial else ())
    listing = list_utterances(preparer, protocol, corpus_dir, audio_dir, allow_pipes, Issues())
    issues.report(listing.tolerated)
    if not listing.utterances:
        raise_issues(listing.tolerated)
    fingerprint = _fingerprint(preparer, protocol, listing, allow_partial)
    previous = None if recheck else _read_previous(out_dir, protocol, fingerprint)
    missing = [] if previous is None else _folds_to_write(with_splits(protocol, out_dir), out_dir, fold)
    if previous is not None and not missing:
        return f"{protocol.corpus}: up to date\n{_summary(protocol, previous)}"
    known = {} if recheck else read_known_files(out_dir, listing.utterances)
    log.info("%s: the files of %d of %d utterances are as before", protocol.corpus, len(known), len(listing.utterances))
    examined = examine(protocol, corpus_dir, listing, issues, known, jobs)
    left_out = _left_out(protocol, examined)
    for name, reason in left_out:
        log.info("%s: left out: %s: %s", protocol.corpus, name, reason)
    if not examined.labelled:
        what = "no utterance that can be read is in a class"
        raise InputError(what, corpus_dir, f"complete it (from {protocol.source})")
    splits = examine_splits(protocol, examined, issues)
    if previous is not None:
        return _add_folds(out_dir, protocol, examined.labelled, splits, missing)
    raise_issues(check_folds(protocol, examined.labelled, splits, allow_partial))
    report = {"fingerprint": fingerprint, "left_out": len(left_out)}
    report |= _report(protocol, corpus_dir, examined, splits)
    with locked(out_dir, f"{out_dir} is being written"), atomic_path(out_dir, shared=True) as folder:
        folder.mkdir()
        write_manifests(folder, protocol, examined.items, examined.labelled)
        write_known_files(folder, examined.validated)
        write_splits(folder / SPLITS, splits)
        folds = _folds_to_write(apply_splits(protocol, splits), folder, fold, every=True)
        report |= write_data_dirs(folder, protocol, examined.labelled, splits, folds)
        write_text(folder / "left_out.tsv", "".join(f"{name}\t{reason}\n" for name, reason in sorted(left_out)))
        if equal := equal_pairs(examined.items):
            write_text(folder / EQUAL, "".join(f"{key}\t{other}\n" for key, other in equal))
        _write_report(folder, report)
    return _summary(protocol, report)


def _read_previous(out_dir: Path, protocol: Protocol, fingerprint: str) -> dict[str, Any] | None:
    """Read the report of an earlier preparation from the same files, no output of which has been removed since."""
    if not (out_dir / REPORT).is_file():
        return None
    report: dict[str, Any] = read_json(out_dir / REPORT)
    names = [*MANIFESTS, "left_out.tsv", *(f"{part}/utt2spk" for part in report.get("parts", {}))]
    if any(is_rule(spec) for spec in protocol.splits.values()):
        names.append(SPLITS)
    same = report.get("fingerprint") == fingerprint and all((out_dir / name).is_file() for name in names)
    return report if same else None


def _add_folds(
    out_dir: Path,
    protocol: Protocol,
    labelled: Sequence[ValidatedUtterance],
    splits: Mapping[str, Any],
    missing: Sequence[tuple[str, int]],
) -> str:
    """Write further folds of a prepared corpus; returns the summary."""
    with locked(out_dir, f"{out_dir} is being written"):
        report = read_json(out_dir / REPORT)  # another process may have added a fold
        for key, added in write_data_dirs(out_dir, protocol, labelled, splits, missing).items():
            report[key] = report.get(key, {}) | added
        _write_report(out_dir, report)
    names = ", ".join(f"{split}_fold{number}" for split, number in missing)
    return f"{protocol.corpus}: up to date but for {names}, now written\n{_summary(protocol, report)}"


def _write_report(folder: Path, report: dict[str, Any]) -> None:
    """Write report.json, with notes on confounding and on classes that parts lack."""
    write_json(folder / REPORT, report)
    prepared = read_prepared(folder)
    report["notes"] = [str(prepared.confounding), *prepared.missing_classes()]
    write_json(folder / REPORT, report)


def _left_out(protocol: Protocol, examined: Examination) -> list[tuple[str, str]]:
    """List (utterance id, or file if it has none, reason for leaving it out)."""
    dropped = [(u.id, protocol.drop[u.id]) for u in examined.listing.utterances if u.id in protocol.drop]
    others = [
        (item.utterance.id, f"label {item.utterance.label} is in no class")
        for item in examined.items
        if protocol.labels[item.utterance.label] is None
    ]
    files = [
        (str(issue.where), issue.what.partition(" (")[0] if issue.kind == UNMATCHED else issue.what)
        for issue in examined.listing.tolerated
    ]
    return [*dropped, *((key, str(issue)) for key, issue in examined.unusable.items()), *files, *others]


def _report(protocol: Protocol, corpus_dir: Path, examined: Examination, splits: Mapping[str, Any]) -> dict[str, Any]:
    """Make the entries of report.json on what has been examined; those without content are absent."""
    listing, comparison = examined.listing, examined.comparison
    items, labelled = examined.items, examined.labelled
    unmatched = sum(issue.kind == UNMATCHED for issue in listing.tolerated)
    others = other_files(corpus_dir, [*(u.path for u in listing.utterances), *listing.duplicates])
    report = {
        "stray": unmatched,
        "lines": len(listing.tolerated) - unmatched,
        "duplicates": len(listing.duplicates),
        "hidden": count_hidden_files(corpus_dir),
        "others": len(others) - unmatched,
        "found": comparison.counts,
        "missing": comparison.differences,
        "unknown_names": list(map(str, examined.unknown)),
        "unusable": len(examined.unusable),
        "utterances": len(items),
        "speakers": len({item.utterance.speaker for item in items}),
        "classes": {c: sum(protocol.labels[i.utterance.label] == c for i in labelled) for c in protocol.classes},
        "hours": round(sum(item.duration for item in labelled) / 3600, 3),
        "stereo": sum(item.num_channels > 1 and item.channel is None for item in items),
        "rates": {str(rate): n for rate, n in sorted(Counter(i.sampling_rate for i in items).items())},
        "equal_audio": len(equal_pairs(items)),
    }
    if comparison.edition:
        report["edition"] = comparison.edition
    if is_segmented(listing.utterances):
        report["recordings"] = len({item.recording for item in items})
        report["parted"] = _count_divided_recordings(apply_splits(protocol, splits), labelled)
    given, name = sum(bool(u.split) for u in listing.utterances), protocol.path.name
    if given and not any("given" in spec for spec in protocol.splits.values()):
        unused = f"{given} utterances have a split of their own, which {name} does not use: {{given: true}} does"
        report["unused_splits"] = unused
    return report


def _check_out_dir(corpus_dir: Path, out_dir: Path) -> None:
    """Check that the folder to write, which is replaced completely, holds nothing but a prepared corpus."""
    folder, corpus = out_dir.resolve(), corpus_dir.resolve()
    if folder == corpus or folder in corpus.parents:
        raise InputError("holds the corpus and would be replaced", out_dir, "give another folder to write")
    if out_dir.exists() and not out_dir.is_dir():
        raise InputError("a file is in the way", out_dir, "remove it, or give another folder to write")
    prepared = any((out_dir / name).is_file() for name in (REPORT, *MANIFESTS))
    if out_dir.is_dir() and any(out_dir.iterdir()) and not prepared:
        raise InputError(
            "holds something else than a prepared corpus and would be replaced",
            out_dir,
            "remove it, or give another folder to write, such as data/<corpus>",
        )


def _fingerprint(preparer: Preparer, protocol: Protocol, listing: Listing, allow_partial: bool) -> str:
    """Hash everything that determines the files below data/<corpus>."""
    state = []
    for u in listing.utterances:
        row: list[Any] = [u.real_path, u.version, u.id, u.label, u.speaker, u.gender, u.text_id]
        state.append([*row, u.custom, u.start, u.end, u.channel, u.recording, u.language, u.split])
    return digest(
        VERSION,
        protocol.path,
        preparer.path,
        state,
        allow_partial,
        sorted((issue.kind, str(issue)) for issue in listing.tolerated),
        *protocol.bases,
    )


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


def _count_divided_recordings(protocol: Protocol, labelled: Sequence[ValidatedUtterance]) -> dict[str, int]:
    """Count recordings whose speakers are in several parts: <split>_fold<k> -> number, without zeros."""
    speakers: dict[str, set[str]] = {}
    for item in labelled:
        speakers.setdefault(item.recording, set()).add(item.utterance.speaker)
    counts = {}
    for split in protocol.splits:
        for number, fold in enumerate(protocol.folds(split), 1):
            part_of = {s: part for part in PARTS for s in fold[part]}
            counts[f"{split}_fold{number}"] = sum(len({part_of[s] for s in names}) > 1 for names in speakers.values())
    return {name: number for name, number in counts.items() if number}


def _summary(protocol: Protocol, report: Mapping[str, Any]) -> str:
    classes = ", ".join(f"{name} {n}" for name, n in report["classes"].items())
    edition = f" ({report['edition']})" if report.get("edition") else ""
    recordings = f" in {report['recordings']} recordings" if "recordings" in report else ""
    copies = f"{report['duplicates']} second copies of equal content and {report['hidden']} hidden files skipped"

    def by_folder(key: str, text: str) -> list[str]:
        return [f"{name}: {number} {text}" for name, number in report.get(key, {}).items()]

    lines = [
        f"{protocol.corpus}{edition}: {report['utterances']} utterances{recordings} of {report['speakers']} speakers; "
        f"{sum(report['classes'].values())} in the classes ({classes}), {report['hours']} hours",
        f"rates {', '.join(f'{rate} Hz: {n}' for rate, n in report['rates'].items())}; "
        f"{report['stereo']} of several channels, mixed down; {report['left_out']} left out (left_out.tsv)",
        copies if report["duplicates"] or report["hidden"] else "",
        *(f"{report[key]} {text}" for key, text in COUNTED.items() if report.get(key)),
        *report["unknown_names"],
        f"partial copy: {', '.join(report['missing'])}" if report["missing"] else "",
        *by_folder("other_text", "utterances left out, since their text is for the other side"),
        *by_folder("not_kept", f"utterances left out (keep: {protocol.keep})"),
        "labels are permuted among the utterances of each speaker (shuffle_labels)" if protocol.shuffle_labels else "",
        *by_folder("parted", "recordings have speakers in several parts, who may speak in each other's"),
        report.get("unused_splits", ""),
        *report.get("notes", []),
    ]
    return f"{os.linesep}  ".join(line for line in lines if line)
