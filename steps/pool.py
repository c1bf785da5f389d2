#!/usr/bin/env python3
"""A table of all cells below some folders over all their folds together, with intervals over speakers."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import guarded, write_section
from ser.common.cli import Parser
from ser.common.output import command_line


@guarded
def main() -> None:
    """Print the table, and append it to a file of results where asked for."""
    parser = Parser(description=__doc__)
    parser.add_argument("exp_dir", type=Path, nargs="+", help="root of experiments")
    parser.add_argument(
        "--append", type=Path, help="Markdown file, such as one of steps/tables.py, to add the table to"
    )
    parser.add_switch(
        "--ensemble", help="whether a row with the mean of the seeds' posteriors follows each network of several seeds"
    )
    options = parser.parse_args()
    from ser.scoring.pooled import pooled_table, read_pools

    pools = read_pools(options.exp_dir, ensembles=options.ensemble)
    text = pooled_table(pools, command_line("steps/pool.py"))
    print(text, end="")
    if options.append:
        write_section(options.append, text)


if __name__ == "__main__":
    sys.exit(main())
