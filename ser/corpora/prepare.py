"""From a corpus folder to manifests: every file read once, every utterance accounted for."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser.audio import read_audio
from ser.audio.reader import is_silent
from ser.common import InputError, atomic_path, digest, locked, read_json, write_json, write_text
from ser.common.errors import listed
from ser.common.progress import progress
from ser.corpora.manifests import MANIFESTS, write_data_dirs, write_manifests
from ser.corpora.preparers import Preparer
from ser.corpora.protocol import PARTS, Protocol
from ser.corpora.utterance import Utterance, hidden_files

# Part of the fingerprint: raise it when what is written below data/ changes its meaning.
VERSION = 1


@dataclass(frozen=True)
class Item:
    """An utterance and what its file turned out to hold.

    Attributes:
        digest: names the content of the file.
        sound: names the samples, whatever the file says beside them.
    """

    utterance: Utterance
    sampling_rate: int
    num_samples: int
    num_channels: int
    digest: str
    sound: str

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.num_samples / self.sampling_rate


def prepare(preparer: Preparer, protocol: Protocol, corpus_dir: Path, out_dir: Path, allow_partial: bool) -> str:
    """Write manifests and Kaldi data dirs of a corpus, unless those that are there were made of the same files.

    Returns:
        What was found and written, a few lines for the person who runs it.

    Raises:
        InputError: anything that is not as the protocol says.
    """
    if not corpus_dir.is_dir():
        raise InputError(f"{corpus_dir}: no such folder; {protocol.name} can be had from {protocol.source}")
    _check_place(corpus_dir, out_dir)
    utterances, doubled = _without_doubles(preparer.utterances(corpus_dir))
    state = [(str(u.path.resolve()), _version(u.path), u.id, u.label) for u in utterances]
    fingerprint = digest(VERSION, protocol.path, preparer.path, state, allow_partial)
    report_path = out_dir / "report.json"
    if report_path.is_file() and _is_done(out_dir, report := read_json(report_path), fingerprint):
        return f"{protocol.corpus}: up to date\n{_summary(protocol, report)}"
    report = _count(protocol, utterances, corpus_dir, allow_partial)
    report |= {"fingerprint": fingerprint, "doubled": doubled, "hidden": hidden_files(corpus_dir)}
    items, unreadable = _read_all(protocol, utterances, allow_partial)
    _check_equal_audio(protocol, items)
    left_out = [(u.id, protocol.drop[u.id]) for u in utterances if u.id in protocol.drop] + unreadable
    kept = [item for item in items if protocol.labels[item.utterance.label] is not None]
    left_out += [
        (i.utterance.id, f"label {i.utterance.label} is in no class")
        for i in items
        if protocol.labels[i.utterance.label] is None
    ]
    _check_parts(protocol, kept, allow_partial)
    if not kept:
        raise InputError(
            f"{corpus_dir}: no utterance that can be read is in a class; complete it (from {protocol.source})"
        )
    report |= {
        "utterances": len(items),
        "speakers": len({item.utterance.speaker for item in items}),
        "classes": {c: sum(protocol.labels[i.utterance.label] == c for i in kept) for c in protocol.classes},
        "hours": round(sum(item.duration for item in kept) / 3600, 3),
        "stereo": sum(item.num_channels > 1 for item in items),
        "rates": {str(rate): n for rate, n in sorted(Counter(i.sampling_rate for i in items).items())},
        "left_out": len(left_out),
    }
    with locked(out_dir, f"{out_dir} is being written"), atomic_path(out_dir) as folder:
        folder.mkdir()
        write_manifests(folder, protocol, items, kept)
        report["parts"] = write_data_dirs(folder, protocol, kept)
        write_text(folder / "left_out.tsv", "".join(f"{u}\t{why}\n" for u, why in sorted(left_out)))
        write_json(folder / "report.json", report)
    return _summary(protocol, report)


def _check_place(corpus_dir: Path, out_dir: Path) -> None:
    """What is written replaces the folder whole, so it must hold nothing else."""
    place, corpus = out_dir.resolve(), corpus_dir.resolve()
    if place == corpus or place in corpus.parents:
        raise InputError(f"{out_dir}: holds the corpus and would be replaced; give another folder to write")
    signs = ("report.json", *MANIFESTS)
    if out_dir.exists() and not out_dir.is_dir():
        raise InputError(f"{out_dir}: a file is in the way; remove it, or give another folder to write")
    if out_dir.is_dir() and any(out_dir.iterdir()) and not any((out_dir / name).is_file() for name in signs):
        raise InputError(
            f"{out_dir}: holds something else than a prepared corpus and would be replaced; remove it, "
            "or give another folder to write, such as data/<corpus>"
        )


def _version(path: Path) -> tuple[int, int]:
    """Size and time of change; zeros for a link to nothing, which fails when it is read."""
    if not path.is_file():
        return 0, 0
    return path.stat().st_size, path.stat().st_mtime_ns


def _is_done(out_dir: Path, report: dict[str, Any], fingerprint: str) -> bool:
    """Made of the same files, and nothing removed since."""
    names = [*MANIFESTS, "left_out.tsv", *(f"{part}/utt2spk" for part in report.get("parts", {}))]
    return report.get("fingerprint") == fingerprint and all((out_dir / name).is_file() for name in names)


def _without_doubles(found: Iterable[Utterance]) -> tuple[list[Utterance], int]:
    """Keep one of several files with one id and equal bytes; an id is never made unique by a suffix."""
    first: dict[str, Utterance] = {}
    doubled = 0
    for utterance in found:
        _check_names(utterance)
        if not utterance.id.startswith(f"{utterance.speaker}-"):
            raise InputError(
                f"{utterance.path}: utterance id {utterance.id} does not start with its speaker "
                f"{utterance.speaker} and a dash; mend the preparer"
            )
        other = first.setdefault(utterance.id, utterance)
        if other is utterance:
            continue
        if _version(other.path)[0] != _version(utterance.path)[0] or digest(other.path) != digest(utterance.path):
            raise InputError(
                f"{utterance.path}: the same utterance as {other.path} ({utterance.id}) with other "
                "content; remove the wrong one"
            )
        doubled += 1
        if len(utterance.path.parts) < len(other.path.parts):
            first[utterance.id] = utterance
    return [first[key] for key in sorted(first, key=str.encode)], doubled


def _check_names(utterance: Utterance) -> None:
    """Kaldi's tables are UTF-8 lines, split at spaces."""
    for name in (utterance.id, utterance.speaker):
        if len(name.split()) != 1:
            raise InputError(
                f"{utterance.path}: {name!r} cannot name an utterance or a speaker, which have no spaces; "
                "mend the preparer"
            )
    path = str(utterance.path.resolve())
    if "\n" in path or path != path.encode("utf-8", "replace").decode():
        raise InputError(f"{path!r}: a path that is no line of UTF-8 text; rename it")


