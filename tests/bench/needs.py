"""Stops a benchmark that lacks packages in one line; called before they are imported."""

from __future__ import annotations

import sys
from importlib.util import find_spec


def need(*packages: str) -> None:
    """Exit with the fix unless all packages can be imported, and those of the toolkit's core."""
    core = ("torch", "lhotse", "kaldiio", "soundfile", "soxr", "jsonargparse")
    missing = [name for name in (*core, *packages) if find_spec(name) is None]
    if missing:
        sys.exit(
            f"error: {sys.argv[0]}: this Python lacks {', '.join(missing)}. Fix: run `. path.sh && ser_environment "
            "dev` in the toolkit's folder, then the same command in that shell"
        )
