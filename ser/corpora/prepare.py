"""From a corpus folder to manifests: every file read once, every utterance accounted for."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser.common import InputError, atomic_path, digest, locked, read_json, write_json, write_text
from ser.common.errors import listed
from ser.corpora.controls import shuffled
from ser.corpora.findings import complain
from ser.corpora.items import Item, check_equal_audio, check_times, is_segmented, read_items, where
from ser.corpora.manifests import MANIFESTS, write_data_dirs, write_manifests
from ser.corpora.preparers import Preparer
from ser.corpora.protocol import PARTS, Protocol, is_rule
from ser.corpora.splits import SPLITS, resolve, resolved
from ser.corpora.utterance import Utterance, hidden_files, other_files

# Part of the fingerprint: raise it when what is written below data/ changes its meaning.
VERSION = 2
# Below data/<corpus>: audio that a preparer makes, and keeps from one preparation to the next.
AUDIO = "audio"


@dataclass(frozen=True)
class Found:
    """How the corpus folder compares with the protocol, before any file is read.

    Attributes:
        edition: the edition that it is or comes nearest to, or "".
        expected: what that edition holds: utterances, speakers, labels; as far as the protocol says.
        counts: what is there, likewise.
        wrong: the differences, such as "23 of 24 happy".
    """

    edition: str
    expected: Mapping[str, Any]
    counts: Mapping[str, Any]
    wrong: list[str]


def prepare(
    preparer: Preparer,
    protocol: Protocol,
    corpus_dir: Path,
    out_dir: Path,
    allow_partial: bool,
    allow_pipes: bool = False,
) -> str:
    """Write manifests and Kaldi data dirs of a corpus, unless those that are there were made of the same files.

    Args:
        allow_partial: go on without what is missing or unreadable, and list it.
        allow_pipes: run the commands of a wav.scp.

    Returns:
        What was found and written, a few lines for the person who runs it.

    Raises:
        InputError: anything that is not as the protocol says.
    """
    check_there(protocol, corpus_dir)
    _check_place(corpus_dir, out_dir)
    offered = {"protocol": protocol, "allow_pipes": allow_pipes, "audio_dir": out_dir / AUDIO}
    utterances, doubled = without_doubles(preparer.utterances(corpus_dir, **offered))
    fingerprint = _fingerprint(preparer, protocol, utterances, allow_partial)
    report_path = out_dir / "report.json"
    if report_path.is_file() and _is_done(out_dir, protocol, report := read_json(report_path), fingerprint):
        return f"{protocol.corpus}: up to date\n{_summary(protocol, report)}"
    check_labels(protocol, utterances)
    found = compare(protocol, utterances)
    if found.wrong and not allow_partial:
        raise InputError(incomplete(protocol, corpus_dir, found))
    report = {"edition": found.edition} if found.edition else {}
    report |= {"found": found.counts, "missing": found.wrong}
    report |= {"fingerprint": fingerprint, "doubled": len(doubled), "hidden": hidden_files(corpus_dir)}
    report["others"] = len(other_files(corpus_dir, [*(u.path for u in utterances), *doubled]))
    items, unusable = read_items(protocol, utterances)
    if unusable and not allow_partial:
        problems = list(dict.fromkeys(message for _, message in unusable.values()))
        raise InputError(f"{listed(problems)} (or go on without with --allow-partial true)")
    check_equal_audio(protocol, items)
    items = shuffled(protocol, items)
    left_out = [(u.id, protocol.drop[u.id]) for u in utterances if u.id in protocol.drop]
    left_out += [(key, message) for key, (_, message) in unusable.items()]
    kept = [item for item in items if protocol.labels[item.utterance.label] is not None]
    left_out += [
        (i.utterance.id, f"label {i.utterance.label} is in no class")
        for i in items
        if protocol.labels[i.utterance.label] is None
    ]
    if not kept:
        raise InputError(
            f"{corpus_dir}: no utterance that can be read is in a class; complete it (from {protocol.source})"
        )
    check_classes(protocol, items, allow_partial)
    splits = resolve(protocol, [item.utterance for item in kept])
    check_parts(resolved(protocol, splits), kept, allow_partial)
    report |= {
        "utterances": len(items),
        "speakers": len({item.utterance.speaker for item in items}),
        "classes": {c: sum(protocol.labels[i.utterance.label] == c for i in kept) for c in protocol.classes},
        "hours": round(sum(item.duration for item in kept) / 3600, 3),
        "stereo": sum(item.num_channels > 1 and item.channel is None for item in items),
        "rates": {str(rate): n for rate, n in sorted(Counter(i.sampling_rate for i in items).items())},
        "left_out": len(left_out),
    }
    if is_segmented(utterances):
        report["recordings"] = len({item.recording for item in items})
        report["parted"] = _parted(resolved(protocol, splits), kept)
    unused = _unused_splits(protocol, utterances)
    if unused:
        report["unused_splits"] = unused
    with locked(out_dir, f"{out_dir} is being written"), atomic_path(out_dir) as folder:
        folder.mkdir()
        write_manifests(folder, protocol, items, kept)
        write_json(folder / SPLITS, splits)
        report["parts"], other_text, not_kept = write_data_dirs(folder, protocol, kept, splits)
        if other_text:
            report["other_text"] = other_text
        if not_kept:
            report["not_kept"] = not_kept
        write_text(folder / "left_out.tsv", "".join(f"{u}\t{why}\n" for u, why in sorted(left_out)))
        write_json(folder / "report.json", report)
        if (out_dir / AUDIO).is_dir():
            (out_dir / AUDIO).rename(folder / AUDIO)
    return _summary(protocol, report)


def check_there(protocol: Protocol, corpus_dir: Path) -> None:
    """The corpus has been fetched: a folder, or the table that names its files."""
    if not corpus_dir.exists():
        raise InputError(
            f"{corpus_dir}: no such folder or table; mend the path ({protocol.name} can be had from {protocol.source})"
        )


def _check_place(corpus_dir: Path, out_dir: Path) -> None:
    """What is written replaces the folder whole, so it must hold nothing else."""
    place, corpus = out_dir.resolve(), corpus_dir.resolve()
    if place == corpus or place in corpus.parents:
        raise InputError(f"{out_dir}: holds the corpus and would be replaced; give another folder to write")
    signs = ("report.json", *MANIFESTS)
    if out_dir.exists() and not out_dir.is_dir():
        raise InputError(f"{out_dir}: a file is in the way; remove it, or give another folder to write")
    if out_dir.is_dir() and any(out_dir.iterdir()) and not any((out_dir / name).is_file() for name in signs):
        if [path.name for path in out_dir.iterdir()] == [AUDIO]:
            return  # of a preparation that went no further
        raise InputError(
            f"{out_dir}: holds something else than a prepared corpus and would be replaced; remove it, "
            "or give another folder to write, such as data/<corpus>"
        )


def _fingerprint(preparer: Preparer, protocol: Protocol, utterances: Sequence[Utterance], allow_partial: bool) -> str:
    """Names everything that decides what is written."""
    state = []
    for u in utterances:
        row: list[Any] = [str(u.path.resolve()), _version(u.path), u.id, u.label, u.speaker, u.gender, u.text_id]
        state.append([*row, u.custom, u.start, u.end, u.channel, u.recording, u.language, u.split])
    return digest(VERSION, protocol.path, preparer.path, state, allow_partial, *protocol.bases)


def _version(path: Path) -> tuple[int, int]:
    """Size and time of change; zeros for a link to nothing, which fails when it is read."""
    if not path.is_file():
        return 0, 0
    return path.stat().st_size, path.stat().st_mtime_ns


def _is_done(out_dir: Path, protocol: Protocol, report: dict[str, Any], fingerprint: str) -> bool:
    """Made of the same files, and nothing removed since."""
    names = [*MANIFESTS, "left_out.tsv", *(f"{part}/utt2spk" for part in report.get("parts", {}))]
    if any(is_rule(spec) for spec in protocol.splits.values()):
        names.append(SPLITS)
    return report.get("fingerprint") == fingerprint and all((out_dir / name).is_file() for name in names)


def without_doubles(found: Iterable[Utterance]) -> tuple[list[Utterance], list[Path]]:
    """Keep one of several files with one id and equal bytes; an id is never made unique by a suffix.

    Returns:
        The utterances, sorted by id, and the files that were passed over.

    Raises:
        InputError: equal ids with other content or label, or names that no table can hold, unless findings are being
            collected.
    """
    first: dict[str, Utterance] = {}
    doubled = []
    for utterance in found:
        _check_names(utterance)
        check_times(utterance)
        other = first.setdefault(utterance.id, utterance)
        if other is utterance:
            continue
        if other.label != utterance.label:
            complain(
                "one id, other content",
                f"{where(utterance)}: the same utterance as {where(other)} ({utterance.id}) with label "
                f"{utterance.label} in place of {other.label}; remove the wrong one",
            )
            continue
        if not _is_same(other, utterance):
            complain(
                "one id, other content",
                f"{where(utterance)}: the same utterance as {where(other)} ({utterance.id}) with other "
                "content; remove the wrong one",
            )
            continue
        kept, dropped = (utterance, other) if len(utterance.path.parts) < len(other.path.parts) else (other, utterance)
        first[utterance.id] = kept
        doubled.append(dropped.path)
    utterances = [first[key] for key in sorted(first, key=str.encode)]
    _check_recordings(utterances)
    _check_genders(utterances)
    return utterances, doubled


def _is_same(one: Utterance, other: Utterance) -> bool:
    stretches = [(u.start, u.end, u.channel) for u in (one, other)]
    sizes = [_version(u.path)[0] for u in (one, other)]
    return stretches[0] == stretches[1] and sizes[0] == sizes[1] and digest(one.path) == digest(other.path)


def _check_names(utterance: Utterance) -> None:
    """Kaldi's tables are UTF-8 lines, split at spaces, and sort by utterance as they do by speaker."""
    for name in (utterance.id, utterance.speaker, utterance.recording or "-"):
        if len(name.split()) != 1:
            raise InputError(
                f"{where(utterance)}: {name!r} cannot name an utterance or a speaker, which have no spaces; "
                "mend the preparer"
            )
    if not utterance.id.startswith(f"{utterance.speaker}-"):
        raise InputError(
            f"{where(utterance)}: utterance id {utterance.id} does not start with its speaker "
            f"{utterance.speaker} and a dash; mend the preparer"
        )
    if utterance.gender not in ("f", "m", ""):
        raise InputError(f"{where(utterance)}: gender {utterance.gender!r} is not f, m or empty; mend the preparer")
    path = str(utterance.path.resolve())
    if "\n" in path or path != path.encode("utf-8", "replace").decode():
        raise InputError(f"{path!r}: a path that is no line of UTF-8 text; rename it")
    if path != path.strip() or path.endswith("|"):
        raise InputError(f"{path!r}: Kaldi would take that path for a command or cut its spaces off; rename the file")


