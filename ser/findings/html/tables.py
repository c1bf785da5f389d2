"""Tables of findings.json for the page: a drawing beside each interval, and coloured matrices."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ser.findings.html.figures import rounded_up, span
from ser.findings.report.layout import interval_text, percent, points
from ser.findings.report.pictures import ALL_BUT, SCALE
from ser.findings.scores import METRICS
from ser.findings.stats.effects import LEFT_OUT, MAIN_EFFECT, PANELS

NAN = float("nan")
SHOWN = 2  # cells of a tie; more unfold
MOST = 4  # tied cells whose confusion matrices are shown
ROLES = {"best": "best", "single": "best alone"}
NUMBER = re.compile(r"[<+-]?\d[\d.]*( .*)?")
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Field:
    """A field of a table.

    Attributes:
        text: its text.
        kind: "", "number", "label" (of a row), "wide" or "centre".
        more: lines that unfold below.
        tone: background: "", "plus", "minus", "unclear" or "share".
        shade: strength of the background, 0 to 1.
        small: small text below.
        drawing: SVG below that.
    """

    text: str
    kind: str = ""
    more: Sequence[str] = ()
    tone: str = ""
    shade: float = 0
    small: str = ""
    drawing: Markup | str = ""


@dataclass(frozen=True)
class Table:
    """A table with notes on how to read it."""

    title: str
    header: Sequence[Field]
    rows: Sequence[Sequence[Field]]
    notes: Sequence[str] = ()


def table_of(table: Mapping[str, Any]) -> Table:
    """A table of findings.json, with one scale for all of its differences and one for all other figures."""
    drawn = [cell[1:] for row in table["rows"] for cell in row if not isinstance(cell, str)]
    ends = {True: 1.0, False: 1.0}  # ends of the scales of differences and of other figures
    for signed in ends:
        sizes = [abs(v) for *estimate, mark in drawn if (mark == 0) == signed for v in estimate if v is not None]
        ends[signed] = min(rounded_up(max(sizes, default=1.0)), 1.0)

    def field(cell: Any) -> Field:
        if isinstance(cell, str):
            names = cell.split("; ")
            if len(names) > SHOWN:
                return Field(f"{len(names)} tied cells", "wide", names)
            return Field(cell, "number" if NUMBER.fullmatch(cell) else "wide" if len(names) > 1 else "")
        text, *estimate, mark = cell
        end = ends[mark == 0]
        value, low, high = map(known, estimate)
        return Field(text, "number", drawing=span(value, low, high, (-end if mark == 0 else 0, end), mark))

    rows = [[Field(row[0], "label"), *map(field, row[1:])] for row in table["rows"]]
    kinds = ["number" if field.kind == "number" else "" for field in rows[0]] if rows else []
    header = [Field(text, kind) for text, kind in zip(table["header"], kinds, strict=True)] if rows else []
    return Table(table["title"], header, rows, table["notes"])


def known(value: float | None) -> float:
    """NaN where JSON has null."""
    return NAN if value is None else value


def confusions_of(target: Mapping[str, Any]) -> tuple[list[Table], list[str]]:
    """Confusion matrices of a target's best cells and baseline cells, each cell once, and notes on cells left out."""
    roles: dict[str, list[str]] = {}
    matrices = {}
    counts: Counter[tuple[str, str]] = Counter()
    for entry in target["confusions"]:
        key = entry["which"], entry["metric"]
        counts[key] += 1
        if counts[key] <= MOST:
            roles.setdefault(entry["cell"], []).append(f"{ROLES[entry['which']]} by {entry['metric'].upper()}")
            matrices[entry["cell"]] = entry["confusion"]
    notes = [
        f"{n} cells are tied for {ROLES[which]} by {metric.upper()}; the first {MOST} are shown."
        for (which, metric), n in counts.items()
        if n > MOST
    ]
    return [
        _confusion(f"{cell}: {', '.join(roles[cell])}", matrix, target["classes"]) for cell, matrix in matrices.items()
    ], notes


def _confusion(title: str, matrix: Sequence[Sequence[float]], classes: Sequence[str]) -> Table:
    rows = []
    for name, counts in zip(classes, matrix, strict=True):
        total = sum(counts)
        shares = [count / total if total else 0 for count in counts]
        fields = [
            Field(f"{100 * share:.0f}", "centre", tone="share", shade=share, small=f"{count:.4g}")
            for count, share in zip(counts, shares, strict=True)
        ]
        rows.append([Field(name, "label"), *fields, Field(f"{total:.4g}", "number")])
    return Table(title, [Field("truth"), *(Field(name, "centre") for name in classes), Field("all", "number")], rows)


def transfer_of(findings: Mapping[str, Any]) -> dict[str, list[Table]]:
    """Metric -> its panels of the transfer matrix, of metrics that have any figure."""
    panels: dict[str, list[Table]] = {}
    for metric in METRICS:
        for panel, text in PANELS.items():
            records = [r for r in findings["transfer"]["records"] if (r["metric"], r["panel"]) == (metric, panel)]
            sources = findings["grid"]["corpora"]
            if panel == LEFT_OUT:
                records, sources = [{**r, "source": ALL_BUT} for r in records], [ALL_BUT]
            if records:
                panels.setdefault(metric, []).append(_matrix(f"{panel}: {text}", records, sources))
    return panels


def matrix_of(findings: Mapping[str, Any]) -> Table:
    """Main effects of source corpora."""
    records = [r for r in findings["answers"]["records"] if r["question"] == MAIN_EFFECT]
    sources = {r["source"] for r in records}
    return _matrix("", records, [corpus for corpus in findings["grid"]["corpora"] if corpus in sources])


def _matrix(title: str, records: Iterable[Record], sources: Sequence[str]) -> Table:
    """A matrix with targets as rows and source corpora as columns."""
    figures = {(r["target"], r["source"]): r for r in records if r["value"] is not None}
    rows = [
        [
            Field(target, "label"),
            *(_figure(figures[target, s]) if (target, s) in figures else Field("–", "centre") for s in sources),
        ]
        for target in dict.fromkeys(r["target"] for r in records)
    ]
    return Table(title, [Field("target"), *(Field(source, "centre") for source in sources)], rows)


def _figure(record: Record) -> Field:
    """A score, or a difference in points on SCALE; a difference is grey if its interval holds 0 or is unknown."""
    value, low, high = (known(record[key]) for key in ("value", "low", "high"))
    if record["kind"] == "score":
        return Field(percent(value), "centre", small=interval_text(max(low, 0), min(high, 1)))
    small = f"{100 * low:+.1f} to {100 * high:+.1f}" if low == low else ""
    tone, shade = "unclear", 0.0
    if low > 0 or high < 0:
        tone, shade = "plus" if value >= 0 else "minus", min(abs(value) / SCALE, 1)
    return Field(points(value, NAN, NAN), "centre", tone=tone, shade=shade, small=small)
