#!/usr/bin/env python3
"""Fetch the pretrained model of an experiment's front end, where it has one; what is there is left alone."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import guarded
from ser.common.cli import Parser
from ser.config import read_experiment


@guarded
def main() -> None:
    """Write downloads/pretrained/<name>/ in the toolkit's folder, or the hub's own cache."""
    parser = Parser(description=__doc__)
    parser.add_argument("config", type=Path, help="config.yaml of an experiment")
    settings = read_experiment(parser.parse_args().config).frontend
    from ser.frontends.pretrained import fetch_model

    fetch_model(settings)


if __name__ == "__main__":
    sys.exit(main())
