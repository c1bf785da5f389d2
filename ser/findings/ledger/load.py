"""From a ledger to confusion matrices by cell, seed and speaker."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, get_type_hints

import numpy as np

from ser.common import InputError
from ser.common.kinds import of_kind
from ser.common.records import read_record
from ser.findings.design import Design
from ser.findings.ledger.schema import PREDICTIONS, RUNS, arrow_schema
from ser.findings.scores import Target, make_target
from ser.grid.cells import Cell
from ser.scoring.files import Counts, check_described

if TYPE_CHECKING:
    import pyarrow

PREDICTED = ("run", "target", "speaker", "utterance", "truth", "hypothesis")
AGAIN = "run steps/ledger.py again"
# Columns that may have gaps.
MISSING = {"seconds_per_epoch", "device", "precision", "text_id", "posteriors"}


class Problem(TypedDict):
    """A folder that was left out, in whole or in part."""

    folder: str
    problem: str


class Summary(TypedDict):
    """ledger.json."""

    command: str
    corpora: list[str]
    runs: int
    predictions: int
    problems: list[Problem]


class _Described(TypedDict):
    folds: dict[str, str]
    protocol_hash: dict[str, str]
    counts: dict[str, Counts]


class NoneWhole(Exception):
    """No cell has been tested on all utterances."""


@dataclass(frozen=True)
class Ledger:
    """What the statistics take from a ledger.

    Attributes:
        runs: rows of the file `runs` that are of the grid, JSON not yet read.
        targets: by corpus.
        unseen: the same of corpora that no run was trained on, all zero-shot.
        summary: ledger.json.
        notes: what does not count, and why.
        budget: training.budget of the runs of several corpora; "" where there are none.
        other: the same of the other budget, where the ledger has it.
    """

    runs: list[dict[str, Any]]
    targets: dict[str, Target]
    summary: dict[str, Any]
    notes: list[str]
    budget: str = ""
    other: Ledger | None = None
    unseen: dict[str, Target] = field(default_factory=dict)


def load_ledger(folder: Path, design: Design, only: Mapping[str, str], budget: str = "") -> tuple[Ledger, Design]:
    """Read a ledger.

    Args:
        only: column of `runs` -> the one value that counts.
        budget: training.budget of the runs that are read, the other's being `other`; "": per_corpus, if it is there.

    Returns:
        The ledger, and the design with those of its corpora that the runs have.

    Raises:
        InputError: no ledger, none of its runs is of the grid, or these are of several settings or protocols.
    """
    summary = read_summary(folder, ["runs.parquet", "predictions.parquet"])
    table = read_parquet(folder / "runs.parquet", RUNS)
    rows = [_valid(folder / "runs.parquet", row) for row in table.to_pylist()]
    for key, value in only.items():
        if key not in table.column_names:
            known = ", ".join(table.column_names)
            raise InputError(f"{folder} has no such column; it has {known}", f"--only {key}={value}")
        rows = [row for row in rows if str(row[key]) == value]
    kept = [row for row in rows if _is_of(row, design)]
    if not kept:
        raise InputError(f"none of its runs is of this grid ({_listed(design)}) and as asked for", folder, AGAIN)
    notes = (
        [f"{len(rows) - len(kept)} runs are no part of the grid, such as baselines"] if len(kept) < len(rows) else []
    )
    _check_settings(folder, kept)
    corpora = {corpus for row in kept for corpus in row["corpora"]}
    untrained = [c for c in design.corpora if c not in corpora]
    design = design.narrowed({"corpora": [c for c in design.corpora if c in corpora]})
    budgets = sorted({row["budget"] for row in kept if len(row["corpora"]) > 1}) or [""]
    if budget and budget not in budgets:
        raise InputError(f"{folder} has no such runs of several corpora", f"--budget {budget}", "leave the option out")
    budgets.sort(key=lambda name: name != budget)
    ledgers = []
    for name in budgets:
        rows = _of_budget(kept, name)
        targets, more = _targets(folder, rows, design.corpora)
        unseen, _ = _targets(folder, rows, untrained)
        ledgers.append(Ledger(rows, targets, summary, [*notes, *more], name, unseen=unseen))
    first, *others = ledgers
    if not first.targets:
        raise InputError(f"no test set has been scored whole ({'; '.join(first.notes)})", folder, "run what is missing")
    if others:
        text = f"runs of training.budget {others[0].budget} are in the table of budgets alone"
        first = replace(first, notes=[*first.notes, text], other=others[0])
    return first, design


def read_summary(folder: Path, files: Sequence[str]) -> dict[str, Any]:
    """What ledger.json holds.

    Args:
        files: those of the ledger that are about to be read.

    Raises:
        InputError: it, or one of these, is absent, of another kind or not as it was written.
    """
    return read_record(folder / "ledger.json", Summary, AGAIN, files)


def read_parquet(path: Path, columns: Mapping[str, tuple[str, str]]) -> pyarrow.Table:
    """The columns of a Parquet file, each of its type and, but for those of `MISSING`, without gaps."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = arrow_schema(dict(columns))
    try:
        found = pq.read_schema(path)
        for field in schema:
            place = found.get_field_index(field.name)
            if place < 0 or found.field(place).type != field.type:
                what = "lacks" if place < 0 else "has values of another type in"
                raise InputError(f"{what} the column {field.name}", path, AGAIN)
        table = pq.read_table(path, columns=schema.names)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"not readable ({' '.join(str(error).split())})", path, AGAIN) from None
    for field in schema:
        if table.column(field.name).null_count and field.name not in MISSING:
            raise InputError(f"has gaps in the column {field.name}", path, AGAIN)
    return table


