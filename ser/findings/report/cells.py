"""The score of every cell on every target."""

from __future__ import annotations

from typing import Any

import numpy as np

from ser.findings.design import FACTORS
from ser.findings.report.layout import Table, percent
from ser.findings.report.results import Results
from ser.findings.scores import METRICS, Target
from ser.findings.stats.bootstrap import estimate


def cell_scores(found: Results, target: Target) -> list[dict[str, Any]]:
    """A record a cell: its training set and settings, whether it has not seen the target, metrics with intervals."""
    e = estimate(found.resampled[target.name], np.eye(len(target.cells)))
    return [
        {
            "combination": cell.combination,
            **{factor: getattr(cell, factor) for factor in FACTORS},
            "zero_shot": target.name not in cell.corpora,
            **{
                f"{metric}{end}": float(np.clip(values[m, i], 0, 1))
                for m, metric in enumerate(METRICS)
                for end, values in (("", e.value), ("_low", e.low), ("_high", e.high))
            },
        }
        for i, cell in enumerate(target.cells)
    ]


def cells_table(found: Results) -> Table:
    """A row a target and cell, those trained on the target first."""
    records = [
        {"target": target.name, **record}
        for target in (*found.targets, *found.unseen)
        for record in sorted(cell_scores(found, target), key=lambda record: record["zero_shot"])
    ]
    rows = [
        [
            *(r[key] for key in ("target", "combination", *FACTORS)),
            "yes" if r["zero_shot"] else "",
            *(f"{percent(r[m])}{_brackets(r[f'{m}_low'], r[f'{m}_high'])}" for m in METRICS),
        ]
        for r in records
    ]
    header = ["target", "trained on", *FACTORS, "zero-shot", *(f"{m.upper()} %" for m in METRICS)]
    return Table("cells", "Scores of all cells", header, rows, records, [f"{found.intervals}; value +- t * SE."])


def _brackets(low: float, high: float) -> str:
    return "" if np.isnan(low) else f" ({percent(low)} to {percent(high)})"
