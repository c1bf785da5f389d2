"""The score of every cell on every target."""

from __future__ import annotations

from typing import Any

import numpy as np

from ser.findings.design import FACTORS
from ser.findings.report.layout import Table, score
from ser.findings.report.results import Results
from ser.findings.scores import METRICS
from ser.findings.stats.bootstrap import estimate


def cells_table(results: Results) -> Table:
    """A row for each target and cell; cells trained on the target come first."""
    records: list[dict[str, Any]] = []
    for target in (*results.targets, *results.unseen):
        e = estimate(results.resampled[target.name], np.eye(len(target.cells)))
        by_cell = [
            {
                "target": target.name,
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
        records += sorted(by_cell, key=lambda record: bool(record["zero_shot"]))
    rows = [
        [
            *(r[key] for key in ("target", "combination", *FACTORS)),
            "yes" if r["zero_shot"] else "",
            *(score(r[m], r[f"{m}_low"], r[f"{m}_high"]) for m in METRICS),
        ]
        for r in records
    ]
    header = ["target", "trained on", *FACTORS, "zero-shot", *(f"{m.upper()} %" for m in METRICS)]
    return Table("cells", "Scores of all cells", header, rows, records, [f"{results.intervals}; value +- t * SE."])
