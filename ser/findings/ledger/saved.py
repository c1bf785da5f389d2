"""Saved ledgers (option --kept): a ledger for each combination of corpora, small enough to be committed with the code.

Each has the files of any ledger, with posteriors and curves rounded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser.common import InputError, atomic_path, write_text
from ser.common.records import read_record
from ser.findings.ledger.load import read_parquet
from ser.findings.ledger.schema import FILES, description
from ser.findings.ledger.tables import Tables, concatenate, write_ledger
from ser.grid.saved import RESTORE

if TYPE_CHECKING:
    import pyarrow

POSTERIOR_DIGITS = 2
CURVE_DIGITS = 4
LEVEL = 12  # of compression


def add_runs(saved: Path, new: Path, exp_dirs: Sequence[Path], corpora: Sequence[str]) -> str:
    """Add the runs of a ledger to the saved ledgers of their combinations; they replace earlier runs of equal settings.

    Args:
        new: ledger of the runs below `exp_dirs`.
        corpora: of the grid.

    Returns:
        How many were added and replaced.
    """
    import pyarrow.compute as pc

    added = replaced = 0
    new_tables = _read(new)
    for combination in pc.unique(new_tables["runs"]["combination"]).to_pylist():
        tables = {name: table.filter(pc.equal(table["combination"], combination)) for name, table in new_tables.items()}
        tables = _compact(tables, exp_dirs)
        added += len(tables["runs"])
        folder = saved / combination
        if (folder / "ledger.json").is_file():
            before = _read(folder)
            old = before["runs"].filter(_is_in(before["runs"]["config_hash"], tables["runs"]["config_hash"]))["run"]
            replaced += len(old)
            tables = {name: concatenate([_without(before[name], old), table]) for name, table in tables.items()}
        with atomic_path(folder) as temporary:
            summary = {"command": "kept by the ledger stage of a grid", "corpora": list(corpora), "problems": []}
            write_ledger(temporary, [tables], summary, LEVEL)
    return f"{saved}: {added} runs added, {replaced} of them in the place of earlier ones"


def join_saved(
    saved: Sequence[Path], out: Path, corpora: Sequence[str], command: str, problems: list[dict[str, str]]
) -> dict[str, Any]:
    """Join all saved ledgers into one; a run that several have is taken from the first.

    Args:
        saved: a folder for each version of the settings.
        problems: what is wrong with folders that were to be saved.

    Returns:
        What ledger.json holds.

    Raises:
        InputError: there is no saved ledger, or one is damaged.
    """
    summary = {"command": command, "corpora": list(corpora), "problems": problems}
    with atomic_path(out) as temporary:
        temporary.mkdir()
        write_text(temporary / "README.md", description())
        return write_ledger(temporary, _saved_runs(saved), summary, LEVEL)


def _saved_runs(saved: Sequence[Path]) -> Iterator[Tables]:
    """The runs of saved ledgers, one ledger at a time."""
    import pyarrow as pa

    seen: set[str] = set()
    for folder in saved:
        paths = sorted(folder.glob("*/ledger.json"))
        if not paths:
            raise InputError("no ledger is kept there", folder, "run stages 0 to 5")
        for tables in (_read(path.parent) for path in paths):
            runs, hashes = tables["runs"]["run"], tables["runs"]["config_hash"]
            repeated = runs.filter(_is_in(hashes, pa.chunked_array([sorted(seen)], pa.string())))
            yield {name: _without(table, repeated) for name, table in tables.items()}
            seen |= set(hashes.to_pylist())


def _read(folder: Path) -> Tables:
    restore = RESTORE.format(folder)
    read_record(folder / "ledger.json", dict[str, Any], restore, [f"{name}.parquet" for name in FILES])
    return {name: read_parquet(folder / f"{name}.parquet", columns, restore) for name, columns in FILES.items()}


def _is_in(column: pyarrow.ChunkedArray, values: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """Whether each word of a column is among others."""
    import pyarrow.compute as pc

    return pc.is_in(column.cast("string"), value_set=values.cast("string").combine_chunks())


def _without(table: pyarrow.Table, runs: pyarrow.ChunkedArray) -> pyarrow.Table:
    """The rows of a table that are not of some runs."""
    import pyarrow.compute as pc

    return table.filter(pc.invert(_is_in(table["run"], runs)))


def _compact(tables: Tables, exp_dirs: Sequence[Path]) -> Tables:
    """Round values, make folders relative to the root of the experiments, and drop unused words of dictionaries."""
    import pyarrow as pa

    rows = []
    for row in tables["runs"].to_pylist():
        root = next((d for d in exp_dirs if Path(row["folder"]).is_relative_to(d)), Path())
        curves = [{k: _rounded(v) for k, v in point.items()} for point in json.loads(row["curves"])]
        folder = Path(row["folder"]).relative_to(root).as_posix()
        rows.append({**row, "folder": folder, "curves": json.dumps(curves)})
    schema = tables["predictions"].schema
    columns: dict[str, Any] = {}
    for name in schema.names:
        column = tables["predictions"][name].combine_chunks()
        if name == "posteriors":
            values = np.round(column.values.to_numpy(zero_copy_only=False), POSTERIOR_DIGITS).astype(np.float32)
            column = pa.ListArray.from_arrays(column.offsets, pa.array(values), mask=column.is_null())
        elif pa.types.is_dictionary(column.type):
            column = column.dictionary_decode().dictionary_encode()
        columns[name] = column
    return {"runs": pa.Table.from_pylist(rows, tables["runs"].schema), "predictions": pa.table(columns, schema)}


def _rounded(value: Any) -> Any:
    return round(value, CURVE_DIGITS) if isinstance(value, float) else value
