"""Read the states of the experiments of a grid from the file that `steps/grid.py status` writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

from ser.common import as_input_error, read_json
from ser.common.kinds import of_kind
from ser.common.run_folder import run_name
from ser.findings.design import FACTORS
from ser.grid.state import State

Configuration = tuple[str, ...]  # task, temporal block, pooling


class _Experiment(TypedDict):
    combination: str
    task: str
    temporal: str
    pooling: str
    fold: int
    seed: int
    state: str
    reason: NotRequired[str]
    log: NotRequired[str]


class _StatusFile(TypedDict):
    experiments: list[_Experiment]


@dataclass(frozen=True)
class GridStatus:
    """States of all experiments.

    Attributes:
        source: path of the file.
        configurations: columns.
        cells: combination -> configuration -> state -> number of experiments.
        totals: state -> number of experiments.
        failed: experiment, reason and log.
    """

    source: str
    configurations: list[Configuration]
    cells: dict[str, dict[Configuration, dict[str, int]]]
    totals: dict[str, int]
    failed: list[tuple[str, str, str]]


def read_status_file(path: Path) -> GridStatus:
    """Read the states of a grid.

    Raises:
        InputError: no such file, or one of another form.
    """
    cells: dict[str, dict[Configuration, dict[str, int]]] = {}
    totals = {state.value: 0 for state in State}
    failed = []
    with as_input_error("no states of experiments", path, "give what steps/grid.py status wrote", ValueError):
        for row in of_kind(_StatusFile, read_json(path), "")["experiments"]:
            configuration, state = tuple(str(row[factor]) for factor in FACTORS), State(row["state"]).value
            counts = cells.setdefault(row["combination"], {}).setdefault(configuration, {})
            counts[state] = counts.get(state, 0) + 1
            totals[state] += 1
            if state == State.FAILED.value:
                name = f"{row['combination']}/{'_'.join(configuration)}/{run_name(row['fold'], row['seed'])}"
                failed.append((name, row.get("reason") or "not recorded", row.get("log") or "none"))
    configurations = list(dict.fromkeys(c for by_configuration in cells.values() for c in by_configuration))
    return GridStatus(str(path), configurations, cells, totals, failed)
