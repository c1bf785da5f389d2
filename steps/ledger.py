#!/usr/bin/env python3
"""The ledger: a row a run and a row a prediction, as Parquet, from the folders of experiments alone."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import guarded
from ser.common.cli import Parser
from ser.common.errors import listed
from ser.common.output import command_line


@guarded
def main() -> int:
    """Write the ledger; what cannot be trusted is left out and named, and makes the exit code 1."""
    parser = Parser(description=__doc__)
    parser.add_argument("exp_dir", type=Path, nargs="*", help="root of experiments, which lie at any depth below it")
    parser.add_argument("--out", type=Path, help="folder to write (default: ledger in the first root)")
    parser.add_argument("--grid", default="paper", help="conf/grids/<grid>.yaml has the corpora (%(default)s)")
    parser.add_argument(
        "--kept",
        type=Path,
        action="append",
        default=[],
        help="folder of a kept ledger, which takes what it lacks and is then joined; given again: joined as well",
    )
    parser.add_argument("--recipe", type=Path, help="recipe folder whose conf/ comes first")
    options = parser.parse_args()
    from ser.findings.design import read_design
    from ser.findings.ledger import build_ledger

    if not options.exp_dir and not (options.kept and options.out):
        parser.error("give a root of experiments, or --kept and --out")
    out = options.out or options.exp_dir[0] / "ledger"
    command = command_line("steps/ledger.py")
    corpora = read_design(options.grid, options.recipe).corpora
    summary = build_ledger(options.exp_dir, out, corpora, command, options.kept)
    print(f"{out}: {summary['runs']} runs, {summary['predictions']} predictions")
    problems = [problem["problem"] for problem in summary["problems"]]
    if problems:
        head = f"{len(problems)} folders are left out, in whole or in part ({out}/ledger.json has them all):"
        print(listed([head, *problems], shown=11), file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