def _valid(path: Path, row: dict[str, Any]) -> dict[str, Any]:
    """A row of the file `runs` whose JSON can be read."""
    try:
        parsed = {key: json.loads(row[key]) for key in get_type_hints(_Described)}
        check_described(of_kind(_Described, parsed, ""))
        of_kind(dict[str, list[str]], {key: row[key] for key in ("corpora", "notes")}, "")
    except (ValueError, RecursionError) as error:
        raise InputError(f"{row['folder']}: {error}", path, AGAIN) from None
    return row


def _is_of(row: Mapping[str, Any], design: Design) -> bool:
    factors = all(row[factor] in getattr(design, factor) for factor in ("task", "temporal", "pooling"))
    return factors and set(row["corpora"]) <= set(design.corpora)


def _listed(design: Design) -> str:
    return "; ".join(", ".join(getattr(design, name)) for name in ("corpora", "task", "temporal", "pooling"))


def _of_budget(rows: Sequence[dict[str, Any]], budget: str) -> list[dict[str, Any]]:
    """The runs of a budget: those of one corpus, whose updates are the same at any, are of the settings of the rest."""
    found = [row for row in rows if len(row["corpora"]) == 1 or row["budget"] == budget]
    name = next((row["settings_hash"] for row in found if len(row["corpora"]) > 1), found[0]["settings_hash"])
    return [{**row, "settings_hash": name} for row in found]


