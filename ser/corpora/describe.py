"""What a prepared corpus holds, from data/<corpus>/ alone: counts, durations, who is where, and a hash of all that."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from ser.common import InputError, digest, read_json
from ser.common.json_lines import read_json_lines
from ser.common.kinds import of_kind
from ser.common.once import parsed_once
from ser.common.output import line, markdown, markdown_table
from ser.common.pictures import check_picture, save_picture
from ser.corpora.confounding import Confounding, confounding
from ser.corpora.kaldi import read_table
from ser.corpora.protocol import PARTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LISTED = 8  # more training speakers than that are "the other N", where they are; and more folds than that, "N more"
GENDERS = {"f": "women", "m": "men", "": "unknown"}
Table = list[dict[str, Any]]


@dataclass(frozen=True)
class UtteranceInfo:
    """An utterance.

    Attributes:
        emotion: the class, or None where the label is in no class.
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
class Prepared:
    """A prepared corpus.

    Attributes:
        classes: in the order of the protocol.
        utterances: utterance id -> utterance, those in no class among them.
        splits: split -> fold, from 1 -> part -> ids of its utterances.
    """

    corpus: str
    folder: Path
    classes: list[str]
    utterances: dict[str, UtteranceInfo]
    splits: dict[str, dict[int, dict[str, list[str]]]]

    @property
    def labelled(self) -> list[UtteranceInfo]:
        """The utterances that are in a class."""
        return [u for u in self.utterances.values() if u.emotion is not None]

    @property
    def confounding(self) -> Confounding:
        """How far classes follow from speakers."""
        return confounding((u.speaker, str(u.emotion)) for u in self.labelled)

    def missing(self) -> list[str]:
        """A line a split and part of which some folds lack a class of the corpus; a part without speakers lacks none.

        A class without an utterance in the whole corpus is in none of them.
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

    def of(self, split: str, fold: int, part: str) -> list[UtteranceInfo]:
        """The utterances of a part."""
        return [self.utterances[key] for key in self.splits[split][fold].get(part, [])]

    def counts(self, split: str, fold: int) -> dict[str, dict[str, int]]:
        """Utterances by part and class; a part without utterances has zeros."""
        found = {part: Counter(u.emotion for u in self.of(split, fold, part)) for part in PARTS}
        return {part: {name: own[name] for name in self.classes} for part, own in found.items()}


class _Report(TypedDict):
    parts: dict[str, int]
    classes: dict[str, int]


class _Completeness(TypedDict, total=False):
    missing: list[str]
    unusable: int
    lines: int


def read_prepared(folder: Path, only: str | None = None) -> Prepared:
    """Read what stage 1 wrote to data/<corpus>/.

    Args:
        only: the one split to read; None: all.

    Raises:
        InputError: the folder is no prepared corpus, has no such split, its files disagree, or a speaker is in two
            parts of a fold.
    """
    if not (folder / "report.json").is_file():
        raise InputError("not a prepared corpus (it has no report.json)", folder, "run stage 1, which writes it")
    try:
        report = of_kind(_Report, read_json(folder / "report.json"), "")
        for name in report["parts"]:
            if not re.fullmatch(r".+_fold\d{1,9}/(train|valid|test)", name):
                raise ValueError(f"parts.{name}: expected <split>_fold<number>/<part>")
    except ValueError as error:
        what, fix = f"not one of stage 1 ({error})", f"remove {folder} and run stage 1"
        raise InputError(what, folder / "report.json", fix) from None
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
        there = ", ".join(dict.fromkeys(name.rpartition("_fold")[0] for name in report["parts"]))
        raise InputError(f"has no split {only}; there is: {there}", folder)
    prepared = Prepared(folder.resolve().name, folder, list(report["classes"]), utterances, splits)
    _check_speakers(prepared)
    return prepared


def incompleteness(folder: Path) -> list[str]:
    """What a corpus lacks that was prepared with --allow-partial true, such as "1200 of 1440 utterances".

    Args:
        folder: data/<corpus>.

    Raises:
        InputError: stage 1 has not run, or its report is damaged.
    """
    path = folder / "report.json"
    try:
        report = of_kind(_Completeness, read_json(path), "")
    except ValueError as error:
        raise InputError(f"not one of stage 1 ({error})", path, f"remove {folder} and run stage 1") from None
    counts = {
        "utterances cannot be read": report.get("unusable"),
        "lines of its tables cannot be used": report.get("lines"),
    }
    return [*report.get("missing", []), *(f"{n} {what}" for what, n in counts.items() if n)]


def _read_part(folder: Path, number: int, known: Mapping[str, str]) -> list[str]:
    """The ids of a data dir's utterances: `number` of them, each in a class and of the speaker that `known` has."""
    speaker_of = {key: s for s, keys in read_table(folder / "spk2utt").items() for key in keys.split()}
    if len(speaker_of) != number or not speaker_of.items() <= known.items():
        what = "does not agree with report.json and supervisions.jsonl.gz"
        raise InputError(what, folder / "spk2utt", f"remove {folder.parents[1]} and run stage 1")
    return list(speaker_of)


@parsed_once
def _read_supervisions(path: Path) -> dict[str, UtteranceInfo]:
    """Plain JSON: importing lhotse takes seconds."""
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


