"""Saved ledgers of a grid (option --kept, see ser/findings/ledger/saved.py): their runs count as done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ser.common import as_input_error
from ser.common.records import read_record

COLUMNS = ("config_hash", "data_hash", "split_hash", "code_hashes", "zero_shot")
RESTORE = "restore {} (git checkout), or remove it to train its experiments again"


def read_saved_runs(folder: Path, code: str | None) -> dict[str, dict[str, Any]]:
    """Read config_hash -> COLUMNS of the saved runs, zero_shot parsed.

    Args:
        folder: holds a ledger for each combination of corpora; absent: no run is saved.
        code: the code_hash that a run must have had throughout; None: any.

    Raises:
        InputError: one of the ledgers is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    runs: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*/runs.parquet")):
        restore = RESTORE.format(path.parent)
        read_record(path.with_name("ledger.json"), dict[str, Any], restore, [path.name])
        errors = (OSError, ValueError, LookupError, TypeError, pa.ArrowException)
        with as_input_error("not readable", path, restore, *errors):
            rows = pq.read_table(path, columns=[*COLUMNS]).to_pylist()
            runs |= {row["config_hash"]: {**row, "zero_shot": json.loads(row["zero_shot"])} for row in rows}
    return {name: row for name, row in runs.items() if code is None or set(row["code_hashes"]) == {code}}
