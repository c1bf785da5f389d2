"""The sheets of findings.json as tables of the page, with a drawing beside each interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from ser.findings.html.figures import rounded_up, span
from ser.findings.report.budgets import EQUAL
from ser.findings.report.effects import p_value
from ser.findings.report.layout import interval_text, percent, points
from ser.findings.scores import METRICS

NAN = float("nan")
SHOWN = 2  # cells of a tie; the others unfold
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Field:
    """A field of a table.

    Attributes:
        more: what unfolds below.
        kind: "", "number", "label" (of a row), "wide" or "centre".
        tone: of its ground: "", "plus", "minus" or "share".
        shade: how strong that is, 0 to 1.
        small: below the text.
    """

    text: str | Markup
    kind: str = ""
    more: Sequence[str] = ()
    tone: str = ""
    shade: float = 0
    small: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        groups: heads over several columns: text, columns.
        header: one a column.
        notes: how to read it.
    """

    title: str
    groups: Sequence[tuple[str, int]]
    header: Sequence[Field]
    rows: Sequence[Sequence[Field]]
    notes: Sequence[str] = field(default_factory=list)


def tables_of(findings: Mapping[str, Any]) -> dict[str, Table]:
    """Every sheet but the transfer matrix, by name."""
    makers = {"table1": _plain, "table2": _best, "table3": _shares, "table4": _shares, "table5": _shares,
              "effects": _effects, "budgets": _budgets, "variance": _variance,
              "negative_control": _negative_control}  # fmt: skip
    found = {}
    for name, make in makers.items():
        sheet = findings[name]
        groups, header, rows = make(sheet["records"]) if sheet["records"] else ([], [], [])
        found[name] = Table(sheet["title"], groups, header, rows, sheet["notes"])
    return found


def known(value: float | None) -> float:
    """NaN for what JSON has no number for."""
    return NAN if value is None else value


def number(text: str) -> Field:
    return Field(text, "number")


def label(text: Any) -> Field:
    return Field(str(text), "label")


def triple(record: Record, *keys: str) -> tuple[float, float, float]:
    """A value and its interval."""
    value, low, high = (known(record[key]) for key in keys)
    return value, low, high


Columns = tuple[list[tuple[str, int]], list[Field], list[list[Field]]]


def _plain(records: Sequence[Record]) -> Columns:
    """As the records are."""
    keys = list(dict.fromkeys(key for record in records for key in record))
    texts = {keys[0], "protocol"}
    header = [Field(key, "" if key in texts else "number") for key in keys]
    rows = [
        [
            label(r[key]) if key == keys[0] else Field(str(r.get(key, 0)), "" if key in texts else "number")
            for key in keys
        ]
        for r in records
    ]
    return [], header, rows


def _best(records: Sequence[Record]) -> Columns:
    gains = [triple(r, "gain", "gain_low", "gain_high") for r in records]
    bound = bound_of(gains)
    groups = [("", 2), ("best of all mixes", 4), ("single-corpus baseline", 2), ("best minus alone", 2), ("paper", 2)]
    header = [
        *map(Field, ("target", "")),
        number("%"),
        Field("0 to 100 %"),
        Field("cell"),
        number("prob. best %"),
    ]
    header += [number("%"), Field("cell"), number("points"), Field(around_0(bound))]
    header += map(number, ("best %", "alone %"))
    rows = []
    for r, gain in zip(records, gains, strict=True):
        best, alone = (
            triple(r, *(f"{which}_{end}" for end in ("score", "low", "high"))) for which in ("best", "alone")
        )
        rows.append(
            [
                label(r["target"]),
                Field(r["metric"].upper()),
                score_field(*best),
                Field(span(*best, (0, 1), None if math.isnan(alone[0]) else alone[0])),
                _cells(r["best"]),
                number(percent(known(r["p_best"]))),
                score_field(*alone),
                _cells(r["alone"] or "not run"),
                difference_field(*gain),
                Field(span(*gain, (-bound, bound), 0)),
                *(number(percent(known(r[key]))) for key in ("reported_best", "reported_alone")),
            ]
        )
    return groups, header, rows


def score_field(value: float, low: float, high: float) -> Field:
    """In percent, its interval below."""
    return Field(percent(value), "number", small="" if math.isnan(low) else interval_text(max(low, 0), min(high, 1)))


def difference_field(value: float, low: float, high: float) -> Field:
    """In points, its interval below."""
    small = "" if math.isnan(low) else f"{100 * low:+.1f} to {100 * high:+.1f}"
    return Field(points(value, NAN, NAN) or "cannot be computed", "number", small=small)


def around_0(bound: float) -> str:
    """Head of a drawing of differences."""
    return f"-{100 * bound:g} to {100 * bound:g} points"


def _cells(text: str) -> Field:
    """Cells of a tie."""
    names = text.split("; ")
    more = [] if len(names) <= SHOWN else names
    return Field(f"{len(names)} tied cells" if more else "; ".join(names), "wide", more)


def _by_row(records: Iterable[Record], keys: Sequence[str]) -> dict[tuple[str, ...], dict[str, Record]]:
    """Records by what a row is named by, and by metric."""
    found: dict[tuple[str, ...], dict[str, Record]] = {}
    for record in records:
        found.setdefault(tuple(record[key] for key in keys), {})[record["metric"]] = record
    return found