def _check_settings(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Results of other settings are not comparable, but for those of another budget, which are kept apart."""
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        key = row["comparable_hash"], row["preset"]
        counts[key] = counts.get(key, 0) + 1
    if len(counts) > 1:
        found = "; ".join(f"{name} (preset {preset}, {n} runs)" for (name, preset), n in sorted(counts.items()))
        raise InputError(f"runs of several settings: {found}", folder, "choose with --only comparable_hash=...")


def _targets(
    folder: Path, rows: Sequence[Mapping[str, Any]], corpora: Sequence[str]
) -> tuple[dict[str, Target], list[str]]:
    """Targets by corpus, and notes on those that have no whole cell."""
    table = read_parquet(folder / "predictions.parquet", {name: PREDICTIONS[name] for name in PREDICTED})
    codes, names = {}, {}
    for name in PREDICTED:
        column = table.column(name).unify_dictionaries().combine_chunks()
        codes[name], names[name] = column.indices.to_numpy(), column.dictionary.to_pylist()
    place = {row["run"]: i for i, row in enumerate(rows)}
    run = np.array([place.get(name, -1) for name in names["run"]])[codes["run"]]
    protocols: dict[str, dict[str, int]] = {}
    for row in rows:
        for corpus, name in json.loads(row["protocol_hash"]).items():
            found = protocols.setdefault(corpus, {})
            found[name] = found.get(name, 0) + 1
    targets: dict[str, Target] = {}
    notes: list[str] = []
    for corpus in corpora:
        if corpus not in names["target"]:
            continue
        found = protocols.get(corpus, {})
        if len(found) > 1:
            listed = ", ".join(f"{name} ({n} runs)" for name, n in found.items())
            raise InputError(
                f"{corpus} was prepared in several ways, so that its scores are not of the same "
                f"utterances: protocols {listed}",
                folder,
                "build the ledger from folders of one of them",
            )
        chosen = np.flatnonzero((codes["target"] == names["target"].index(corpus)) & (run >= 0))
        if len(chosen):
            protocol = next(iter(found), "not recorded")
            part = {key: values[chosen] for key, values in codes.items()}
            try:
                targets[corpus] = _target(corpus, run[chosen], part, names, rows, protocol)
            except NoneWhole as none:
                notes.append(str(none))
    return targets, notes


def _target(
    corpus: str,
    run: np.ndarray,
    codes: Mapping[str, np.ndarray],
    names: Mapping[str, Sequence[str]],
    rows: Sequence[Mapping[str, Any]],
    protocol: str,
) -> Target:
    """Sum up the predictions on one corpus.

    Args:
        run: index into `rows` of each prediction.
        codes: column -> index into `names` of each prediction.
    """
    places: dict[tuple[Cell, int], int] = {}
    of_run = np.array(
        [
            places.setdefault(
                (Cell(tuple(r["corpora"]), r["task"], r["temporal"], r["pooling"]), r["seed"]), len(places)
            )
            for r in rows
        ]
    )
    place = of_run[run]
    utterances, utterance = np.unique(codes["utterance"], return_inverse=True)
    speakers = _used(codes, names, "speaker")
    classes = sorted({*_used(codes, names, "truth"), *_used(codes, names, "hypothesis")})
    speaker = _indices(codes["speaker"], names["speaker"], speakers)
    truth, hypothesis = (_indices(codes[key], names[key], classes) for key in ("truth", "hypothesis"))
    for values, what in ((speaker, "speakers"), (truth, "classes")):
        first = np.zeros(len(utterances), np.int64)
        first[utterance] = values
        if odd := np.flatnonzero(first[utterance] != values).tolist():
            name = names["utterance"][codes["utterance"][odd[0]]]
            raise InputError(f"utterance {name} has two {what} in the ledger", corpus, AGAIN)
    # An utterance that several folds test counts once.
    keys = place.astype(np.int64) * len(utterances) + utterance
    found, which, times = np.unique(keys, return_inverse=True, return_counts=True)
    weights = 1 / times[which]
    shape = (len(places), len(speakers), len(classes), len(classes))
    flat = np.ravel_multi_index((place, speaker, truth, hypothesis), shape)
    confusion = np.bincount(flat, weights, int(np.prod(shape))).reshape(shape)
    covered = np.bincount(found // len(utterances), minlength=len(places))
    folds = np.full(len(speakers), np.iinfo(np.int64).max)
    np.minimum.at(folds, speaker, np.array([r["fold"] for r in rows])[run])
    partial = [cell.name for (cell, _), i in places.items() if 0 < covered[i] < len(utterances)]
    notes = []
    if partial:
        notes.append(
            f"{len(partial)} times a cell and seed does not count, for not all folds that test {corpus} are there: "
            f"{', '.join(list(dict.fromkeys(partial))[:5])}"
        )
    whole = {key: confusion[i] for key, i in places.items() if covered[i] == len(utterances)}
    if not whole:
        raise NoneWhole(f"target {corpus}: {notes[0]}; none is whole")
    return make_target(corpus, classes, speakers, folds.tolist(), whole, protocol, notes)


def _used(codes: Mapping[str, np.ndarray], names: Mapping[str, Sequence[str]], column: str) -> list[str]:
    """Values of a column that occur, sorted."""
    return sorted(names[column][i] for i in np.unique(codes[column]))


def _indices(codes: np.ndarray, names: Sequence[str], order: Sequence[str]) -> np.ndarray:
    """Where each value stands in `order`."""
    index = {name: i for i, name in enumerate(order)}
    return np.array([index.get(name, -1) for name in names])[codes]
