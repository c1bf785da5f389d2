#!/usr/bin/env python3
"""Tables 1 to 5 of a ledger with intervals, effects of source corpora, variance shares, a negative control."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import InputError, guarded, write_section
from ser.common.cli import Parser
from ser.common.output import command_line

FACTORS = ("corpora", "task", "temporal", "pooling")


@guarded
def main() -> None:
    """Write all findings, and print the tables."""
    parser = Parser(description=__doc__)
    parser.add_argument("ledger", type=Path, help="what steps/ledger.py wrote")
    parser.add_argument("--out", type=Path, help="folder to write (default: findings beside the ledger)")
    parser.add_argument("--grid", default="paper", help="conf/grids/<grid>.yaml has corpora and factors (%(default)s)")
    parser.add_argument("--recipe", type=Path, help="recipe folder whose conf/ comes first")
    for factor in FACTORS:
        parser.add_argument(f"--{factor}", help="these of the grid alone, with commas between them (default: all)")
    parser.add_argument("--only", action="append", default=[], metavar="COLUMN=VALUE", help="runs that count")
    parser.add_argument(
        "--budget",
        choices=["total", "per_corpus"],
        default="",
        help="training.budget of the runs of all tables but that of budgets (default: per_corpus, if it is there)",
    )
    parser.add_argument("--resamples", type=int, default=2000, help="of the bootstrap (%(default)s)")
    parser.add_argument("--append", type=Path, help="Markdown file, such as RESULTS.md, to put all tables in")
    options = parser.parse_args()
    if options.resamples < 100:
        raise InputError("at least 100", f"--resamples {options.resamples}")
    only = dict(word.partition("=")[::2] for word in options.only)
    from ser.findings.design import read_design, synthetic
    from ser.findings.ledger.load import load_ledger
    from ser.findings.report.layout import table_markdown
    from ser.findings.report.results import Results
    from ser.findings.report.write import write_findings

    levels = {factor: getattr(options, factor).split(",") for factor in FACTORS if getattr(options, factor)}
    design = read_design(options.grid, options.recipe).narrowed(levels)
    ledger, design = load_ledger(options.ledger, design, only, options.budget)
    command = command_line("steps/findings.py")
    out = options.out or options.ledger.parent / "findings"
    results = Results(ledger, design, command, options.resamples, synthetic(design.corpora, options.recipe))
    tables = write_findings(results, out)
    print("\n".join([*map(table_markdown, tables), *results.notes]))
    if options.append:
        run = ledger.runs[0]
        title = f"## Grid {options.grid}, preset {run['preset']}, settings {run['settings_hash'][:8]}"
        notes = ["### Of all tables", "", *(f"- {note}" for note in results.notes)]
        parts = [*(f"##{table_markdown(table)}" for table in tables), *notes]
        write_section(options.append, "\n".join([title, "", *parts, ""]))
    print(f"{out}: {', '.join(table.name for table in tables)}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
