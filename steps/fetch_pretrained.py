#!/usr/bin/env python3
"""Fetch a pretrained model that the toolkit knows by name; what is there is left alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import guarded


@guarded
def main() -> int:
    """Write downloads/pretrained/<name>/ in the toolkit's folder."""
    from ser.frontends.published import PUBLISHED, fetch_published

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=PUBLISHED)
    fetch_published(parser.parse_args().name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
