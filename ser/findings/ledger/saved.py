"""Saved ledgers (option --kept): a ledger for each combination of corpora, small enough to be committed with the code.

Each has the files of any ledger, with posteriors and curves rounded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser.common import InputError, atomic_path, write_text
from ser.common.records import read_record, write_record
from ser.findings.ledger.schema import FILES, arrow_schema, description
from ser.grid.saved import RESTORE

if TYPE_CHECKING:
    import pyarrow

POSTERIOR_DIGITS = 2
CURVE_DIGITS = 4
Tables = dict[str, "pyarrow.Table"]  # by file


def add_runs(saved: Path, new: Path, exp_dirs: Sequence[Path], corpora: Sequence[str]) -> str:
    """Add the runs of a ledger to the saved ledgers of their combinations; they replace earlier runs of equal settings.

    Args:
        saved: folder of the saved ledgers.
        new: ledger of the runs below `exp_dirs`.
        exp_dirs: roots of the experiments.
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
            _write(temporary, tables, corpora, "kept by the ledger stage of a grid", [])
    return f"{saved}: {added} runs added, {replaced} of them in the place of earlier ones"


def join_saved(
    saved: Sequence[Path], out: Path, corpora: Sequence[str], command: str, problems: list[dict[str, str]]
) -> dict[str, Any]:
    """Join all saved ledgers into one; a run that several have is taken from the first.

    Args:
        saved: a folder for each version of the settings.
        out: folder to write.
        corpora: of the grid.
        command: for ledger.json.
        problems: what is wrong with folders that were to be saved.

    Returns:
        What ledger.json holds.

    Raises:
        InputError: there is no saved ledger, or one is damaged.
    """
    import pyarrow as pa

    parts: list[Tables] = []
    seen: set[str] = set()
    for folder in saved:
        paths = sorted(folder.glob("*/ledger.json"))
        if not paths:
            raise InputError("no ledger is kept there", folder, "run stages 0 to 5")
        for tables in (_read(path.parent) for path in paths):
            runs, hashes = tables["runs"]["run"], tables["runs"]["config_hash"]
            repeated = runs.filter(_is_in(hashes, pa.chunked_array([sorted(seen)], pa.string())))
            parts.append({name: _without(table, repeated) for name, table in tables.items()})
            seen |= set(hashes.to_pylist())
    with atomic_path(out) as temporary:
        write_text(temporary / "README.md", description())
        joined = {name: concatenate([tables[name] for tables in parts]) for name in FILES}
        return _write(temporary, joined, corpora, command, problems)


def _write(
    folder: Path, tables: Tables, corpora: Sequence[str], command: str, problems: list[dict[str, str]]
) -> dict[str, Any]:
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd", compression_level=12)
    counts = {name: len(table) for name, table in tables.items()}
    summary = {"command": command, "corpora": list(corpora), **counts, "problems": problems}
    write_record(folder / "ledger.json", summary, [path for path in folder.iterdir() if path.suffix != ".md"])
    return summary


def _read(folder: Path) -> Tables:
    import pyarrow as pa

    restore = RESTORE.format(folder)
    read_record(folder / "ledger.json", dict[str, Any], restore, [f"{name}.parquet" for name in FILES])
    try:
        return read_tables(folder)
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"not readable as a ledger of this version ({reason})", folder, restore) from None


def read_tables(folder: Path) -> Tables:
    """Read the Parquet files of a ledger."""
    import pyarrow.parquet as pq

    return {
        name: pq.read_table(folder / f"{name}.parquet", schema=arrow_schema(kinds)) for name, kinds in FILES.items()
    }


def _is_in(column: pyarrow.ChunkedArray, values: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """Whether each word of a column is among others."""
    import pyarrow.compute as pc

    return pc.is_in(column.cast("string"), value_set=values.cast("string").combine_chunks())


def _without(table: pyarrow.Table, runs: pyarrow.ChunkedArray) -> pyarrow.Table:
    """The rows of a table that are not of some runs."""
    import pyarrow.compute as pc

    return table.filter(pc.invert(_is_in(table["run"], runs)))


def concatenate(tables: Sequence[pyarrow.Table]) -> pyarrow.Table:
    """Join tables row by row, in one chunk."""
    import pyarrow as pa

    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


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
