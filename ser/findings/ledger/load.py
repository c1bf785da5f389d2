"""Read a ledger into confusion matrices by cell, seed and speaker."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, get_type_hints

import numpy as np

from ser.common import InputError, as_input_error
from ser.common.kinds import of_kind
from ser.common.records import read_record
from ser.findings.design import FACTORS, Design
from ser.findings.ledger.schema import PREDICTIONS, RUNS, arrow_schema
from ser.findings.scores import Target, make_target
from ser.grid.cells import Cell
from ser.scoring.files import Counts, check_described

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

PREDICTED = ("run", "target", "speaker", "utterance", "truth", "hypothesis")
# JSON of the file `runs` that the statistics do not use; of 10,000 runs hundreds of megabytes.
UNUSED = {"configuration", "curves", "targets", "updates", "versions", "zero_shot"}
AGAIN = "run steps/ledger.py again"
# Columns that may have gaps.
MISSING = {"seconds_per_epoch", "device", "precision", "text_id", "posteriors"}


class Problem(TypedDict):
    """A folder that was left out, all of it or its zero-shot scores."""

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


@dataclass(frozen=True)
class Ledger:
    """The part of a ledger that the statistics use.

    Attributes:
        runs: rows of the file `runs` that belong to the grid, JSON not yet parsed.
        targets: corpus -> its test set.
        summary: ledger.json.
        notes: what does not count, and why.
        budget: training.budget of the runs of several corpora; "" where there are none.
        other: the runs of the other budget, where the ledger has it.
        unseen: corpora that no run was trained on, all zero-shot.
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
        only: column of `runs` -> the value that a run must have.
        budget: training.budget of the runs that are read; "": per_corpus where the ledger has it. Those of the other
            budget become `other`.

    Returns:
        The ledger, and the design with those of its corpora that the runs have.

    Raises:
        InputError: no ledger, none of its runs is of the grid, or these are of several settings or protocols.
    """
    summary = read_summary(folder, ["runs.parquet", "predictions.parquet"])
    for key, value in only.items():
        if key not in RUNS:
            raise InputError(f"{folder} has no such column; it has {', '.join(RUNS)}", f"--only {key}={value}")
    read = {name: kind for name, kind in RUNS.items() if name not in UNUSED or name in only}
    rows = [_valid(folder / "runs.parquet", row) for row in read_parquet(folder / "runs.parquet", read).to_pylist()]
    _check_count(folder / "runs.parquet", summary["runs"], len(rows))
    for key, value in only.items():
        rows = [row for row in rows if str(row[key]) == value]
    runs = [
        row
        for row in rows
        if set(row["corpora"]) <= set(design.corpora) and all(row[f] in getattr(design, f) for f in FACTORS)
    ]
    if not runs:
        grid = "; ".join(", ".join(getattr(design, name)) for name in ("corpora", *FACTORS))
        raise InputError(f"none of its runs is of this grid ({grid}) and as asked for", folder, AGAIN)
    notes = [f"{len(rows) - len(runs)} runs are no part of the grid, such as baselines"] if runs != rows else []
    _check_settings(folder, runs)
    corpora = {corpus for row in runs for corpus in row["corpora"]}
    untrained = [c for c in design.corpora if c not in corpora]
    design = design.narrowed({"corpora": [c for c in design.corpora if c in corpora]})
    budgets = sorted({row["budget"] for row in runs if len(row["corpora"]) > 1}) or [""]
    if budget and budget not in budgets:
        raise InputError(f"{folder} has no such runs of several corpora", f"--budget {budget}", "leave the option out")
    budgets.sort(key=lambda name: name != budget)
    predictions = _read_predictions(folder / "predictions.parquet")
    _check_count(folder / "predictions.parquet", summary["predictions"], len(predictions))
    tested = set(predictions["run"].unique())
    if lacking := [row["folder"] for row in runs if row["run"] not in tested]:
        raise InputError(f"has no prediction of {lacking[0]}", folder / "predictions.parquet", AGAIN)
    ledgers = []
    for name in budgets:
        rows = _of_budget(runs, name)
        targets, more = _targets(folder, predictions, rows, design.corpora)
        unseen, _ = _targets(folder, predictions, rows, untrained)
        ledgers.append(Ledger(rows, targets, summary, [*notes, *more], name, unseen=unseen))
    first, *others = ledgers
    if not first.targets:
        raise InputError(f"no test set has been scored whole ({'; '.join(first.notes)})", folder, "run what is missing")
    if others:
        text = f"runs of training.budget {others[0].budget} are in the table of budgets alone"
        first = replace(first, notes=[*first.notes, text], other=others[0])
    return first, design


def read_summary(folder: Path, files: Sequence[str]) -> dict[str, Any]:
    """Read ledger.json.

    Args:
        files: names of the ledger's files that are about to be read, which are checked.

    Raises:
        InputError: it, or one of these, is absent, of another kind or not as it was written.
    """
    return read_record(folder / "ledger.json", Summary, AGAIN, files)


def read_parquet(path: Path, columns: Mapping[str, tuple[str, str]], again: str = AGAIN) -> pyarrow.Table:
    """Read columns of a Parquet file as `read_row_groups` does, in one table."""
    import pyarrow as pa

    return pa.concat_tables([arrow_schema(columns).empty_table(), *read_row_groups(path, columns, again)])


def read_row_groups(
    path: Path, columns: Mapping[str, tuple[str, str]], again: str = AGAIN, groups: Iterable[int] | None = None
) -> Iterator[pyarrow.Table]:
    """Read columns of a Parquet file, one row group at a time, and check their types; only those of `MISSING` may have
    gaps.

    Args:
        columns: name -> type and meaning, see ser/findings/ledger/schema.py.
        again: how to restore the file, for messages.
        groups: numbers of the row groups, from 0; None: all.

    Raises:
        InputError: the file is not readable, or a column has other values.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = arrow_schema(columns)
    with ExitStack() as stack:
        with as_input_error("not readable", path, again, OSError, ValueError, pa.ArrowException):
            file = stack.enter_context(pq.ParquetFile(path))
            stored = file.schema_arrow
        for field in schema:
            index = stored.get_field_index(field.name)
            if index < 0 or stored.field(index).type != field.type:
                what = "lacks" if index < 0 else "has values of another type in"
                raise InputError(f"{what} the column {field.name}", path, again)
        for group in range(file.num_row_groups) if groups is None else groups:
            with as_input_error("not readable", path, again, OSError, ValueError, pa.ArrowException):
                table = file.read_row_group(group, schema.names).select(schema.names)
            for field in schema:
                if table.column(field.name).null_count and field.name not in MISSING:
                    raise InputError(f"has gaps in the column {field.name}", path, again)
            yield table


