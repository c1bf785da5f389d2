"""Write all tables and pictures of a ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ser.common import InputError, atomic_path, write_text
from ser.common.records import write_record
from ser.findings.design import FACTORS
from ser.findings.paper_tables import table2
from ser.findings.report.answers import answers_table
from ser.findings.report.cells import cells_table
from ser.findings.report.checks import control_table, variance_table
from ser.findings.report.effects import budgets_table, effects_table, transfer_table
from ser.findings.report.layout import Table, comma_separated, json_value, table_markdown
from ser.findings.report.paper import paper_tables
from ser.findings.report.pictures import plot_shapley, plot_transfer
from ser.findings.report.results import Results
from ser.findings.scores import METRICS, Target
from ser.scoring.pooled import COVERAGE

FIGURES = "findings.json"
TABLES = (answers_table, effects_table, transfer_table, budgets_table, variance_table, control_table, cells_table)


def write_findings(results: Results, out: Path) -> list[Table]:
    """Write all tables (md, csv), pictures of transfer and Shapley values, and findings.json.

    Returns:
        All tables except the long one of all cells.

    Raises:
        InputError: the folder holds something else.
    """
    if out.is_dir() and any(out.iterdir()) and not (out / FIGURES).is_file():
        raise InputError("holds something else, which would be replaced", out, "choose another --out")
    *tables, cells = (*paper_tables(results), *(make(results) for make in TABLES))
    with atomic_path(out) as temporary:
        temporary.mkdir()
        for table in (*tables, cells):
            write_text(temporary / f"{table.name}.md", table_markdown(table, results.notes))
            write_text(temporary / f"{table.name}.csv", comma_separated(table, results.origin))
        effects, transfer = (list(map(dict, t.records)) for t in tables if t.name in ("effects", "transfer"))
        for metric in METRICS:
            plot_transfer(transfer, metric, results.design.corpora, temporary / f"transfer_{metric}.png")
            plot_shapley(effects, metric, results.design.corpora, temporary / f"shapley_{metric}.png")
        write_record(temporary / FIGURES, json_value(figures(results, [*tables, cells])))
    return tables


def figures(results: Results, tables: list[Table]) -> dict[str, Any]:
    """Content of findings.json, with fractions, not percent."""
    return {
        "command": results.command,
        "ledger": results.ledger.summary,
        "grid": {"corpora": results.design.corpora, **{factor: getattr(results.design, factor) for factor in FACTORS}},
        "runs": len(results.ledger.runs),
        "resamples": results.resamples,
        "coverage": COVERAGE,
        "origin": results.origin,
        "comparable_hash": results.ledger.runs[0]["comparable_hash"],
        "notes": results.notes,
        "synthetic": results.synthetic,
        "targets": {target.name: _target(results, target) for target in results.targets},
        **{table.name: vars(table) for table in tables},
    }


def _target(results: Results, target: Target) -> dict[str, Any]:
    """Test speakers, and confusion matrices of the best cells and of the best cells of the single-corpus baseline."""
    means = target.confusion.mean(1).sum(1).tolist()  # over seeds; rows: truth
    confusions = [
        {"cell": cell.name, "metric": best.metric, "which": which, "confusion": means[target.index[cell]]}
        for best in table2(target, results.resampled[target.name], results.design)
        for which, cells in (("best", best.best), ("single", best.single))
        for cell in cells
    ]
    return {
        "classes": target.classes,
        "speakers": target.speakers,
        "folds": sorted(set(target.folds.tolist())),
        "seeds": target.seeds,
        "utterances": target.utterances,
        "protocol": target.protocol,
        "notes": target.notes,
        "confusions": confusions,
    }
