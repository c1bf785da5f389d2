"""Status of a grid, as text and as a picture."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from ser.common import InputError
from ser.common.pictures import GREEN, SKY_BLUE, VERMILION, check_picture, save_picture
from ser.common.run_folder import is_trained
from ser.config import Experiment
from ser.grid.cells import Grid
from ser.grid.state import RunStatus, State, read_status
from ser.scoring.files import read_train

TIMED = 200  # trainings whose time is read, about
# The colour-blind can distinguish them, also in grey.
COLOURS = {State.DONE: GREEN, State.RUNNING: SKY_BLUE, State.FAILED: VERMILION, State.MISSING: "#E8E8E8"}


@dataclass(frozen=True)
class Status:
    """All experiments of a grid with their states."""

    grid: Grid
    experiments: list[tuple[Experiment, RunStatus]]

    @property
    def counts(self) -> dict[str, Counter[State]]:
        """Combination -> number of experiments in each state."""
        counts: dict[str, Counter[State]] = {}
        for experiment, run in self.experiments:
            counts.setdefault(experiment.combination, Counter())[run.state] += 1
        return counts

    @property
    def complete(self) -> bool:
        return all(run.state is State.DONE for _, run in self.experiments)

    @property
    def failed(self) -> list[tuple[Experiment, RunStatus]]:
        return [(e, run) for e, run in self.experiments if run.state is State.FAILED]


def read_grid_status(grid: Grid) -> Status:
    """Read the state of each experiment from its folder, unless the saved ledger has it."""
    return Status(
        grid,
        [
            (e, RunStatus(State.DONE) if grid.saved_run(e) else read_status(grid.folder(e), e, grid.unseen(e)))
            for e in grid.experiments
        ],
    )


def estimated_time(grid: Grid) -> str:
    """How long the missing trainings of a grid will take, in one line.

    Estimated from the mean of the finished trainings with the same temporal block and number of corpora, or of all.
    """
    experiments = [e for e in grid.experiments if not grid.saved_run(e)]
    finished = [e for e in experiments if is_trained(grid.folder(e))]
    seconds: dict[tuple[str, int], list[float]] = {}
    for experiment in finished[:: len(finished) // TIMED + 1]:
        with suppress(InputError):  # damaged
            train = read_train(grid.folder(experiment))
            if train["seconds_per_epoch"] is not None:
                total = train["seconds_per_epoch"] * train["epochs"]
                seconds.setdefault((experiment.temporal, len(experiment.corpora)), []).append(total)
    if not seconds:
        return "hours: unknown until the first of these trainings is finished, such as with --folds 1 and --only"
    means = {key: fmean(values) for key, values in seconds.items()}
    mean = fmean(value for values in seconds.values() for value in values)
    left = Counter((e.temporal, len(e.corpora)) for e in experiments)
    left.subtract((e.temporal, len(e.corpora)) for e in finished)
    hours = sum(n * means.get(key, mean) for key, n in left.items()) / 3600
    done = f"{len(finished):,} trained, {mean:.0f} s each on average"
    return f"{done}; the other {left.total():,} will take about {hours:,.1f} hours, one at a time"


def text_of(status: Status) -> str:
    """Counts by combination, running experiments, and failed ones with reason and log."""
    from tabulate import tabulate

    total: Counter[State] = sum(status.counts.values(), Counter())
    rows = [[name, *(c[state] for state in State), c.total()] for name, c in [*status.counts.items(), ("all", total)]]
    lines = [tabulate(rows, ["combination", *(state.value for state in State), "all"])]
    lines += [f"running: {e.folder}" for e, run in status.experiments if run.state is State.RUNNING]
    lines += [f"failed: {e.folder}: {run.reason}; log: {run.log}" for e, run in status.failed]
    return "\n".join(lines)


def draw_status(status: Status, path: Path) -> None:
    """Draw a row for each combination and a column for each configuration, divided into seeds and folds.

    Raises:
        InputError: unknown file type.
    """
    check_picture(path)
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    grid, states = status.grid, list(State)
    names = list(status.counts)
    cells = list(dict.fromkeys(f"{cell.task} {cell.temporal} {cell.pooling}" for cell in grid.cells))
    folds = sorted({e.fold for e, _ in status.experiments})
    high, wide = len(grid.seeds), len(folds)
    image = np.full((len(names) * high, len(cells) * wide), np.nan)
    for e, run in status.experiments:
        row, column = names.index(e.combination), cells.index(f"{e.task} {e.temporal} {e.pooling}")
        pixel = row * high + grid.seeds.index(e.seed), column * wide + folds.index(e.fold)
        image[pixel] = states.index(run.state)
    figure = Figure(figsize=(4 + 0.75 * len(cells), 2.2 + 0.36 * len(names)), layout="constrained")
    axes = figure.subplots()
    colours = ListedColormap([COLOURS[state] for state in states])
    extent = (0, len(cells), len(names), 0)
    axes.imshow(
        image, cmap=colours, vmin=-0.5, vmax=len(states) - 0.5, aspect="auto", extent=extent, interpolation="none"
    )
    for row, column in np.ndindex(len(names), len(cells)):
        block = image[row * high : (row + 1) * high, column * wide : (column + 1) * wide]
        text = f"{np.sum(block == states.index(State.DONE))}/{block.size}"
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=8)
    axes.set_xticks(np.arange(len(cells)) + 0.5, cells, rotation=90)
    axes.set_yticks(np.arange(len(names)) + 0.5, names)
    axes.set_xticks(np.arange(len(cells) + 1), minor=True)
    axes.set_yticks(np.arange(len(names) + 1), minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    axes.set_frame_on(False)
    axes.set_title(
        f"{grid.root.name}: experiments that are done, of all folds and seeds", loc="left", fontsize="medium"
    )
    counts = Counter(run.state for _, run in status.experiments)
    labels = [Patch(facecolor=COLOURS[s], edgecolor="black", label=f"{s.value} {counts[s]}") for s in states]
    figure.legend(handles=labels, loc="outside lower left", ncols=len(states), frameon=False)
    save_picture(figure, path)
