#!/usr/bin/env python3
"""Growth of time and memory with the number of trainings in a grid: status, ledger, tables and report.

    python tests/bench/grid_scale.py [--json] [--seeds 1] [--only ledger,findings]

A grid of five corpora, all 31 combinations, two networks and two poolings, in five folds, with 1, 4 and 16 times
--seeds seeds: 620, 2,480 and 9,920 trainings. Their results are generated: each tests 288 utterances (a fifth of
RAVDESS) of each of the five corpora, zero-shot of those that it was not trained on. For each step it prints the CPU
seconds and the largest resident size in MB of the process and its children, and the exponent of the growth between the
two larger sizes.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path

from scale import growth, ledger, report, script, write_protocol

CORPORA = ("one", "two", "three", "four", "five")
FOLDS = 5
GRID = f"""corpora: [{", ".join(CORPORA)}]
combinations: all
task: [multi]
temporal: [lstm, blstm]
pooling: [mu, mu_sigma2]
"""


def make(folder: Path, seeds: int) -> None:
    """Write the recipe, the prepared corpora and the results of all trainings; not measured."""
    import numpy as np
    import soundfile
    from made_ledgers import answered, write_run

    from ser.grid import open_grid
    from ser.grid.cells import Places

    for corpus in CORPORA:
        write_protocol(folder / "recipe", corpus, f"{{groups: {FOLDS}}}")
        place = folder / "corpora" / corpus
        place.mkdir(parents=True)
        lines = ["path,speaker,emotion"]
        for speaker in range(2 * FOLDS):
            for emotion in ("angry", "happy", "neutral", "sad"):
                name = f"{speaker}_{emotion}.wav"
                noise = np.random.default_rng(len(lines)).normal(0, 0.1, 800)
                soundfile.write(place / name, noise, 8000)
                lines.append(f"{name},s{speaker},{emotion}")
        (place / "table.csv").write_text("\n".join(lines) + "\n")
        table = place / "table.csv"
        script(folder, "prepare.py", "--recipe", folder / "recipe", corpus, table, folder / "data" / corpus)
    grids = folder / "recipe" / "conf" / "grids"
    grids.mkdir()
    (grids / "scale.yaml").write_text(GRID)
    places = Places(folder / "recipe", folder / "data", folder / "dump", folder / "exp")
    grid = open_grid(places, "strict", [], "scale")
    rng = random.Random(0)
    for fold in range(1, FOLDS + 1):
        speakers = [f"{speaker:02d}" for speaker in range(4 * fold - 4, 4 * fold)]
        rows = {corpus: answered(corpus, speakers, per_class=18) for corpus in CORPORA}
        names = [row[0] for own in rows.values() for row in own]
        for seed in range(seeds):
            wrong = set(rng.sample(names, len(names) // 3))
            answers = {corpus: answered(corpus, speakers, wrong, per_class=18) for corpus in CORPORA}
            for cell in grid.cells:
                configuration = (cell.task, cell.temporal, cell.pooling)
                own = {corpus: answers[corpus] for corpus in cell.corpora}
                unseen = {corpus: answers[corpus] for corpus in CORPORA if corpus not in own}
                write_run(grid.root, list(own), configuration, fold, seed, own, unseen)


def grid_options(folder: Path) -> list[str | Path]:
    return ["--grid", "scale", "--recipe", folder / "recipe"]


def status(folder: Path, seeds: int) -> None:
    """Run the status of the grid."""
    where = [*grid_options(folder), "--exp", folder / "exp", "--data", folder / "data"]
    wanted = " ".join(map(str, range(seeds)))
    script(folder, "grid.py", "status", "--complete", "true", "--seeds", wanted, *where)


def tables(folder: Path, seeds: int) -> None:
    """Make the table of all results."""
    script(folder, "tables.py", *(folder / "exp").glob("strict_*"))


def findings(folder: Path, seeds: int) -> None:
    """Make the tables of the ledger."""
    script(folder, "findings.py", folder / "exp" / "ledger", *grid_options(folder))


MEASURED: dict[str, Callable[[Path, int], None]] = {
    "status": status,
    "ledger": ledger,
    "ledger again": ledger,
    "tables": tables,
    "findings": findings,
    "report": report,
}
BEFORE = {name: ["make"] for name in MEASURED}
BEFORE |= {"ledger again": ["make", "ledger"], "findings": ["make", "ledger"], "report": ["make", "ledger", "findings"]}


if __name__ == "__main__":
    sys.exit(growth(__doc__, __file__, {"make": make}, MEASURED, BEFORE, "seeds", 1, least=1))