def _check_recordings(utterances: Sequence[Utterance]) -> None:
    """An id of a recording, also with a channel's number behind it, names one file."""
    first: dict[str, Utterance] = {}
    for u in utterances:
        name = u.recording or u.id
        for key in (name, *([] if u.channel is None else [f"{name}-{u.channel}"])):
            other = first.setdefault(key, u)
            if other.path.resolve() != u.path.resolve():
                complain(
                    "one id, other content",
                    f"{where(u)}: recording {key} is {u.path} here and {other.path} in {where(other)}; "
                    "give each file an id of its own",
                )


def _check_genders(utterances: Sequence[Utterance]) -> None:
    first: dict[str, Utterance] = {}
    for u in utterances:
        other = first.setdefault(u.speaker, u) if u.gender else u
        if other.gender != u.gender:
            complain(
                "speakers",
                f"{where(u)}: speaker {u.speaker} is {u.gender} here and {other.gender} in {where(other)}; mend one",
            )


def check_labels(protocol: Protocol, utterances: Sequence[Utterance]) -> list[Utterance]:
    """Raw labels are a closed set.

    Returns:
        Those with a known label.

    Raises:
        InputError: an unknown label, unless findings are being collected.
    """
    known = []
    for u in utterances:
        if u.label in protocol.labels:
            known.append(u)
        else:
            complain(
                "unknown labels",
                f"{where(u)}: unknown label {u.label!r}; {protocol.path} knows "
                f"{', '.join(protocol.labels)}: map it there, or to null to leave it out",
            )
    return known


