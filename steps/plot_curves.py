#!/usr/bin/env python3
"""Pictures of loss and UA by epoch and corpus, of trainings that are done or still run."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import guarded
from ser.common.cli import Parser
from ser.common.run_folder import CURVES, EPOCHS


@guarded
def main() -> None:
    """Draw every training below some folders, each into its own folder or all into one picture."""
    parser = Parser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="+", help="of a training, with epochs.jsonl, or any above such")
    parser.add_argument("--out", type=Path, help="one picture of all (.png, .pdf or .svg; default: curves.png in each)")
    options = parser.parse_args()
    from ser.scoring.curves import plot_curves
    from ser.scoring.files import folders_with

    missing = "no epochs.jsonl in or below it; a training writes one after its first epoch"
    trainings = folders_with(EPOCHS, options.folder, missing)
    pictures = {options.out: trainings} if options.out else {t / CURVES: [t] for t in trainings}
    for path, drawn in pictures.items():
        plot_curves(drawn, path)
        print(path)


if __name__ == "__main__":
    sys.exit(main())