def _read_predictions(path: Path) -> pd.DataFrame:
    """The columns PREDICTED, as categories: their codes need a quarter of the memory of Arrow's dictionaries."""
    import pandas as pd

    words: dict[str, dict[str, int]] = {name: {} for name in PREDICTED}
    codes: dict[str, list[np.ndarray]] = {name: [np.empty(0, np.uint8)] for name in PREDICTED}
    for table in read_row_groups(path, {name: PREDICTIONS[name] for name in PREDICTED}):
        for name, known in words.items():
            for chunk in table[name].chunks:
                of_word = [known.setdefault(word, len(known)) for word in chunk.dictionary.to_pylist()]
                codes[name].append(np.array(of_word, np.min_scalar_type(len(known)))[chunk.indices.to_numpy()])
    categories = {}
    for name, known in words.items():
        categories[name] = pd.Categorical.from_codes(np.concatenate(codes.pop(name)), list(known))
    return pd.DataFrame(categories, copy=False)


def _check_count(path: Path, recorded: int, rows: int) -> None:
    if rows != recorded:
        raise InputError(f"has {rows} rows, and ledger.json counts {recorded}", path, AGAIN)


def _valid(path: Path, row: dict[str, Any]) -> dict[str, Any]:
    """Check the JSON of a row of the file `runs`."""
    try:
        parsed = {key: json.loads(row[key]) for key in get_type_hints(_Described)}
        check_described(of_kind(_Described, parsed, ""))
        of_kind(dict[str, list[str]], {key: row[key] for key in ("corpora", "notes")}, "")
    except (ValueError, RecursionError) as error:
        raise InputError(f"{row['folder']}: {error}", path, AGAIN) from None
    return row


def _of_budget(rows: Sequence[dict[str, Any]], budget: str) -> list[dict[str, Any]]:
    """The runs of a budget. Runs of one corpus, whose updates are the same at any budget, get its settings_hash."""
    chosen = [row for row in rows if len(row["corpora"]) == 1 or row["budget"] == budget]
    settings = next((row["settings_hash"] for row in chosen if len(row["corpora"]) > 1), chosen[0]["settings_hash"])
    return [{**row, "settings_hash": settings} for row in chosen]