def compare(protocol: Protocol, utterances: Sequence[Utterance]) -> Found:
    """Count, and compare with the edition that comes nearest."""
    counts: dict[str, Any] = {
        "utterances": len(utterances),
        "speakers": len({u.speaker for u in utterances}),
        "labels": dict(sorted(Counter(u.label for u in utterances).items())),
    }
    candidates: list[tuple[bool, int, int, int, Found]] = []
    for edition, expected in protocol.editions.items():
        pairs = [(counts[key], expected[key], key) for key in ("utterances", "speakers") if key in expected]
        pairs += [(counts["labels"].get(label, 0), n, label) for label, n in expected.get("labels", {}).items()]
        wrong = [f"{there} of {wanted} {what}" for there, wanted, what in pairs if there != wanted]
        distance = abs(counts["utterances"] - expected.get("utterances", counts["utterances"]))
        candidates.append((bool(wrong), distance, len(wrong), len(candidates), Found(edition, expected, counts, wrong)))
    return min(candidates)[-1] if candidates else Found("", {}, counts, [])


def incomplete(protocol: Protocol, corpus_dir: Path, found: Found) -> str:
    """The error of a corpus that is not as the protocol says."""
    edition = f" ({found.edition})" if found.edition else ""
    return (
        f"{corpus_dir}: not the complete {protocol.name}{edition}: {', '.join(found.wrong)}; complete it "
        f"(from {protocol.source}), mend `expected` in {protocol.path}, or go on with --allow-partial true"
    )


