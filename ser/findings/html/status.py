"""States of the experiments of a grid, by cell: from a file that lists them, or from their folders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from ser.common import InputError, read_json
from ser.common.run_folder import CONFIG, RUNS, fold_and_seed, run_name
from ser.config import read_experiment
from ser.config.yaml_file import read_yaml
from ser.findings.design import FACTORS
from ser.grid.state import State, read_status

KEYS = ("combination", *FACTORS, "fold", "seed", "state")
Configuration = tuple[str, ...]  # task, temporal block, pooling


@dataclass(frozen=True)
class GridStatus:
    """States of all experiments.

    Attributes:
        source: where this was read.
        listed: whether a file lists all experiments, also those of which there is nothing yet.
        configurations: columns.
        cells: combination -> configuration -> state -> experiments.
        totals: of each state.
        failed: experiment, reason, log.
    """

    source: str
    listed: bool
    configurations: list[Configuration]
    cells: dict[str, dict[Configuration, dict[str, int]]]
    totals: dict[str, int]
    failed: list[tuple[str, str, str]]


def read_status_file(path: Path, grid: Mapping[str, Any]) -> GridStatus:
    """Read the states of a grid.

    Args:
        path: a JSON file, {"experiments": [{combination, task, temporal, pooling, fold, seed, state, reason, log}]}, or
            the root of the experiments. In a root an experiment is missing if another of its combination has its fold
            and seed; combinations without a folder are not listed.
        grid: findings.json's: corpora and factors.

    Raises:
        InputError: no such file or folder, or a file of another form.
    """
    rows = list(_below(path, grid) if path.is_dir() else _listed(path))
    cells: dict[str, dict[Configuration, dict[str, int]]] = {}
    totals = {state.value: 0 for state in State}
    failed = []
    for row in rows:
        configuration = tuple(str(row[factor]) for factor in FACTORS)
        counts = cells.setdefault(str(row["combination"]), {}).setdefault(configuration, {})
        counts[row["state"]] = counts.get(row["state"], 0) + 1
        totals[row["state"]] += 1
        if row["state"] == State.FAILED.value:
            name = f"{row['combination']}/{'_'.join(configuration)}/{run_name(row['fold'], row['seed'])}"
            failed.append((name, str(row.get("reason") or "not recorded"), str(row.get("log") or "none")))
    configurations = list(dict.fromkeys(c for by_configuration in cells.values() for c in by_configuration))
    return GridStatus(str(path), path.is_file(), configurations, cells, totals, failed)


def _listed(path: Path) -> Iterator[Mapping[str, Any]]:
    found = read_json(path)
    rows = found.get("experiments") if isinstance(found, dict) else None
    if not isinstance(rows, list):
        raise InputError("has no list of experiments", path, "give a file of that form, or the root of the experiments")
    states = {state.value for state in State}
    for number, row in enumerate(rows, 1):
        missing = [key for key in KEYS if not isinstance(row, dict) or key not in row]
        if missing or row["state"] not in states:
            wrong = f"lacks {missing[0]}" if missing else f"state must be one of {', '.join(sorted(states))}"
            raise InputError(f"experiment {number}: {wrong}", path, "write it again")
        yield row


def _below(root: Path, grid: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Rows of the experiments that are there, and of those that others of their combination have."""
    configurations = list(product(*(grid[factor] for factor in FACTORS)))
    corpora = grid["corpora"]
    configs = [next(iter(sorted(folder.glob(f"*/{RUNS}/{CONFIG}"))), None) for folder in sorted(root.iterdir())]
    found = {path.parents[2].name: read_yaml(path).get("corpora") for path in configs if path is not None}
    if not found:
        raise InputError("no experiment in it has a config.yaml", root, "give the root of the experiments")
    there = {name: tuple(names) for name, names in found.items() if names and set(names) <= set(corpora)}
    if not there:
        raise InputError(f"no folder of any combination of {', '.join(corpora)}", root, "give their root")
    there = dict(sorted(there.items(), key=lambda item: (len(item[1]), [corpora.index(c) for c in item[1]])))
    config = next(path for path in configs if path is not None and path.parents[2].name in there)
    # All of a root share the settings that its folders do not name; parsing each would take long.
    settings = read_experiment(config)
    for combination, names in there.items():
        folders = {c: root / combination / "_".join(c) for c in configurations}
        runs = {fold_and_seed(path.name) for folder in folders.values() for path in folder.glob(RUNS)}
        for fold, seed in sorted(filter(None, runs), key=lambda run: run[::-1]):
            for c in configurations:
                row = {**dict(zip(FACTORS, c, strict=True)), "fold": fold, "seed": seed}
                experiment = replace(settings, corpora=list(names), **row)
                state = read_status(folders[c] / run_name(fold, seed), experiment, ())
                yield {**row, "combination": combination, "state": state.state.value, "reason": state.reason,
                       "log": str(state.log or "")}  # fmt: skip