def _check_settings(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Refuse runs of different settings, whose results are not comparable; the budget may differ."""
    counts = Counter((row["comparable_hash"], row["preset"]) for row in rows)
    if len(counts) > 1:
        listed = "; ".join(f"{name} (preset {preset}, {n} runs)" for (name, preset), n in sorted(counts.items()))
        raise InputError(f"runs of several settings: {listed}", folder, "choose with --only comparable_hash=...")


def _targets(
    folder: Path, predictions: pd.DataFrame, rows: Sequence[Mapping[str, Any]], corpora: Sequence[str]
) -> tuple[dict[str, Target], list[str]]:
    """Test sets by corpus, and notes on those that no cell was tested on completely."""
    tested = set(predictions["target"].unique())
    predictions = predictions.assign(row=_codes(predictions["run"], [row["run"] for row in rows]))
    predictions = predictions[predictions["row"] >= 0]
    protocols: dict[str, Counter[str]] = {}
    for row in rows:
        for corpus, name in json.loads(row["protocol_hash"]).items():
            protocols.setdefault(corpus, Counter())[name] += 1
    targets: dict[str, Target] = {}
    notes: list[str] = []
    for corpus in (c for c in corpora if c in tested):
        counts = protocols.get(corpus, {"not recorded": 0})
        if len(counts) > 1:
            listed = ", ".join(f"{name} ({n} runs)" for name, n in counts.items())
            raise InputError(
                f"{corpus} was prepared in several ways, so that its scores are not of the same "
                f"utterances: protocols {listed}",
                folder,
                "build the ledger from folders of one of them",
            )
        chosen = predictions[predictions["target"] == corpus]
        if len(chosen):
            target = _target(corpus, chosen, rows, next(iter(counts)))
            if isinstance(target, Target):
                targets[corpus] = target
            else:
                notes.append(target)
    return targets, notes


def _target(corpus: str, predictions: pd.DataFrame, rows: Sequence[Mapping[str, Any]], protocol: str) -> Target | str:
    """Sum up the predictions on one corpus; the reason where no cell was tested on all utterances.

    Args:
        predictions: those on the corpus; column `row`: index into `rows`.
    """
    keys = [(Cell(tuple(r["corpora"]), r["task"], r["temporal"], r["pooling"]), r["seed"]) for r in rows]
    indices = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    for column, what in (("speaker", "speakers"), ("truth", "classes")):
        distinct = predictions[["utterance", column]].drop_duplicates()["utterance"]
        if several := sorted(distinct[distinct.duplicated()]):
            raise InputError(f"utterance {several[0]} has two {what} in the ledger", corpus, AGAIN)
    utterances, speakers = (sorted(predictions[column].unique()) for column in ("utterance", "speaker"))
    classes = sorted({*predictions["truth"].unique(), *predictions["hypothesis"].unique()})
    cell = np.array([indices[key] for key in keys])[predictions["row"]]
    speaker = _codes(predictions["speaker"], speakers)
    truth, hypothesis = (_codes(predictions[column], classes) for column in ("truth", "hypothesis"))
    # An utterance that several folds test counts once.
    pairs = cell * len(utterances) + _codes(predictions["utterance"], utterances)
    tested_pairs, which, times = np.unique(pairs, return_inverse=True, return_counts=True)
    shape = (len(indices), len(speakers), len(classes), len(classes))
    flat = np.ravel_multi_index((cell, speaker, truth, hypothesis), shape)
    confusion = np.bincount(flat, 1 / times[which], int(np.prod(shape))).reshape(shape)
    covered = np.bincount(tested_pairs // len(utterances), minlength=len(indices))
    fold = np.array([row["fold"] for row in rows])[predictions["row"]]
    import pandas as pd

    folds = pd.Series(fold).groupby(speaker).min().tolist()
    partial = [cell.name for (cell, _), i in indices.items() if 0 < covered[i] < len(utterances)]
    notes = []
    if partial:
        notes.append(
            f"{len(partial)} times a cell and seed does not count, for not all folds that test {corpus} are there: "
            f"{', '.join(list(dict.fromkeys(partial))[:5])}"
        )
    complete = {key: confusion[i] for key, i in indices.items() if covered[i] == len(utterances)}
    if not complete:
        return f"target {corpus}: {notes[0]}; none is whole"
    return make_target(corpus, classes, speakers, folds, complete, protocol, notes)


def _codes(column: pd.Series, order: Sequence[str]) -> np.ndarray:
    """Index of each value in `order`, -1 for others, int64."""
    return np.asarray(column.cat.set_categories(order).cat.codes, np.int64)