def _check_speakers(prepared: Prepared) -> None:
    for split, folds in prepared.splits.items():
        for fold, parts in folds.items():
            speakers = Counter(s for part in parts for s in {u.speaker for u in prepared.of(split, fold, part)})
            twice = [s for s, n in speakers.items() if n > 1]
            if twice:
                where, fix = prepared.folder / f"{split}_fold{fold}", f"remove {prepared.folder} and run stage 1"
                raise InputError(f"speaker {twice[0]} is in two parts", where, fix)


def protocol_hash(prepared: Prepared, split: str) -> str:
    """Ten hexadecimal digits that name a protocol: raw labels and their classes, and who is in which part of a split.

    Results of equal hash and equal counts are of the same task. A part is named by its speakers where it has all their
    utterances, so that a partial copy of every speaker and label keeps the hash; else by its utterances, as where texts
    are kept apart.
    """
    labels = {u.label: u.emotion for u in prepared.utterances.values()}
    utterances_of = Counter(u.speaker for u in prepared.labelled)
    members = {}
    for fold, parts in prepared.splits[split].items():
        for part, ids in parts.items():
            speakers = sorted({u.speaker for u in prepared.of(split, fold, part)})
            complete = len(ids) == sum(utterances_of[s] for s in speakers)
            members[f"{fold}/{part}"] = speakers if complete else sorted(ids)
    return digest(labels, members)[:10]


def overview(corpora: Sequence[Prepared]) -> Table:
    """A row a corpus. Hours and seconds are of the utterances in the classes; seconds at 5, 50, 95 and 100 %."""
    rows = []
    for prepared in corpora:
        labelled = prepared.labelled
        counts = Counter(u.emotion for u in labelled)
        seconds = [u.seconds for u in labelled]
        percentiles = np.percentile(seconds, [5, 50, 95, 100])
        rows.append(
            {
                "corpus": prepared.corpus,
                "speakers": _people(prepared.utterances.values()),
                "language": ", ".join(sorted({u.language for u in labelled if u.language})),
                "utterances": len(prepared.utterances),
                "in classes": len(labelled),
                "classes": ", ".join(f"{name} {counts[name]}" for name in prepared.classes),
                "hours": f"{sum(seconds) / 3600:.2f}",
                "seconds (5, 50, 95 %, longest)": ", ".join(f"{p:.2f}" for p in percentiles),
            }
        )
    return rows


def _people(utterances: Iterable[UtteranceInfo]) -> str:
    """Number of speakers, and of women and men where they are known: "24 (women 12, men 12)"."""
    genders = {u.speaker: u.gender for u in utterances}
    found = Counter(genders.values())
    known = ", ".join(f"{name} {found[gender]}" for gender, name in GENDERS.items() if found[gender])
    return f"{len(genders)} ({known})" if set(found) != {""} else str(len(genders))


def split_table(prepared: Prepared, split: str) -> Table:
    """A row a fold and part: its counts by class, how many of its texts are in train too, and its speakers."""
    rows = []
    everyone = {u.speaker for u in prepared.labelled}
    starts = {name[: name.rfind("_") + 1] for name in everyone}
    start = starts.pop() if len(starts) == 1 else ""  # such as ravdess_, where all names have it
    for fold in prepared.splits[split]:
        counts = prepared.counts(split, fold)
        utterances = {part: prepared.of(split, fold, part) for part in PARTS}
        speakers = {part: {u.speaker for u in utterances[part]} for part in PARTS}
        texts = {part: {u.text_id for u in utterances[part]} - {""} for part in PARTS}
        for part in PARTS:
            shared = f"{len(texts[part] & texts['train'])} of {len(texts[part])}"
            others = everyone.difference(*(speakers[p] for p in PARTS if p != part))
            names = sorted(name.removeprefix(start) for name in speakers[part])
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


def describe_corpora(corpora: Sequence[Prepared], tablefmt: str = "simple") -> str:
    """Tables of some corpora and their splits.

    Args:
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
    texts = [f"{p.corpus}: {text}." for p in corpora for text in (p.confounding, *p.missing())]
    lines += [f"- {markdown(text) if tablefmt == 'github' else line(text)}" for text in texts] + [""]
    for prepared in corpora:
        for split in prepared.splits:
            title = f"{prepared.corpus}, split {split}, protocol {protocol_hash(prepared, split)}"
            lines += block(3, title, split_table(prepared, split))
    return "\n".join([*lines, "No speaker is in two parts of a fold."])


def draw_corpora(corpora: Sequence[Prepared], path: Path) -> None:
    """Durations by class, and counts by part and class, a row a corpus.

    Raises:
        InputError: an ending that is no picture's.
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


def _draw_durations(axes: Axes, prepared: Prepared, colours: Mapping[str, str]) -> None:
    seconds = [[u.seconds for u in prepared.labelled if u.emotion == name] for name in prepared.classes]
    drawn = axes.boxplot(
        seconds, orientation="horizontal", whis=(5, 95), patch_artist=True, widths=0.6, flierprops={"markersize": 2}
    )
    for box, median, name in zip(drawn["boxes"], drawn["medians"], prepared.classes, strict=True):
        box.set_facecolor(colours[name])
        median.set_color("black")
    labels = [f"{name} ({len(values)})" for name, values in zip(prepared.classes, seconds, strict=True)]
    axes.set_yticks(range(1, len(labels) + 1), labels)
    axes.invert_yaxis()
    people = _people(prepared.utterances.values())
    axes.set_title(f"{prepared.corpus}: speakers {people}", loc="left", fontsize="medium")


def _draw_counts(axes: Axes, prepared: Prepared, colours: Mapping[str, str]) -> None:
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