def _count(
    protocol: Protocol, utterances: Sequence[Utterance], corpus_dir: Path, allow_partial: bool
) -> dict[str, Any]:
    """Raw labels are a closed set, and as many of each as the complete corpus has."""
    for utterance in utterances:
        if utterance.label not in protocol.labels:
            raise InputError(
                f"{utterance.path}: unknown label {utterance.label!r}; {protocol.path} knows "
                f"{', '.join(map(str, protocol.labels))}: map it there, or to null to leave it out"
            )
    expected = protocol.expected
    found: dict[str, Any] = {
        "utterances": len(utterances),
        "speakers": len({u.speaker for u in utterances}),
        "labels": dict(sorted(Counter(u.label for u in utterances).items())),
    }
    wrong = [
        f"{found[key]} of {expected[key]} {key}"
        for key in ("utterances", "speakers")
        if key in expected and found[key] != expected[key]
    ]
    wrong += [
        f"{found['labels'].get(label, 0)} of {n} {label}"
        for label, n in expected.get("labels", {}).items()
        if found["labels"].get(label, 0) != n
    ]
    if wrong and not allow_partial:
        raise InputError(
            f"{corpus_dir}: not the complete {protocol.name}: {', '.join(wrong)}; complete it "
            f"(from {protocol.source}), or go on with --allow-partial true"
        )
    return {"found": found, "missing": wrong}


