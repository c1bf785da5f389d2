#!/usr/bin/env python3
"""`ser predict` for recipes: emotions of files, folders or lists, by a model folder."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.cli import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
