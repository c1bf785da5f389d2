"""A ledger that is kept with the code: one of each combination of corpora, small enough to be committed as it grows.

It has the files of any ledger, with posteriors and curves rounded.
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

if TYPE_CHECKING:
    import pyarrow

POSTERIOR_DIGITS = 2
CURVE_DIGITS = 4
Tables = dict[str, "pyarrow.Table"]  # by file


def grow(kept: Path, new: Path, exp_dirs: Sequence[Path], corpora: Sequence[str]) -> str:
    """Put the runs of a ledger into the kept ones of their combinations; earlier ones of their settings are replaced.

    Args:
        new: ledger of the runs below `exp_dirs`.
        corpora: of the grid.

    Returns:
        How many there were.
    """
    import pyarrow.compute as pc

    added = replaced = 0
    tables = _read(new)
    for combination in pc.unique(tables["runs"]["combination"]).to_pylist():
        own = {name: table.filter(pc.equal(table["combination"], combination)) for name, table in tables.items()}
        own = _compact(own, exp_dirs)
        added += len(own["runs"])
        folder = kept / combination
        if (folder / "ledger.json").is_file():
            before = _read(folder)
            gone = before["runs"].filter(_among(before["runs"]["config_hash"], own["runs"]["config_hash"]))["run"]
            replaced += len(gone)
            for name, table in before.items():
                own[name] = joined([table.filter(pc.invert(_among(table["run"], gone))), own[name]])
        with atomic_path(folder) as temporary:
            _write(temporary, own, corpora, "kept by the ledger stage of a grid", [])
    return f"{kept}: {added} runs added, {replaced} of them in the place of earlier ones"


def join_ledgers(
    kept: Sequence[Path], out: Path, corpora: Sequence[str], command: str, problems: list[dict[str, str]]
) -> dict[str, Any]:
    """Write one ledger of all kept ones; a run that several have is taken from the first.

    Args:
        kept: a folder for each version of the settings.
        problems: what is wrong with folders that were to be kept.

    Returns:
        What ledger.json holds.

    Raises:
        InputError: nothing is kept, or it is damaged.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    found: list[Tables] = []
    seen: set[str] = set()
    for folder in kept:
        paths = sorted(folder.glob("*/ledger.json"))
        if not paths:
            raise InputError("no ledger is kept there", folder, "run stages 0 to 5")
        for tables in (_read(path.parent) for path in paths):
            hashes = tables["runs"]["config_hash"]
            twice = pc.is_in(hashes.cast("string"), value_set=pa.array(sorted(seen), pa.string()))
            gone = tables["runs"]["run"].filter(twice)
            found.append({name: table.filter(pc.invert(_among(table["run"], gone))) for name, table in tables.items()})
            seen |= set(hashes.to_pylist())
    tables = {name: joined([tables[name] for tables in found]) for name in FILES}
    with atomic_path(out) as temporary:
        write_text(temporary / "README.md", description())
        return _write(temporary, tables, corpora, command, problems)


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

    again = f"restore {folder} (git checkout), or remove it to train its experiments again"
    read_record(folder / "ledger.json", dict[str, Any], again, [f"{name}.parquet" for name in FILES])
    try:
        return read_tables(folder)
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"not readable as a ledger of this version ({reason})", folder, again) from None


def read_tables(folder: Path) -> Tables:
    """The files of a ledger."""
    import pyarrow.parquet as pq

    return {
        name: pq.read_table(folder / f"{name}.parquet", schema=arrow_schema(kinds)) for name, kinds in FILES.items()
    }


def _among(column: pyarrow.ChunkedArray, values: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """Which of a column's words are among others."""
    import pyarrow.compute as pc

    return pc.is_in(column.cast("string"), value_set=values.cast("string").combine_chunks())


def joined(tables: Sequence[pyarrow.Table]) -> pyarrow.Table:
    """Tables below one another."""
    import pyarrow as pa

    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def _compact(tables: Tables, exp_dirs: Sequence[Path]) -> Tables:
    """Rounded, with folders relative to the root of the experiments, and without what is of other combinations."""
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