def check_classes(protocol: Protocol, items: Sequence[Item], allow_partial: bool) -> None:
    """Every class has a speaker, and, where the corpus is a table, every speaker a class.

    Raises:
        InputError: unless findings are being collected.
    """
    if allow_partial:
        return
    named: dict[str, set[str | None]] = {}
    for item in items:
        named.setdefault(item.utterance.speaker, set()).add(protocol.labels[item.utterance.label])
    there = set().union(*named.values())
    for name in protocol.classes:
        if name not in there:
            complain(
                "classes",
                f"{protocol.path}: class {name} has no speaker; map a label to it, take it out of `classes`, "
                "or go on with --allow-partial true",
            )
    for item in items:
        u = item.utterance
        if u.origin and named.pop(u.speaker, {""}) == {None}:
            complain(
                "classes",
                f"{u.origin}: speaker {u.speaker} has no utterance in a class; mend the labels, remove the lines, "
                "or go on without with --allow-partial true",
            )


def check_parts(protocol: Protocol, kept: Sequence[Item], allow_partial: bool) -> None:
    """Every speaker is in a part of every fold, and every part that has speakers has utterances.

    Raises:
        InputError: unless findings are being collected.
    """
    speakers = {item.utterance.speaker for item in kept}
    for split in protocol.splits:
        for number, fold in enumerate(protocol.folds(split), 1):
            placed = {s for part in PARTS for s in fold[part]}
            for speaker in sorted(speakers - placed):
                complain(
                    "splits",
                    f"{protocol.path}: splits: {split}: speaker {speaker} is in no part of fold {number}; "
                    "add it to one",
                )
            for part in PARTS:
                if fold[part] and not speakers.intersection(fold[part]) and not allow_partial:
                    complain(
                        "splits",
                        f"{protocol.path}: splits: {split}: fold {number}: no utterances in {part}; "
                        "give it speakers of the corpus",
                    )


def _unused_splits(protocol: Protocol, utterances: Sequence[Utterance]) -> str:
    """What to say where the corpus has a split of its own that no split of the protocol goes by."""
    given = sum(bool(u.split) for u in utterances)
    if not given or any("given" in spec for spec in protocol.splits.values()):
        return ""
    return (
        f"{given} utterances have a split of their own, which {protocol.path.name} does not use: {{given: true}} does"
    )


def _parted(protocol: Protocol, kept: Sequence[Item]) -> dict[str, int]:
    """<split>_fold<k> -> recordings whose speakers are in several parts, where there are any."""
    speakers: dict[str, set[str]] = {}
    for item in kept:
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
    if report["doubled"] or report["hidden"]:
        lines.append(
            f"  {report['doubled']} second copies of equal content and {report['hidden']} hidden files passed over"
        )
    if report.get("others"):
        lines.append(f"  {report['others']} files that are no utterances passed over (--check true lists them)")
    if report["missing"]:
        lines.append(f"  partial copy: {', '.join(report['missing'])}")
    for name, number in report.get("other_text", {}).items():
        lines.append(f"  {name}: {number} utterances left out, since their text is for the other side")
    for name, number in report.get("not_kept", {}).items():
        lines.append(f"  {name}: {number} utterances left out (keep: {protocol.keep})")
    if protocol.shuffle_labels:
        lines.append("  labels are dealt anew among the utterances of each speaker (shuffle_labels)")
    for name, number in report.get("parted", {}).items():
        lines.append(f"  {name}: {number} recordings have speakers in several parts, who may be heard in each other's")
    if report.get("unused_splits"):
        lines.append(f"  {report['unused_splits']}")
    return os.linesep.join(lines)
