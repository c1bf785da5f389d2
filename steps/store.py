#!/usr/bin/env python3
"""The feature store: list, verify or prune its archives."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import InputError, guarded
from ser.common.cli import Parser
from ser.config.load import ROOT


@guarded
def main() -> int:
    """List, verify or prune."""
    parser = Parser(description=__doc__)
    common = Parser(add_help=False)
    common.add_argument("--dump", type=Path, default=ROOT / "dump", help="root of the store (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("list", parents=[common], help="archives by corpus and settings")
    text = "compare archives with their checksums and remove what is damaged, which stage 3 makes again"
    commands.add_parser("verify", parents=[common], help=text)
    prune = commands.add_parser("prune", parents=[common], help="remove what no prepared data use")
    prune.add_argument(
        "data_dir", type=Path, nargs="+", help="prepared data of all recipes that share the store, such as egs"
    )
    prune.add_argument("--days", type=float, default=1, help="keep what was written or used since (default: 1)")
    prune.add_switch("--yes", help="remove it; without this option, only list it")
    options = parser.parse_args()
    from ser.features import maintenance

    if options.command == "list":
        print(maintenance.archives_table(options.dump))
        return 0
    if options.command == "verify":
        damaged, count = maintenance.verify_archives(options.dump)
        for line in damaged:
            print(f"{line}; removed, and stage 3 makes it again")
        print(f"{count - len(damaged)} of {count} archives are as they were written")
        return 1 if damaged else 0
    if options.days < 0:
        raise InputError("a number of days from 0", f"--days {options.days:g}")
    total = 0
    for path in maintenance.find_unused(options.dump, options.data_dir, options.days):
        size = maintenance.size_of(path)
        print(f"{path}: {size} bytes")
        if options.yes:
            maintenance.remove(path)
        total += size
    print(f"{total} bytes {'removed' if options.yes else 'can be removed: --yes does it'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
