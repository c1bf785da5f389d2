"""Confusion matrices, the transfer matrix, sources in pictures, and the scores of all cells, as tables of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ser.findings.design import FACTORS
from ser.findings.html.effect_tables import (
    Field,
    Record,
    Table,
    around_0,
    bound_of,
    difference_field,
    known,
    label,
    number,
    score_field,
    triple,
)
from ser.findings.html.figures import span
from ser.findings.report.pictures import SCALE
from ser.findings.scores import METRICS
from ser.findings.stats.effects import MAIN_EFFECT, PANELS, SAMPLED, SHAPLEY

MOST = 4  # tied cells whose confusion matrices are shown
ROLE_NAMES = {"best": "best", "single": "best alone"}
DRAWN = {
    SHAPLEY: "Shapley value of each source corpus",
    SAMPLED: "Shapley value of each source corpus, from a sample of permutations",
    MAIN_EFFECT: "Main effect of each source corpus",
}


def confusions_of(target: Mapping[str, Any]) -> tuple[list[Table], list[str]]:
    """Confusion matrices of a target's best and single cells, each cell once, and what is not shown."""
    roles: dict[str, list[str]] = {}
    matrices = {}
    counts: dict[tuple[str, str], int] = {}
    for entry in target["confusions"]:
        key = entry["which"], entry["metric"]
        counts[key] = counts.get(key, 0) + 1
        if counts[key] <= MOST:
            roles.setdefault(entry["cell"], []).append(f"{ROLE_NAMES[entry['which']]} by {entry['metric'].upper()}")
            matrices[entry["cell"]] = entry["confusion"]
    notes = [
        f"{n} cells are tied for {ROLE_NAMES[which]} by {metric.upper()}; the first {MOST} are shown."
        for (which, metric), n in counts.items()
        if n > MOST
    ]
    tables = [
        _confusion(f"{cell}: {', '.join(roles[cell])}", matrix, target["classes"]) for cell, matrix in matrices.items()
    ]
    return tables, notes


def _confusion(title: str, matrix: Sequence[Sequence[float]], classes: Sequence[str]) -> Table:
    rows = []
    for name, counts in zip(classes, matrix, strict=True):
        whole = sum(counts)
        parts = [count / whole if whole else 0 for count in counts]
        fields = [
            Field(f"{100 * part:.0f}", "centre", tone="share", shade=part, small=f"{count:.4g}")
            for part, count in zip(parts, counts, strict=True)
        ]
        rows.append([label(name), *fields, number(f"{whole:.4g}")])
    header = [Field("truth"), *(Field(name, "centre") for name in classes), number("all")]
    return Table(title, [("", 1), ("answer, % of the truth", len(classes)), ("", 1)], header, rows)


def transfer_of(findings: Mapping[str, Any]) -> dict[str, list[Table]]:
    """The four panels of each metric that has any figure."""
    records = findings["transfer"]["records"]
    found: dict[str, list[Table]] = {}
    for metric in METRICS:
        own = [r for r in records if r["metric"] == metric]
        for panel in PANELS:
            entries = [r for r in own if r["panel"] == panel]
            if entries:
                alone = panel == "leave one corpus out"
                sources = ["all but target"] if alone else findings["grid"]["corpora"]
                found.setdefault(metric, []).append(_panel(f"{panel}: {PANELS[panel]}", entries, sources, alone))
    return found


def coloured(value: float, low: float, high: float) -> Field:
    """A difference in points on SCALE; one whose interval holds 0, or that has none, is grey."""
    told_apart = low > 0 or high < 0
    tone = ("plus" if value >= 0 else "minus") if told_apart else "unclear"
    shade = min(abs(value) / SCALE, 1) if told_apart else 0
    return replace(difference_field(value, low, high), kind="centre", tone=tone, shade=shade)


def matrix_of(findings: Mapping[str, Any]) -> Table:
    """Main effects of source corpora, rows targets."""
    found = {
        (r["target"], r["source"]): triple(r, "value", "low", "high")
        for r in findings["answers"]["records"]
        if r["question"] == MAIN_EFFECT
    }
    sources = [corpus for corpus in findings["grid"]["corpora"] if any(corpus == source for _, source in found)]
    rows = [
        [
            label(target),
            *(
                coloured(*found[target, source]) if (target, source) in found else Field("–", "centre")
                for source in sources
            ),
        ]
        for target in dict.fromkeys(target for target, _ in found)
    ]
    groups = [("", 1), ("source corpus", len(sources))]
    return Table("", groups, [Field("target"), *(Field(source, "centre") for source in sources)], rows)


def _panel(title: str, records: Sequence[Record], sources: Sequence[str], alone: bool) -> Table:
    by_place = {(r["target"], sources[0] if alone else r["source"]): r for r in records}
    rows = []
    for target in dict.fromkeys(r["target"] for r in records):
        row = [label(target)]
        for source in sources:
            r = by_place.get((target, source))
            if r is None or r["value"] is None:
                row.append(Field("–", "centre"))
                continue
            value, low, high = triple(r, "value", "low", "high")
            if r["kind"] == "score":
                row.append(replace(score_field(value, low, high), kind="centre"))
            else:
                row.append(coloured(value, low, high))
        rows.append(row)
    return Table(title, [], [Field("target"), *(Field(source, "centre") for source in sources)], rows)


def effect_pictures(findings: Mapping[str, Any]) -> list[Table]:
    """A picture of Shapley values and one of main effects, a row a target and source corpus, on one scale."""
    records = [r for r in findings["effects"]["records"] if r["effect"] in DRAWN and r["value"] is not None]
    bound = bound_of(triple(r, "value", "low", "high") for r in records)
    tables = []
    for effect, title in DRAWN.items():
        own = [r for r in records if r["effect"] == effect]
        rows = []
        for target, source in dict.fromkeys((r["target"], r["sources"]) for r in own):
            row = [label(target), label(source)]
            for metric in METRICS:
                r = next(r for r in own if (r["target"], r["sources"], r["metric"]) == (target, source, metric))
                estimate = triple(r, "value", "low", "high")
                row += [Field(span(*estimate, (-bound, bound), 0), "picture"), difference_field(*estimate)]
            rows.append(row)
        groups = [("", 2), *((metric.upper(), 2) for metric in METRICS)]
        header = [Field("target"), Field("source"), *[Field(around_0(bound)), number("points")] * 2]
        if rows:
            tables.append(Table(title, groups, header, rows))
    return tables


def scores_of(target: Mapping[str, Any]) -> Table:
    """Every cell, the best by UA first."""
    groups = [("", 5), *((metric.upper(), 2) for metric in METRICS)]
    header = [Field("combination"), *map(Field, FACTORS), Field("")]
    header += [number("%"), Field("0 to 100 %")] * 2
    rows = []
    for r in sorted(target["scores"], key=lambda r: -r["ua"]):
        row = [label(r["combination"]), *(Field(r[factor]) for factor in FACTORS)]
        row.append(Field("zero-shot" if r["zero_shot"] else ""))
        for metric in METRICS:
            value, low, high = (known(r[f"{metric}{end}"]) for end in ("", "_low", "_high"))
            row += [score_field(value, low, high), Field(span(value, low, high, (0, 1)))]
        rows.append(row)
    return Table("Scores of all cells, the highest UA first", groups, header, rows)
