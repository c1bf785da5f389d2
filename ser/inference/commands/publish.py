"""ser publish."""

from __future__ import annotations

import argparse
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command line."""
    parser.add_argument("model", type=Path, help="model package, as `ser pack` makes it")
    parser.add_argument("out", type=Path, help="folder to write, ready for a model hub")
    parser.add_argument("--name", required=True, metavar="OWNER/NAME", help="on the hub")
    parser.add_argument(
        "--upload", choices=["true", "false"], default="false", help="upload it (needs `hf auth login` before)"
    )


def run(options: argparse.Namespace) -> int:
    """Write the folder, and upload it where asked for."""
    from ser.inference.hub import publish

    publish(options.model, options.out, options.name, options.upload == "true")
    done = "uploaded" if options.upload == "true" else f"`hf upload {options.name} {options.out}` puts it on the hub"
    print(f"{options.out}: model package with card, checksums and metrics; {done}")
    return 0
