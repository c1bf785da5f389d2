"""Render the page from findings.json, the runs of the ledger and the state of the grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ser.common import InputError, as_input_error, digest, write_text
from ser.common.errors import typed_line
from ser.common.output import html_template
from ser.common.records import read_record
from ser.findings.html.runs import colour_of, hashes_of, panels_of, read_runs, settings_of
from ser.findings.html.status import read_status_file
from ser.findings.html.tables import confusions_of, matrix_of, table_of, transfer_of
from ser.findings.report.pictures import SCALE
from ser.findings.report.write import FIGURES

KEYS = ("command", "ledger", "grid", "runs", "resamples", "coverage", "origin", "notes", "targets", "comparable_hash")
TABLES = [*(f"table{i}" for i in range(1, 6)), "effects", "budgets", "variance", "negative_control", "cells"]


def write_report(folder: Path, out: Path, ledger: Path | None = None, grid_status: Path | None = None) -> None:
    """Write the page completely or not at all; the same input gives the same bytes.

    Args:
        folder: output of steps/findings.py.
        ledger: output of steps/ledger.py; None: the folder ledger beside `folder`, if it exists.
        grid_status: output of steps/grid.py status.

    Raises:
        InputError: one of these is absent or damaged.
    """
    path = folder / FIGURES
    if not path.is_file():
        raise InputError(f"holds no {FIGURES}", folder, "give the folder that steps/findings.py wrote")
    findings = read_record(path, dict[str, Any], "run steps/findings.py again")
    missing = [key for key in (*KEYS, "synthetic", *TABLES, "answers", "transfer") if key not in findings]
    if missing:
        raise InputError(f"lacks {missing[0]}", path, "run steps/findings.py again")
    from jinja2 import UndefinedError

    if ledger is None and (folder.parent / "ledger").is_dir():
        ledger = folder.parent / "ledger"
    runs, curves = read_runs(ledger, findings) if ledger else ([], {})
    errors = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, UndefinedError)
    with as_input_error("not as steps/findings.py writes it", path, "run that again", *errors, reason=typed_line):
        corpora = findings["grid"]["corpora"]
        settings, varied = settings_of(runs)
        text = html_template(Path(__file__).with_name("page.html")).render(
            findings=findings,
            tables={name: table_of(findings[name]) for name in TABLES},
            confusions={name: confusions_of(target) for name, target in findings["targets"].items()},
            matrix=matrix_of(findings),
            scale=f"{100 * SCALE:g}",
            transfer=transfer_of(findings),
            curves=panels_of(curves, corpora),
            colours={corpus: colour_of(i) for i, corpus in enumerate(corpora)},
            runs=len(runs),
            hashes=hashes_of(runs),
            settings=settings,
            varied=varied,
            left_out=[(problem["folder"], problem["problem"]) for problem in findings["ledger"]["problems"]],
            grid_status=read_status_file(grid_status) if grid_status else None,
            digest=digest(path),
        )
    write_text(out, text)
