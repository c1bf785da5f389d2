"""Write the files of a ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser.common.batching import batched_by_size
from ser.common.records import write_record
from ser.findings.ledger.schema import FILES, arrow_schema

if TYPE_CHECKING:
    import pyarrow

GROUP = 200_000  # predictions that are written together
PARQUET = [f"{name}.parquet" for name in FILES]
Tables = dict[str, "pyarrow.Table"]  # by file


def concatenate(tables: Sequence[pyarrow.Table]) -> pyarrow.Table:
    """Join tables row by row, in one chunk."""
    import pyarrow as pa

    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def write_ledger(
    folder: Path, runs: Iterable[Tables], summary: Mapping[str, Any], level: int | None = None
) -> dict[str, Any]:
    """Write the Parquet files and ledger.json.

    Args:
        folder: is made.
        runs: rows of both files, of one run or several at a time.
        summary: command, corpora and problems; read after the runs, which may add problems.
        level: of compression; None: the default.

    Returns:
        What ledger.json holds: the summary and the number of rows of each file.
    """
    from pyarrow.parquet import ParquetWriter

    folder.mkdir(parents=True, exist_ok=True)
    counts = dict.fromkeys(FILES, 0)
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(
                ParquetWriter(
                    folder / f"{name}.parquet", arrow_schema(columns), compression="zstd", compression_level=level
                )
            )
            for name, columns in FILES.items()
        }
        for group in batched_by_size(runs, lambda tables: len(tables["predictions"]), GROUP):
            for name, writer in writers.items():
                table = concatenate([tables[name] for tables in group])
                writer.write_table(table, max(len(table), 1))  # a row group of each file has the same runs
                counts[name] += len(table)
    command, corpora, problems = (summary[key] for key in ("command", "corpora", "problems"))
    record = {"command": command, "corpora": corpora, **counts, "problems": problems}
    write_record(folder / "ledger.json", record, [folder / name for name in PARQUET])
    return record
