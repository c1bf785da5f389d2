#!/usr/bin/env python3
"""All findings as one HTML file that needs nothing beside it: tables, pictures, curves, status, settings, hashes."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import guarded
from ser.common.cli import Parser


@guarded
def main() -> None:
    """Write the page."""
    parser = Parser(description=__doc__)
    parser.add_argument("findings", type=Path, help="what steps/findings.py wrote")
    parser.add_argument("--ledger", type=Path, help="for curves and settings (default: ledger beside the findings)")
    parser.add_argument("--grid-status", type=Path, help="status.json of the grid (default: the page has no states)")
    parser.add_argument("--out", type=Path, help="file to write (default: report/index.html beside the findings)")
    options = parser.parse_args()
    from ser.findings.html import write_report

    out = options.out or options.findings.parent / "report" / "index.html"
    write_report(options.findings, out, options.ledger, options.grid_status)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(main())
