"""Read the states of the experiments of a grid from the file that `steps/grid.py status` writes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from ser.common import as_input_error, read_json
from ser.common.kinds import of_kind
from ser.common.run_folder import run_name
from ser.findings.design import FACTORS
from ser.grid.state import State


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


def read_status_file(path: Path) -> dict[str, Any]:
    """Read the states of a grid.

    Returns:
        source: path of the file; configurations: columns; cells: combination -> configuration -> state -> number of
        experiments; totals: state -> number of experiments; failed: experiment, reason and log.

    Raises:
        InputError: no such file, or one of another form.
    """
    cells: dict[str, dict[tuple[str, ...], Counter[str]]] = {}
    totals = Counter({state.value: 0 for state in State})
    failed = []
    with as_input_error("no states of experiments", path, "give what steps/grid.py status wrote", ValueError):
        for row in of_kind(_StatusFile, read_json(path), "")["experiments"]:
            configuration, state = tuple(str(row[factor]) for factor in FACTORS), State(row["state"]).value
            cells.setdefault(row["combination"], {}).setdefault(configuration, Counter())[state] += 1
            totals[state] += 1
            if state == State.FAILED.value:
                name = f"{row['combination']}/{'_'.join(configuration)}/{run_name(row['fold'], row['seed'])}"
                failed.append((name, row.get("reason") or "not recorded", row.get("log") or "none"))
    columns = list(dict.fromkeys(c for by_configuration in cells.values() for c in by_configuration))
    return {"source": str(path), "configurations": columns, "cells": cells, "totals": totals, "failed": failed}
