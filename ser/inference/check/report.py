"""The results of a robustness evaluation as text, JSON and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ser.common import write_json, write_text
from ser.common.output import markdown, markdown_table
from ser.common.pictures import save_picture
from ser.common.provenance import provenance
from ser.inference.check.measure import CheckResults, Row
from ser.inference.predictor import Predictor

FILES = ("check.json", "check.md", "check.png")
NAMED = 3  # utterances that a warning names
READING = (
    "UA: mean recall of the classes; WA: accuracy; changed: share of decisions that differ from those on "
    "recordings as they are. Louder and quieter in floating point, never clipped; noise and telephone band at the rate "
    "of the model, MP3 at that of the recording, or the next that MP3 has."
)


def remarks(results: CheckResults, utterances: int) -> list[str]:
    """Remarks on the table: first of all whether the model was trained on the data.

    Args:
        results: of the check.
        utterances: how many were given.
    """
    lines = []
    for corpus, ids in results.seen.items():
        names = ", ".join([*ids[:NAMED], *(["..."] if len(ids) > NAMED else [])])
        lines.append(
            f"{corpus}: the model was trained on {len(ids)} of these utterances ({names}): a check on training data is "
            "no check"
        )
    if results.unread:
        lines.append(f"{len(results.unread)} of {utterances} utterances could not be read, and do not count")
    lines += [
        f"{name}: {count} utterances are too short for it, and left out" for name, count in results.too_short.items()
    ]
    if results.over:
        read = utterances - len(results.unread)
        lines.append(
            f"10 dB louder, {results.over} of {read} utterances would peak above full scale; a file of integers would "
            "clip them"
        )
    return lines


def conditions_table(rows: Sequence[Row]) -> str:
    """A table of all corpora in Markdown."""
    lines, previous = [], ""
    for row in rows:
        flipped = "" if row.flipped is None else f"{100 * row.flipped:.1f}"
        corpus = row.corpus if row.corpus != previous else ""
        lines.append([corpus, row.name, row.n, f"{100 * row.ua:.1f}", f"{100 * row.wa:.1f}", flipped])
        previous = row.corpus
    return markdown_table(
        ["data", "condition", "n", "UA %", "WA %", "changed %"],
        lines,
        colalign=("left", "left", "right", "right", "right", "right"),
    )


def write_check(
    folder: Path, predictor: Predictor, data: Sequence[str], results: CheckResults, lines: Sequence[str]
) -> None:
    """Write check.json, check.md and check.png.

    Args:
        folder: to write to.
        predictor: of the model.
        data: names of data dirs and manifests.
        results: of the check.
        lines: of `remarks`.
    """
    description = predictor.model.description
    values: dict[str, Any] = {
        "model": {key: description["provenance"][key] for key in ("experiment", "weights")},
        "head": predictor.head,
        "classes": list(predictor.classes),
        "data": list(data),
        **asdict(results),
        "made_with": provenance(),
    }
    title = f"{description['provenance']['experiment']}, head {predictor.head}"
    notes = "\n".join(f"- {markdown(text)}" for text in lines)
    parts = [
        f"# Check of {markdown(title)}",
        notes,
        conditions_table(results.rows),
        "![UA and changed decisions](check.png)",
        READING,
    ]
    write_json(folder / "check.json", values)
    write_text(folder / "check.md", "\n\n".join(part for part in parts if part) + "\n")
    _draw(results.rows, title, folder / "check.png")


def _draw(rows: Sequence[Row], title: str, path: Path) -> None:
    """UA to the left, changed decisions to the right; a bar a corpus."""
    from matplotlib.figure import Figure

    corpora = list(dict.fromkeys(row.corpus for row in rows))
    names = list(dict.fromkeys(row.name for row in rows))
    height = 0.8 / len(corpora)
    figure = Figure(figsize=(10, 1.6 + len(names) * max(0.3, 0.16 * len(corpora))), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subplots(1, 2, sharey=True)
    for number, corpus in enumerate(corpora):
        corpus_rows = [row for row in rows if row.corpus == corpus]
        places = [names.index(row.name) + (number + 0.5) * height - 0.4 for row in corpus_rows]
        n = next(row.n for row in corpus_rows)
        for axes, values in ((left, [r.ua for r in corpus_rows]), (right, [r.flipped for r in corpus_rows])):
            points = [(place, 100 * value) for place, value in zip(places, values, strict=True) if value is not None]
            bars = axes.barh(*zip(*points, strict=True), height, label=f"{corpus} (n {n})", color=f"C{number}")
            axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
    left.set_yticks(range(len(names)), names)
    left.invert_yaxis()
    left.set(xlabel="UA %", xlim=(0, 105))
    right.set(xlabel="decisions changed %", xlim=(0, 105))
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=max(1, len(corpora)))
    save_picture(figure, path)
