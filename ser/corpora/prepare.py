"""From a corpus folder to manifests: every file read once, every utterance accounted for."""

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
    incomplete,
    unknown_names,
)
from ser.corpora.controls import shuffled
from ser.corpora.describe import read_prepared
from ser.corpora.equal_audio import check_equal_parts, contradicting, equal_pairs
from ser.corpora.issues import Issue, Issues, raise_issues
from ser.corpora.items import ValidatedUtterance, is_segmented, read_items, where, wrong_times
from ser.corpora.known_files import read_known, write_known
from ser.corpora.manifests import MANIFESTS, write_data_dirs, write_manifests
from ser.corpora.preparers import Preparer
from ser.corpora.protocol import FEW_FOLDS, PARTS, Protocol, is_rule, own_fold
from ser.corpora.splits import SPLITS, resolve, resolved, with_splits, write_splits
from ser.corpora.utterance import STRAY, Utterance, hidden_files, other_files, real_folder

log = logging.getLogger(__name__)
# Part of the fingerprint: raise it when what is written below data/ changes its meaning.
VERSION = 3
# Below data/<corpus>: audio that a preparer makes, and keeps from one preparation to the next.
AUDIO = "audio"
# Utterances that have the samples of another one, and that one.
EQUAL = "equal_audio.tsv"
ONE_ID = "one id, other content"
# Issues whose files or lines are left out with --allow-partial true.
PARTIAL = (STRAY, "table", "segments", "missing files", "durations", "speakers", "one id, two lines")


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
    """Write manifests and Kaldi data dirs of a corpus, unless those that are there were made of the same files.

    Args:
        allow_partial: go on without what is missing or unreadable, and list it.
        allow_pipes: run the commands of a wav.scp.
        recheck: read every file again, also those whose size and times of change are as they were.
        jobs: processes that read files.
        fold: split and fold of the experiment that the corpus is prepared for; of a split of many folds, each with its
            tables of training utterances, only this one is written. None: all.

    Returns:
        What was found and written, a few lines for the person who runs it.

    Raises:
        InputError: anything that is not as the protocol has it.
    """
    check_there(protocol, corpus_dir)
    _check_place(corpus_dir, out_dir)
    real_folder.cache_clear()
    issues = Issues()
    offered = {"protocol": protocol, "issues": issues, "allow_pipes": allow_pipes, "audio_dir": out_dir / AUDIO}
    utterances, duplicates = without_duplicates(preparer.utterances(corpus_dir, **offered), issues)
    kinds = PARTIAL if allow_partial else ()
    raise_issues([issue for issue in issues if issue.kind not in kinds])
    passed_over = [issue for issue in issues if issue.kind in kinds]
    stray = [issue for issue in passed_over if issue.kind == STRAY]
    fingerprint = _fingerprint(preparer, protocol, utterances, allow_partial, passed_over)
    report_path = out_dir / "report.json"
    done: dict[str, Any] | None = None
    if not recheck and report_path.is_file():
        done = read_json(report_path)
        if not _is_done(out_dir, protocol, done, fingerprint):
            done = None
        elif not (missing := _unwritten(with_splits(protocol, out_dir), out_dir, fold)):
            return f"{protocol.corpus}: up to date\n{_summary(protocol, done)}"
    raise_issues(check_labels(protocol, utterances))
    comparison = compare_with_protocol(protocol, utterances)
    if comparison.wrong and not allow_partial:
        raise incomplete(protocol, corpus_dir, comparison)
    unknown = unknown_names(protocol, utterances)
    if not allow_partial:
        raise_issues(unknown)
    report: dict[str, Any] = {"edition": comparison.edition} if comparison.edition else {}
    report |= {"stray": len(stray), "lines": len(passed_over) - len(stray), "unknown_names": list(map(str, unknown))}
    report |= {"found": comparison.counts, "missing": comparison.wrong}
    report |= {"fingerprint": fingerprint, "duplicates": len(duplicates), "hidden": hidden_files(corpus_dir)}
    report["others"] = len(other_files(corpus_dir, [*(u.path for u in utterances), *duplicates])) - len(stray)
    known = {} if recheck else read_known(out_dir, utterances)
    log.info("%s: the files of %d of %d utterances are as before", protocol.corpus, len(known), len(utterances))
    read, found_wrong = read_items(protocol, utterances, known, jobs)
    items, unusable = _usable_items(protocol, read, found_wrong, allow_partial)
    labelled = [item for item in items if protocol.labels[item.utterance.label] is not None]
    left_out = _left_out(protocol, utterances, items, unusable, passed_over)
    for name, why in left_out:
        log.info("%s: left out: %s: %s", protocol.corpus, name, why)
    if not labelled:
        raise InputError(
            "no utterance that can be read is in a class", corpus_dir, f"complete it (from {protocol.source})"
        )
    if not allow_partial:
        raise_issues(check_classes(protocol, items))
    splits = resolve(protocol, [item.utterance for item in labelled])
    if done is not None:
        with locked(out_dir, f"{out_dir} is being written"):
            done = read_json(report_path)  # to which another process may have added a fold
            counts = write_data_dirs(out_dir, protocol, labelled, splits, missing)
            for key, found_now in zip(("parts", "other_text", "not_kept"), counts, strict=True):
                if found_now:
                    done[key] = done.get(key, {}) | found_now
            _write_report(out_dir, done)
        names = ", ".join(f"{split}_fold{number}" for split, number in missing)
        return f"{protocol.corpus}: up to date but for {names}, now written\n{_summary(protocol, done)}"
    raise_issues(check_parts(resolved(protocol, splits), labelled, allow_partial))
    raise_issues(check_equal_parts(protocol, labelled, splits))
    equal = equal_pairs(items)
    report |= {**_counts(protocol, items, labelled), "equal_audio": len(equal), "left_out": len(left_out)}
    report["unusable"] = len(unusable)
    if is_segmented(utterances):
        report["recordings"] = len({item.recording for item in items})
        report["parted"] = _parted(resolved(protocol, splits), labelled)
    unused = _unused_splits(protocol, utterances)
    if unused:
        report["unused_splits"] = unused
    with locked(out_dir, f"{out_dir} is being written"), atomic_path(out_dir) as folder:
        folder.mkdir()
        write_manifests(folder, protocol, items, labelled)
        write_known(folder, read)
        write_splits(folder / SPLITS, splits)
        wanted = _unwritten(resolved(protocol, splits), folder, fold, every=True)
        report["parts"], other_text, not_kept = write_data_dirs(folder, protocol, labelled, splits, wanted)
        if other_text:
            report["other_text"] = other_text
        if not_kept:
            report["not_kept"] = not_kept
        write_text(folder / "left_out.tsv", "".join(f"{u}\t{why}\n" for u, why in sorted(left_out)))
        if equal:
            write_text(folder / EQUAL, "".join(f"{key}\t{other}\n" for key, other in equal))
        _write_report(folder, report)
        if (out_dir / AUDIO).is_dir():  # moved, for a second name (a hard link) would change the times of its files
            (out_dir / AUDIO).rename(folder / AUDIO)
    return _summary(protocol, report)


