"""Runs that a kept ledger holds (ser/findings/ledger/kept.py): they count as done where nothing else is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ser.common import InputError
from ser.common.records import read_record

COLUMNS = ("config_hash", "data_hash", "split_hash", "code_hashes", "zero_shot")


def read_kept(folder: Path, code: str | None) -> dict[str, dict[str, Any]]:
    """config_hash -> its other columns, zero_shot read.

    Args:
        folder: holds a ledger for each combination of corpora; absent: none is kept.
        code: the code_hash of runs that count, in all that had a part in them; None: any.

    Raises:
        InputError: one of the ledgers is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*/runs.parquet")):
        again = f"restore {path.parent} (git checkout), or remove it to train its experiments again"
        read_record(path.with_name("ledger.json"), dict[str, Any], again, [path.name])
        try:
            rows = pq.read_table(path, columns=[*COLUMNS]).to_pylist()
            found |= {row["config_hash"]: {**row, "zero_shot": json.loads(row["zero_shot"])} for row in rows}
        except (OSError, ValueError, LookupError, TypeError, pa.ArrowException) as error:
            raise InputError(f"not readable ({' '.join(str(error).split())})", path, again) from None
    return {name: row for name, row in found.items() if code is None or set(row["code_hashes"]) == {code}}
