"""Learning curves by cell, settings and hashes of the ledger's runs, for the page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, get_type_hints

from ser.common import InputError
from ser.common.kinds import of_kind
from ser.findings.design import FACTORS
from ser.findings.html.figures import Line, chart, rounded_up
from ser.findings.ledger.load import AGAIN, read_row_groups, read_summary
from ser.findings.ledger.schema import RUNS
from ser.findings.report.layout import range_text
from ser.grid.state import HASHES as BY_CELL

MAX_POINTS = 120  # of a line
HASHES = {
    "preset": "preset",
    "split": "split",
    "normalisation": "normalisation",
    "git_revision": "code, revision",
    "code_hash": "code, digest",
    "device": "trained on",
    "precision": "precision",
    "config_hash": "settings of each run",
    "data_hash": "data",
    "split_hash": "splits",
}
COLUMNS = ("train_loss", "valid_loss", "valid_ua")
Points = dict[tuple[str, str], list[tuple[float, float]]]  # corpus, column of the curves -> epoch and mean


class _Point(TypedDict):
    """A row of the curves of a run; None for an epoch without a value."""

    epoch: int
    corpus: str
    train_loss: float | None
    valid_loss: float | None
    valid_ua: float | None


class _Run(TypedDict):
    """Columns of the file `runs` that hold JSON."""

    curves: list[_Point]
    configuration: dict[str, Any]
    versions: dict[str, str] | None


@dataclass
class CellCurves:
    """Sums over the runs of a cell, which are too many to hold in memory.

    Attributes:
        corpora: of the combination.
        best_epochs: epoch of the best checkpoint of each run.
        last: number of epochs of the longest training.
    """

    corpora: Sequence[str]
    best_epochs: list[int] = field(default_factory=list)
    last: int = 0
    _sums: dict[tuple[str, str], dict[int, tuple[float, int]]] = field(default_factory=dict)

    def add(self, rows: Sequence[Mapping[str, Any]], best_epoch: int) -> None:
        """Add the curves of a run."""
        self.best_epochs.append(best_epoch)
        for row in rows:
            self.last = max(self.last, row["epoch"])
            for column in COLUMNS:
                if row[column] is not None:
                    by_epoch = self._sums.setdefault((row["corpus"], column), {})
                    total, count = by_epoch.get(row["epoch"], (0.0, 0))
                    by_epoch[row["epoch"]] = total + row[column], count + 1

    @property
    def means(self) -> Points:
        """Means over the runs that still train in an epoch; at most MAX_POINTS epochs and the last."""
        means: Points = {}
        for key, by_epoch in self._sums.items():
            line = [(float(epoch), total / count) for epoch, (total, count) in sorted(by_epoch.items())]
            means[key] = [*line[: -1 : -(-len(line) // MAX_POINTS)], line[-1]]
        return means


def read_runs(
    ledger: Path, findings: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, dict[str, CellCurves]]]:
    """Read the runs of the ledger that have the grid and settings of the findings.

    Returns:
        Rows of the file `runs` without their curves, and curves by combination and configuration.

    Raises:
        InputError: the file is damaged, or has no such run.
    """
    path, grid = ledger / "runs.parquet", findings["grid"]
    read_summary(ledger, [path.name])
    runs: list[dict[str, Any]] = []
    curves: dict[str, dict[str, CellCurves]] = {}
    # The curves of all runs at once would be gigabytes.
    batches = (batch for group in read_row_groups(path, RUNS) for batch in group.to_batches(100))
    for row in (row for batch in batches for row in batch.to_pylist()):
        in_grid = set(row["corpora"]) <= set(grid["corpora"]) and all(row[f] in grid[f] for f in FACTORS)
        key, name = ("settings_hash", findings["origin"]["settings"])
        if len(row["corpora"]) == 1:  # its updates are the same at any budget
            key, name = ("comparable_hash", findings["comparable_hash"])
        if not in_grid or row[key] != name:
            continue
        row |= _parsed(path, row)
        runs.append({key: row[key] for key in (*HASHES, "configuration", "versions")})
        if row["curves"]:
            cells = curves.setdefault(row["combination"], {})
            name = " ".join(row[factor] for factor in FACTORS)
            cells.setdefault(name, CellCurves(row["corpora"])).add(row["curves"], row["chosen_epoch"])
    if not runs:
        raise InputError("no run of these findings", path, "give the --ledger that steps/findings.py read")
    return runs, curves


def _parsed(path: Path, row: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return dict(of_kind(_Run, {key: json.loads(row[key]) for key in get_type_hints(_Run)}, ""))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{row['folder']}: {error}", path, AGAIN) from None


def panels_of(
    curves: Mapping[str, Mapping[str, CellCurves]], corpora: Sequence[str]
) -> dict[str, list[dict[str, str]]]:
    """Combination -> panels with equal scales, smaller combinations first.

    Args:
        corpora: in the order of their colours.

    Returns:
        Of each panel: name (task, temporal block and pooling), caption (how many runs, and the epochs of their best
        checkpoints), and the pictures loss and ua.
    """

    def order(combination: str) -> tuple[int, list[int]]:
        trained = next(iter(curves[combination].values())).corpora
        return len(trained), [corpora.index(corpus) for corpus in trained]

    panels: dict[str, list[dict[str, str]]] = {}
    for combination in sorted(curves, key=order):
        cells = curves[combination]
        means = {name: cell.means for name, cell in cells.items()}
        losses = [v for points in means.values() for (_, k), line in points.items() if "loss" in k for _, v in line]
        scale = 0.0, rounded_up(max(losses, default=1.0))
        last = max(cell.last for cell in cells.values())
        for name, cell in cells.items():
            loss, ua = list[Line](), list[Line]()
            for (corpus, column), points in means[name].items():
                classes = f"line {column.partition('_')[0]} {colour_of(corpora.index(corpus))}"
                (ua if column == "valid_ua" else loss).append((classes, points))
            number, epoch = len(cell.best_epochs), range_text(cell.best_epochs)
            panel = {
                "name": name,
                "caption": f"{number} run{'s' * (number > 1)}, best checkpoint of epoch {epoch}",
                "loss": chart(f"loss by epoch, {combination} {name}", loss, last, scale),
                "ua": chart(f"UA by epoch, {combination} {name}", ua, last, (0, 1)),
            }
            panels.setdefault(combination, []).append(panel)
    return panels


def colour_of(index: int) -> str:
    """Class of the style sheet for a corpus, by its index."""
    return f"c{index % 8}"


def settings_of(runs: Sequence[Mapping[str, Any]]) -> tuple[list[tuple[str, str]], list[str]]:
    """Settings with one value in all runs that have them, and the keys of settings with several values."""
    values: dict[str, set[str]] = {}
    for run in runs:
        for key, value in run["configuration"].items():
            values.setdefault(key, set()).add(value if isinstance(value, str) else json.dumps(value))
    same = [(key, next(iter(texts))) for key, texts in values.items() if len(texts) == 1]
    return same, [key for key, texts in values.items() if len(texts) > 1]


def hashes_of(runs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Provenance of the runs: the values of each column, or their number for columns that differ by cell."""
    hashes = []
    for key, label in HASHES.items():
        values = sorted({str(run[key] or "not recorded") for run in runs})
        hashes.append((label, f"{len(values)} digests" if key in BY_CELL and len(values) > 1 else ", ".join(values)))
    versions: dict[str, set[str]] = {}
    for run in runs:
        for package, version in (run["versions"] or {}).items():
            versions.setdefault(package, set()).add(version)
    return hashes + [(package, ", ".join(sorted(numbers))) for package, numbers in versions.items()]