def _write_report(folder: Path, report: dict[str, Any]) -> None:
    """Write report.json, with what of the classes the data dirs lack."""
    write_json(folder / "report.json", report)
    prepared = read_prepared(folder)
    report["notes"] = [str(prepared.confounding), *prepared.missing()]
    write_json(folder / "report.json", report)


def _usable_items(
    protocol: Protocol, items: Sequence[ValidatedUtterance], found: Mapping[str, Issue], allow_partial: bool
) -> tuple[list[ValidatedUtterance], dict[str, Issue]]:
    """The utterances that can be used, as `shuffle_labels` wants them, and what is wrong with each of the others.

    Raises:
        InputError: one cannot be used, unless `allow_partial`.
    """
    unusable = {**found, **contradicting(protocol, items)}
    if not allow_partial:
        raise_issues(list(unusable.values()), " (or go on without with --allow-partial true)")
    return shuffled(protocol, [item for item in items if item.utterance.id not in unusable]), unusable


def _left_out(
    protocol: Protocol,
    utterances: Sequence[Utterance],
    items: Sequence[ValidatedUtterance],
    unusable: Mapping[str, Issue],
    passed_over: Sequence[Issue],
) -> list[tuple[str, str]]:
    """Id, or file where it has none, and why it is left out."""
    dropped = [(u.id, protocol.drop[u.id]) for u in utterances if u.id in protocol.drop]
    others = [
        (item.utterance.id, f"label {item.utterance.label} is in no class")
        for item in items
        if protocol.labels[item.utterance.label] is None
    ]
    files = [(str(i.where), i.what.partition(" (")[0] if i.kind == STRAY else i.what) for i in passed_over]
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


