#!/usr/bin/env python3
"""Stage 7: a table of all results below a folder."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import guarded, write_text
from ser.common.cli import Parser
from ser.common.output import command_line


@guarded
def main() -> None:
    """Print the table and write it."""
    parser = Parser(description=__doc__)
    parser.add_argument("exp_dir", type=Path, nargs="+", help="root of experiments; of several, one table")
    parser.add_argument("--out", type=Path, help="Markdown file to write (default: RESULTS.md in the first)")
    parser.add_argument("--recipe", default="./run.sh", help="the run.sh that made them, as the table names it")
    options = parser.parse_args()
    from ser.scoring.results_table import read_results, results_table, short_table

    command = command_line("steps/tables.py")
    results = read_results(options.exp_dir)
    out = options.out or options.exp_dir[0] / "RESULTS.md"
    write_text(out, results_table(results, command, options.recipe))
    print(short_table(results))
    print(f"all columns, settings and data: {out.resolve()}")


if __name__ == "__main__":
    sys.exit(main())
