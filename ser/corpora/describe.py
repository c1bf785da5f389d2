"""Describe a prepared corpus from data/<corpus>/ alone: counts, durations, speakers of each part, protocol hash."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import numpy as np

from ser.common import InputError, digest, read_typed
from ser.common.json_lines import read_json_lines
from ser.common.once import parsed_once
from ser.common.output import line, markdown, markdown_table
from ser.common.pictures import check_picture, save_picture
from ser.corpora.confounding import Confounding, confounding
from ser.corpora.kaldi import read_table
from ser.corpora.protocol import PARTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LISTED = 8  # of more training speakers, or more folds, only the number is printed
GENDERS = {"f": "women", "m": "men", "": "unknown"}
Table = list[dict[str, Any]]


@dataclass(frozen=True)
class UtteranceInfo:
    """An utterance of a prepared corpus.

    Attributes:
        emotion: the class; None: the label is in no class.
        seconds: duration.
    """

    speaker: str
    gender: str
    language: str
    label: str
    emotion: str | None
    text_id: str
    seconds: float


@dataclass(frozen=True)
class PreparedCorpus:
    """A prepared corpus.

    Attributes:
        classes: in the order of the protocol.
        utterances: utterance id -> utterance, with or without a class.
        splits: split -> fold, from 1 -> part -> ids of its utterances.
    """

    corpus: str
    folder: Path
    classes: list[str]
    utterances: dict[str, UtteranceInfo]
    splits: dict[str, dict[int, dict[str, list[str]]]]

    @property
    def labelled(self) -> list[UtteranceInfo]:
        """The utterances with a class."""
        return [u for u in self.utterances.values() if u.emotion is not None]

    @property
    def confounding(self) -> Confounding:
        """How far the speaker determines the class."""
        return confounding((u.speaker, str(u.emotion)) for u in self.labelled)

    def missing_classes(self) -> list[str]:
        """Report, in a line for each split and part, the folds in which the part lacks a class of the corpus.

        A part without speakers, and a class without utterances in the whole corpus, are not reported.
        """
        available = {u.emotion for u in self.labelled}
        lines = []
        for split, folds in self.splits.items():
            for part in PARTS:
                by_fold = {}
                for fold in folds:
                    counts = self.counts(split, fold)[part]
                    lacking = [name for name in self.classes if name in available and not counts[name]]
                    if lacking and any(counts.values()):
                        by_fold[fold] = f"fold {fold} {', '.join(lacking)}"
                if by_fold:
                    more = f"; and {len(by_fold) - LISTED} folds more" if len(by_fold) > LISTED else ""
                    lines.append(
                        f"{split} {part}: no utterance of some class in {len(by_fold)} of {len(folds)} folds: "
                        f"{'; '.join([*by_fold.values()][:LISTED])}{more}"
                    )
        return lines

    def utterances_of(self, split: str, fold: int, part: str) -> list[UtteranceInfo]:
        """List the utterances of a part of a fold."""
        return [self.utterances[key] for key in self.splits[split][fold].get(part, [])]

    def counts(self, split: str, fold: int) -> dict[str, dict[str, int]]:
        """Count the utterances of a fold by part and class; a part without utterances has zeros."""
        counts = {part: Counter(u.emotion for u in self.utterances_of(split, fold, part)) for part in PARTS}
        return {part: {name: by_class[name] for name in self.classes} for part, by_class in counts.items()}


class _Report(TypedDict):
    parts: dict[str, int]
    classes: dict[str, int]
    missing: NotRequired[list[str]]
    unusable: NotRequired[int]
    lines: NotRequired[int]


def read_prepared(folder: Path, only: str | None = None) -> PreparedCorpus:
    """Read what stage 1 wrote to data/<corpus>/.

    Args:
        folder: data/<corpus>.
        only: the only split to read; None: all.

    Raises:
        InputError: the folder is no prepared corpus or has no such split, its files disagree, or a speaker is in two
            parts of a fold.
    """
    if not (folder / "report.json").is_file():
        below = sorted(path.parent for path in folder.glob("[!.]*/report.json"))
        fix = f"give one of the corpora in it, such as {below[0]}" if below else "run stage 1, which writes it"
        raise InputError("not a prepared corpus (it has no report.json)", folder, fix)
    report = _read_report(folder)
    utterances = _read_supervisions(folder / "supervisions.jsonl.gz")
    known = {key: u.speaker for key, u in utterances.items() if u.emotion is not None}
    splits: dict[str, dict[int, dict[str, list[str]]]] = {}
    for name, number in report["parts"].items():
        split, _, rest = name.rpartition("_fold")
        if only in (None, split):
            fold, _, part = rest.partition("/")
            ids = _read_part(folder / name, number, known)
            splits.setdefault(split, {}).setdefault(int(fold), {})[part] = ids
    if not splits:
        available = ", ".join(dict.fromkeys(name.rpartition("_fold")[0] for name in report["parts"]))
        raise InputError(f"has no split {only}; there is: {available}", folder)
    prepared = PreparedCorpus(
        os.path.basename(os.path.abspath(folder)), folder, list(report["classes"]), utterances, splits
    )
    _check_speakers(prepared)
    return prepared


def incompleteness(folder: Path) -> list[str]:
    """Report what a corpus prepared with --allow-partial true lacks, such as "1200 of 1440 utterances".

    Args:
        folder: data/<corpus>.

    Raises:
        InputError: stage 1 has not run, or its report is damaged.
    """
    report = _read_report(folder)
    counts = {
        "utterances cannot be used": report.get("unusable"),
        "lines of its tables cannot be used": report.get("lines"),
    }
    return [*report.get("missing", []), *(f"{n} {what}" for what, n in counts.items() if n)]


def _read_report(folder: Path) -> _Report:
    path, what, fix = folder / "report.json", "not one of stage 1", f"remove {folder} and run stage 1"
    report: _Report = read_typed(path, _Report, what, fix)
    for name in report["parts"]:
        if not re.fullmatch(r".+_fold\d{1,9}/(train|valid|test)", name):
            raise InputError(f"{what} (parts.{name}: expected <split>_fold<number>/<part>)", path, fix)
    return report


def _read_part(folder: Path, number: int, known: Mapping[str, str]) -> list[str]:
    """Read the utterance ids of a data dir; checks their number, and their speakers against `known` (id -> speaker)."""
    speaker_of = {key: s for s, keys in read_table(folder / "spk2utt").items() for key in keys.split()}
    if len(speaker_of) != number or not speaker_of.items() <= known.items():
        what = "does not agree with report.json and supervisions.jsonl.gz"
        raise InputError(what, folder / "spk2utt", f"remove {folder.parents[1]} and run stage 1")
    return list(speaker_of)


@parsed_once
def _read_supervisions(path: Path) -> dict[str, UtteranceInfo]:
    """Read supervisions without lhotse, whose import takes seconds: utterance id -> utterance."""
    return dict(read_json_lines(path, _utterance_info, "supervisions"))


def _utterance_info(row: dict[str, Any]) -> tuple[str, UtteranceInfo]:
    key, custom = row["id"], row["custom"]
    return key, UtteranceInfo(
        row["speaker"],
        row.get("gender") or "",
        row.get("language") or "",
        custom["label"],
        custom["emotion"],
        custom.get("text_id") or "",
        row["duration"],
    )


def _check_speakers(prepared: PreparedCorpus) -> None:
    for split, folds in prepared.splits.items():
        for fold, parts in folds.items():
            speakers = Counter(
                s for part in parts for s in {u.speaker for u in prepared.utterances_of(split, fold, part)}
            )
            twice = [s for s, n in speakers.items() if n > 1]
            if twice:
                where, fix = prepared.folder / f"{split}_fold{fold}", f"remove {prepared.folder} and run stage 1"
                raise InputError(f"speaker {twice[0]} is in two parts", where, fix)


def protocol_hash(prepared: PreparedCorpus, split: str) -> str:
    """Hash a protocol to ten hexadecimal digits: raw labels and their classes, and the members of each part of a split.

    Results with equal hashes and equal counts are comparable. A part with all utterances of its speakers is hashed by
    its speakers, so that a partial copy with every speaker and label has the same hash. Any other part, as with
    `texts: disjoint`, is hashed by its utterances.
    """
    labels = {u.label: u.emotion for u in prepared.utterances.values()}
    utterances_of = Counter(u.speaker for u in prepared.labelled)
    members = {}
    for fold, parts in prepared.splits[split].items():
        for part, ids in parts.items():
            speakers = sorted({u.speaker for u in prepared.utterances_of(split, fold, part)})
            complete = len(ids) == sum(utterances_of[s] for s in speakers)
            members[f"{fold}/{part}"] = speakers if complete else sorted(ids)
    return digest(labels, members)[:10]


def overview(corpora: Sequence[PreparedCorpus]) -> Table:
    """Make the overview, a row for each corpus; hours and percentiles of seconds are of the utterances with a class."""
    rows = []
    for prepared in corpora:
        labelled = prepared.labelled
        counts = Counter(u.emotion for u in labelled)
        seconds = [u.seconds for u in labelled]
        percentiles = np.percentile(seconds, [5, 50, 95, 100])
        rows.append(
            {
                "corpus": prepared.corpus,
                "speakers": _speaker_counts(prepared.utterances.values()),
                "language": ", ".join(sorted({u.language for u in labelled if u.language})),
                "utterances": len(prepared.utterances),
                "in classes": len(labelled),
                "classes": ", ".join(f"{name} {counts[name]}" for name in prepared.classes),
                "hours": f"{sum(seconds) / 3600:.2f}",
                "seconds (5, 50, 95 %, longest)": ", ".join(f"{p:.2f}" for p in percentiles),
            }
        )
    return rows


def _speaker_counts(utterances: Iterable[UtteranceInfo]) -> str:
    """Format the number of speakers, with those of women and men if known: "24 (women 12, men 12)"."""
    genders = {u.speaker: u.gender for u in utterances}
    counts = Counter(genders.values())
    known = ", ".join(f"{name} {counts[gender]}" for gender, name in GENDERS.items() if counts[gender])
    return f"{len(genders)} ({known})" if set(counts) != {""} else str(len(genders))


def split_table(prepared: PreparedCorpus, split: str) -> Table:
    """Make the table of a split, a row for each fold and part: counts by class, texts shared with train, speakers."""
    rows = []
    all_speakers = {u.speaker for u in prepared.labelled}
    prefixes = {name[: name.rfind("_") + 1] for name in all_speakers}
    prefix = prefixes.pop() if len(prefixes) == 1 else ""  # such as ravdess_, if all names have it
    for fold in prepared.splits[split]:
        counts = prepared.counts(split, fold)
        utterances = {part: prepared.utterances_of(split, fold, part) for part in PARTS}
        speakers = {part: {u.speaker for u in utterances[part]} for part in PARTS}
        texts = {part: {u.text_id for u in utterances[part]} - {""} for part in PARTS}
        for part in PARTS:
            shared = f"{len(texts[part] & texts['train'])} of {len(texts[part])}"
            others = all_speakers.difference(*(speakers[p] for p in PARTS if p != part))
            names = sorted(name.removeprefix(prefix) for name in speakers[part])
            all_others = part == "train" and len(names) > LISTED and speakers[part] == others
            rows.append(
                {
                    "fold": fold,
                    "part": part,
                    "utterances": len(utterances[part]),
                    **counts[part],
                    "hours": f"{sum(u.seconds for u in utterances[part]) / 3600:.2f}",
                    "texts in train": shared if texts[part] and part != "train" else "",
                    "speakers": len(names),
                    "who": f"the other {len(names)}" if all_others else " ".join(names),
                }
            )
    return rows


def describe_corpora(corpora: Sequence[PreparedCorpus], tablefmt: str = "simple") -> str:
    """Format tables of corpora and of their splits.

    Args:
        corpora: prepared corpora.
        tablefmt: one of tabulate's, such as "simple" (text) or "github" (Markdown).
    """
    from tabulate import tabulate

    def block(level: int, title: str, rows: Table) -> list[str]:
        head, cells = list(rows[0]), [list(r.values()) for r in rows]
        if tablefmt == "github":
            return [f"{'#' * level} {markdown(title)}", "", markdown_table(head, cells), ""]
        text = [[line(cell) for cell in row] for row in (head, *cells)]
        return [line(title), "", tabulate(text[1:], text[0], tablefmt=tablefmt, disable_numparse=True), ""]

    lines = block(2, "Corpora (hours and seconds: of the utterances in the classes)", overview(corpora))
    texts = [f"{p.corpus}: {text}." for p in corpora for text in (p.confounding, *p.missing_classes())]
    lines += [f"- {markdown(text) if tablefmt == 'github' else line(text)}" for text in texts] + [""]
    for prepared in corpora:
        for split in prepared.splits:
            title = f"{prepared.corpus}, split {split}, protocol {protocol_hash(prepared, split)}"
            lines += block(3, title, split_table(prepared, split))
    return "\n".join([*lines, "No speaker is in two parts of a fold."])


def draw_corpora(corpora: Sequence[PreparedCorpus], path: Path) -> None:
    """Draw durations by class, and counts by part and class, in a row for each corpus.

    Raises:
        InputError: the path does not end as a picture's does.
    """
    check_picture(path)
    from matplotlib import style
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    names = sorted({name for prepared in corpora for name in prepared.classes})
    palette = style.library["tableau-colorblind10"]["axes.prop_cycle"].by_key()["color"]
    colours = dict(zip(names, itertools.cycle(palette), strict=False))
    longest = max(u.seconds for prepared in corpora for u in prepared.labelled)
    figure = Figure(figsize=(11, 0.6 + 2.6 * len(corpora)), layout="constrained")
    panels = figure.subplots(len(corpora), 2, squeeze=False)
    for (left, right), prepared in zip(panels, corpora, strict=True):
        _draw_durations(left, prepared, colours)
        _draw_counts(right, prepared, colours)
        left.set_xlim(0, 1.05 * longest)
    panels[-1, 0].set_xlabel("seconds (box: quartiles; whiskers: 5 and 95 %; points: the rest)")
    panels[-1, 1].set_xlabel("utterances, mean over folds (line: least to most)")
    patches = [Patch(color=colour, label=name) for name, colour in colours.items()]
    figure.legend(handles=patches, loc="outside upper right", ncols=len(names), frameon=False)
    save_picture(figure, path)


def _draw_durations(axes: Axes, prepared: PreparedCorpus, colours: Mapping[str, str]) -> None:
    seconds = [[u.seconds for u in prepared.labelled if u.emotion == name] for name in prepared.classes]
    plot = axes.boxplot(
        seconds, orientation="horizontal", whis=(5, 95), patch_artist=True, widths=0.6, flierprops={"markersize": 2}
    )
    for box, median, name in zip(plot["boxes"], plot["medians"], prepared.classes, strict=True):
        box.set_facecolor(colours[name])
        median.set_color("black")
    labels = [f"{name} ({len(values)})" for name, values in zip(prepared.classes, seconds, strict=True)]
    axes.set_yticks(range(1, len(labels) + 1), labels)
    axes.invert_yaxis()
    speakers = _speaker_counts(prepared.utterances.values())
    axes.set_title(f"{prepared.corpus}: speakers {speakers}", loc="left", fontsize="medium")


def _draw_counts(axes: Axes, prepared: PreparedCorpus, colours: Mapping[str, str]) -> None:
    bars = [(split, part) for split in prepared.splits for part in PARTS]
    for y, (split, part) in enumerate(bars):
        folds = [prepared.counts(split, fold)[part] for fold in prepared.splits[split]]
        start = 0.0
        for name in prepared.classes:
            mean = float(np.mean([fold[name] for fold in folds]))
            axes.barh(y, mean, left=start, color=colours[name])
            start += mean
        sums = [sum(fold.values()) for fold in folds]
        axes.hlines(y, min(sums), max(sums), color="black")
        axes.text(max(sums), y, f" {start:g}" if start == round(start) else f" {start:.1f}", va="center", fontsize=8)
    axes.set_yticks(range(len(bars)), [f"{split} {part}" for split, part in bars])
    axes.margins(x=0.1)
    axes.invert_yaxis()
    folds_of = ", ".join(f"{split} {len(folds)}" for split, folds in prepared.splits.items())
    axes.set_title(f"number of folds: {folds_of}", loc="left", fontsize="medium")