def check_there(protocol: Protocol, corpus_dir: Path) -> None:
    """The corpus has been fetched: a folder, or the table that names its files."""
    if not corpus_dir.exists():
        raise InputError(
            "no such folder or table", corpus_dir, f"fix the path ({protocol.name} can be had from {protocol.source})"
        )


def _check_place(corpus_dir: Path, out_dir: Path) -> None:
    """What is written replaces the folder whole, so it must hold nothing else."""
    place, corpus = out_dir.resolve(), corpus_dir.resolve()
    if place == corpus or place in corpus.parents:
        raise InputError("holds the corpus and would be replaced", out_dir, "give another folder to write")
    signs = ("report.json", *MANIFESTS)
    if out_dir.exists() and not out_dir.is_dir():
        raise InputError("a file is in the way", out_dir, "remove it, or give another folder to write")
    if out_dir.is_dir() and any(out_dir.iterdir()) and not any((out_dir / name).is_file() for name in signs):
        if [path.name for path in out_dir.iterdir()] == [AUDIO]:
            return  # of a preparation that went no further
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
    passed_over: Sequence[Issue],
) -> str:
    """Names everything that decides what is written."""
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
        sorted((i.kind, str(i)) for i in passed_over),
        *protocol.bases,
    )


def _is_done(out_dir: Path, protocol: Protocol, report: dict[str, Any], fingerprint: str) -> bool:
    """Made of the same files, and nothing removed since."""
    names = [*MANIFESTS, "left_out.tsv", *(f"{part}/utt2spk" for part in report.get("parts", {}))]
    if any(is_rule(spec) for spec in protocol.splits.values()):
        names.append(SPLITS)
    return report.get("fingerprint") == fingerprint and all((out_dir / name).is_file() for name in names)


def _unwritten(
    protocol: Protocol, folder: Path, fold: tuple[str, int] | None, every: bool = False
) -> list[tuple[str, int]]:
    """Split and fold of those that are to be written and are not, for `prepare_corpus`.

    Args:
        every: those of splits of few folds, too, which are always written together with the manifests.
    """
    found = []
    for split in protocol.splits:
        count = protocol.count_folds(split)
        numbers: Iterable[int] = range(1, count + 1)
        if count <= FEW_FOLDS and not every:
            continue
        if count > FEW_FOLDS and fold is not None:
            numbers = [own_fold(fold[1], count)] if split == fold[0] else []
        found += [(split, number) for number in numbers if not (folder / f"{split}_fold{number}").is_dir()]
    return found


def without_duplicates(found: Iterable[Utterance], issues: Issues) -> tuple[list[Utterance], list[Path]]:
    """Keep one of several files with one id and equal bytes; an id is never made unique by a suffix.

    Args:
        found: what the preparer yields.
        issues: gets equal ids with other content or label, stretches that cannot be, and speakers of two genders.

    Returns:
        The utterances, sorted by id, and the files that were passed over.

    Raises:
        InputError: names that no table can hold.
    """
    first: dict[str, Utterance] = {}
    duplicates = []
    for utterance in found:
        _check_names(utterance)
        if issue := wrong_times(utterance):
            issues.add(issue)
            continue
        other = first.setdefault(utterance.id, utterance)
        if other is utterance:
            continue
        if other.label != utterance.label:
            differs = f"label {utterance.label} in place of {other.label}"
        elif not _is_same(other, utterance):
            differs = "other content"
        else:
            differs = ""
        if differs:
            what = f"the same utterance as {where(other)} ({utterance.id}) with {differs}"
            issues.add(Issue(ONE_ID, what, where(utterance), "remove the wrong one"))
            continue
        kept, dropped = (utterance, other) if len(utterance.path.parts) < len(other.path.parts) else (other, utterance)
        first[utterance.id] = kept
        duplicates.append(dropped.path)
    utterances = [first[key] for key in sorted(first, key=str.encode)]
    _check_recordings(utterances, issues)
    _check_genders(utterances, issues)
    return utterances, duplicates