def _read_all(
    protocol: Protocol, utterances: Sequence[Utterance], allow_partial: bool
) -> tuple[list[Item], list[tuple[str, str]]]:
    items, unreadable, problems = [], [], []
    for utterance in progress(utterances, text=f"{protocol.corpus}: reading", unit="file"):
        if utterance.id in protocol.drop:
            continue
        try:
            audio = read_audio(utterance.path)
            if is_silent(audio.samples):
                raise InputError(
                    f"{utterance.path}: silence from end to end; replace it by an intact copy, or "
                    f"name {utterance.id} under `drop` in {protocol.path}"
                )
        except InputError as error:
            problems.append(str(error))
            unreadable.append((utterance.id, str(error)))
            continue
        channels, samples = audio.samples.shape
        sound = hashlib.blake2b(audio.samples.tobytes(), digest_size=8).hexdigest()
        items.append(Item(utterance, audio.sampling_rate, samples, channels, digest(utterance.path), sound))
    if problems and not allow_partial:
        raise InputError(f"{listed(problems)} (or go on without with --allow-partial true)")
    return items, unreadable


def _check_equal_audio(protocol: Protocol, items: Sequence[Item]) -> None:
    """Equal samples under two ids must agree in label, and no fold may part them."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.sound, []).append(item)
    for group in groups.values():
        if len({item.utterance.label for item in group}) > 1:
            names = " and ".join(str(item.utterance.path) for item in group)
            raise InputError(f"{names}: equal audio with two labels; name both under `drop` in {protocol.path}")
        if len({item.utterance.speaker for item in group}) > 1:
            names = " and ".join(str(item.utterance.path) for item in group)
            raise InputError(f"{names}: equal audio of two speakers; name one under `drop` in {protocol.path}")


def _check_parts(protocol: Protocol, kept: Sequence[Item], allow_partial: bool) -> None:
    """Every speaker is in a part of every fold, and every part that has speakers has utterances."""
    speakers = {item.utterance.speaker for item in kept}
    for split in protocol.splits:
        for number, fold in enumerate(protocol.folds(split), 1):
            placed = {s for part in PARTS for s in fold[part]}
            for speaker in sorted(speakers - placed):
                raise InputError(
                    f"{protocol.path}: splits: {split}: speaker {speaker} is in no part of fold {number}; add it to one"
                )
            for part in PARTS:
                if fold[part] and not speakers.intersection(fold[part]) and not allow_partial:
                    raise InputError(
                        f"{protocol.path}: splits: {split}: fold {number}: no utterances in {part}; "
                        "give it speakers of the corpus"
                    )


def _summary(protocol: Protocol, report: dict[str, Any]) -> str:
    classes = ", ".join(f"{name} {n}" for name, n in report["classes"].items())
    lines = [
        f"{protocol.corpus}: {report['utterances']} utterances of {report['speakers']} speakers; "
        f"{sum(report['classes'].values())} in the classes ({classes}), {report['hours']} hours",
        f"  rates {', '.join(f'{rate} Hz: {n}' for rate, n in report['rates'].items())}; "
        f"{report['stereo']} of several channels, mixed down; {report['left_out']} left out (left_out.tsv)",
    ]
    if report["doubled"] or report["hidden"]:
        lines.append(
            f"  {report['doubled']} second copies of equal content and {report['hidden']} hidden files passed over"
        )
    if report["missing"]:
        lines.append(f"  partial copy: {', '.join(report['missing'])}")
    return os.linesep.join(lines)
