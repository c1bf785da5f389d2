"""Gzipped JSON lines, the format of the manifests of lhotse."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from ser.common.errors import InputError
from ser.common.files import atomic_path, check_regular

T = TypeVar("T")


def write_json_lines(path: Path, rows: Iterable[Any]) -> None:
    """Write one JSON value per line, atomically; equal values give equal bytes.

    Args:
        path: `*.jsonl.gz`.
        rows: values as JSON allows.
    """
    encode = json.JSONEncoder(ensure_ascii=False).encode
    # Level 9, the default of gzip, takes four times as long as level 6 and saves a tenth.
    with (
        atomic_path(path) as temporary,
        gzip.GzipFile(temporary, "wb", compresslevel=6, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8") as file,
    ):
        file.writelines(encode(row) + "\n" for row in rows)


def read_json_lines(path: Path, convert: Callable[[Any], T], what: str) -> list[T]:
    """Read a file of stage 1 or 2, or of lhotse.

    Args:
        path: `*.jsonl.gz`.
        convert: function from the value of a line to the returned one; may raise LookupError, TypeError or ValueError.
        what: kind of the file, for the error.

    Raises:
        InputError: the file is absent or not of this kind.
    """
    check_regular(path, "run stage 1")
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return [convert(json.loads(line)) for line in file]
    except (OSError, EOFError, ValueError, LookupError, TypeError, RecursionError, zlib.error) as error:
        raise InputError(f"not readable as {what} ({error})", path, "remove it and run stage 1") from None