def _is_same(one: Utterance, other: Utterance) -> bool:
    stretches = [(u.start, u.end, u.channel) for u in (one, other)]
    same = stretches[0] == stretches[1] and one.version[0] == other.version[0]
    return same and digest(one.path) == digest(other.path)


def _check_names(utterance: Utterance) -> None:
    """Kaldi's tables are UTF-8 lines, split at spaces, and sort by utterance as they do by speaker."""
    for name in (utterance.id, utterance.speaker, utterance.recording or "-"):
        if len(name.split()) != 1:
            raise InputError(
                f"{name!r} cannot name an utterance or a speaker, which have no spaces",
                where(utterance),
                "fix the preparer",
            )
    if not utterance.id.startswith(f"{utterance.speaker}-"):
        raise InputError(
            f"utterance id {utterance.id} does not start with its speaker {utterance.speaker} and a dash",
            where(utterance),
            "fix the preparer",
        )
    if utterance.gender not in ("f", "m", ""):
        raise InputError(f"gender {utterance.gender!r} is not f, m or empty", where(utterance), "fix the preparer")
    path = str(utterance.real_path)
    if "\n" in path or not (path.isascii() or path == path.encode("utf-8", "replace").decode()):
        raise InputError("a path that is no line of UTF-8 text", f"{path!r}", "rename it")
    if path != path.strip() or path.endswith("|"):
        raise InputError(
            "Kaldi would take that path for a command or cut its spaces off", f"{path!r}", "rename the file"
        )


def _check_recordings(utterances: Sequence[Utterance], issues: Issues) -> None:
    """An id of a recording, also with a channel's number behind it, names one file."""
    first: dict[str, Utterance] = {}
    for u in utterances:
        name = u.recording or u.id
        for key in (name, *([] if u.channel is None else [f"{name}-{u.channel}"])):
            other = first.setdefault(key, u)
            if other.real_path != u.real_path:
                what = f"recording {key} is {u.path} here and {other.path} in {where(other)}"
                issues.add(Issue(ONE_ID, what, where(u), "give each file an id of its own"))


def _check_genders(utterances: Sequence[Utterance], issues: Issues) -> None:
    first: dict[str, Utterance] = {}
    for u in utterances:
        other = first.setdefault(u.speaker, u) if u.gender else u
        if other.gender != u.gender:
            what = f"speaker {u.speaker} is {u.gender} here and {other.gender} in {where(other)}"
            issues.add(Issue("genders", what, where(u), "fix one"))


def _unused_splits(protocol: Protocol, utterances: Sequence[Utterance]) -> str:
    """What to say where the corpus has a split of its own that no split of the protocol goes by."""
    given = sum(bool(u.split) for u in utterances)
    if not given or any("given" in spec for spec in protocol.splits.values()):
        return ""
    return (
        f"{given} utterances have a split of their own, which {protocol.path.name} does not use: {{given: true}} does"
    )


def _parted(protocol: Protocol, labelled: Sequence[ValidatedUtterance]) -> dict[str, int]:
    """<split>_fold<k> -> recordings whose speakers are in several parts, where there are any."""
    speakers: dict[str, set[str]] = {}
    for item in labelled:
        speakers.setdefault(item.recording, set()).add(item.utterance.speaker)
    found = {}
    for split in protocol.splits:
        for number, fold in enumerate(protocol.folds(split), 1):
            place = {s: part for part in PARTS for s in fold[part]}
            found[f"{split}_fold{number}"] = sum(len({place[s] for s in own}) > 1 for own in speakers.values())
    return {name: number for name, number in found.items() if number}


def _summary(protocol: Protocol, report: dict[str, Any]) -> str:
    classes = ", ".join(f"{name} {n}" for name, n in report["classes"].items())
    edition = f" ({report['edition']})" if report.get("edition") else ""
    of = f" in {report['recordings']} recordings" if "recordings" in report else ""
    lines = [
        f"{protocol.corpus}{edition}: {report['utterances']} utterances{of} of {report['speakers']} speakers; "
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