def _shares(records: Sequence[Record]) -> Columns:
    """WA and UA side by side."""
    keys = [key for key in records[0] if key in ("task", "temporal", "pooling", "factor", "level", "target", "source")]
    groups = [("", len(keys) + 1), *((metric.upper(), 4) for metric in METRICS)]
    end = min(rounded_up(max(r["high"] for r in records)), 1.0)
    header = [*map(Field, keys), number("chance %")]
    header += [
        number("share %"),
        Field(f"0 to {100 * end:g} %"),
        *map(number, ("prob. best %", "wins")),
    ] * 2
    rows = []
    for names, by_metric in _by_row(records, keys).items():
        row = [*map(label, names), number(percent(next(iter(by_metric.values()))["chance"]))]
        for r in (by_metric[metric] for metric in METRICS):
            estimate = triple(r, "share", "low", "high")
            row += [
                score_field(*estimate),
                Field(span(*estimate, (0, end), r["chance"])),
                number(percent(known(r["p_best"]))),
                number(f"{r['wins']:.3g} of {r['of']}"),
            ]
        rows.append(row)
    return groups, header, rows


def _effects(records: Sequence[Record]) -> Columns:
    groups = [("", 3), *((metric.upper(), 5) for metric in METRICS), ("", 1)]
    bound = bound_of(triple(r, "value", "low", "high") for r in records)
    header = [*map(Field, ("target", "effect", "source"))]
    header += [number("points"), Field(around_0(bound)), *map(number, ("p", "p, Holm", "p of seeds"))] * 2
    rows = []
    for names, by_metric in _by_row(records, ("target", "effect", "sources")).items():
        row = [*map(label, names[:2]), label(names[2].replace(" ", ", "))]
        for r in (by_metric[metric] for metric in METRICS):
            estimate = triple(r, "value", "low", "high")
            row += [
                difference_field(*estimate),
                Field(span(*estimate, (-bound, bound), 0)),
                *(number(p_value(r[key])) for key in ("p_speakers", "p_holm", "p_seeds")),
            ]
        rows.append([*row, number(str(by_metric[METRICS[0]]["pairs"]))])
    return groups, [*header, number("pairs")], rows


def _budgets(records: Sequence[Record]) -> Columns:
    groups = [("", 2)]
    bound = bound_of(triple(r, "value", "low", "high") for r in records)
    header, rows = [*map(Field, ("target", "source corpus"))], []
    for equal in EQUAL.values():
        groups += [(f"{metric.upper()}, {equal}", 2) for metric in METRICS] + [("", 1)]
        header += [number("points"), Field(around_0(bound))] * len(METRICS) + [number("pairs")]
    known_records = {(r["target"], r["source"], r["budget"], r["metric"]): r for r in records}
    for target, source in dict.fromkeys((r["target"], r["source"]) for r in records):
        row = [label(target), label(source)]
        for budget in EQUAL:
            own = [known_records.get((target, source, budget, metric)) for metric in METRICS]
            for r in own:
                estimate = triple(r, "value", "low", "high") if r else (NAN, NAN, NAN)
                row += [
                    difference_field(*estimate) if r else Field("not in the ledger"),
                    Field(span(*estimate, (-bound, bound), 0)),
                ]
            row.append(number(str(own[0]["pairs"] if own[0] else 0)))
        rows.append(row)
    return groups, header, rows


def _variance(records: Sequence[Record]) -> Columns:
    groups = [("", 3), *((metric.upper(), 3) for metric in METRICS)]
    header = [*map(Field, ("target", "term")), number("df")]
    header += [number("share %"), Field("0 to 100 %"), number("beyond noise %")] * 2
    rows = []
    for names, by_metric in _by_row(records, ("target", "term")).items():
        row = [*map(label, names), number(str(by_metric[METRICS[0]]["df"]))]
        for r in (by_metric[metric] for metric in METRICS):
            share = known(r["share"])
            row += [number(percent(share)), Field(span(share, 0, share, (0, 1)))]
            row.append(number(percent(known(r["beyond_noise"]))))
        rows.append(row)
    return groups, header, rows


def _negative_control(records: Sequence[Record]) -> Columns:
    ends = [triple(r, "mean", "low", "high") for r in records]
    bound = bound_of(ends)
    header = [*map(Field, ("target", "")), *map(number, ("pairs", "mean, points"))]
    header += [Field(around_0(bound))]
    header += [*map(number, ("p", "run SD", "largest", "source pairs", "of these beyond %"))]
    rows = [
        [
            label(r["target"]),
            Field(r["metric"].upper()),
            number(str(r["pairs"])),
            difference_field(*estimate),
            Field(span(*estimate, (-bound, bound), 0)),
            number(p_value(r["p"])),
            *(number(percent(known(r[key]))) for key in ("run_sd", "largest")),
            number(str(r["source_pairs"])),
            number(percent(known(r["source_pairs_beyond"]))),
        ]
        for r, estimate in zip(records, ends, strict=True)
    ]
    return [], header, rows


def bound_of(estimates: Iterable[tuple[float, float, float]]) -> float:
    """The end of a scale around 0 that holds the intervals, 100 points at most."""
    return min(rounded_up(max((abs(v) for e in estimates for v in e if v == v), default=1)), 1.0)
