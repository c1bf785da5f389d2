"""ser publish."""

from __future__ import annotations

import argparse
from pathlib import Path

from ser.common.cli import Parser


def arguments(parser: Parser) -> None:
    """Add the options of the command."""
    parser.add_argument("model", type=Path, help="model package, as `ser pack` makes it")
    parser.add_argument("out", type=Path, help="folder to write, ready for a model hub")
    parser.add_argument("--name", required=True, metavar="OWNER/NAME", help="on the hub")
    parser.add_switch("--upload", help="upload it (needs `hf auth login` before)")


def run(options: argparse.Namespace) -> int:
    """Write the folder, and upload it where asked for."""
    from ser.inference.hub import publish

    publish(options.model, options.out, options.name, options.upload)
    done = "uploaded" if options.upload else f"`hf upload {options.name} {options.out}` puts it on the hub"
    print(f"{options.out}: model package with card, checksums and metrics; {done}")
    return 0
