"""JSON lines, mostly gzipped: the format of the manifests of lhotse."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from ser.common.errors import as_input_error
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


def read_json_lines(
    path: Path, convert: Callable[[Any], T], what: str, fix: str = "remove it and run stage 1"
) -> list[T]:
    """Read a file of stage 1 or 2, or of lhotse, without its byte order mark and blank lines.

    Args:
        path: `*.gz` is gzipped, other files are plain.
        convert: function from the value of a line to the returned one; may raise LookupError, TypeError or ValueError.
        what: kind of the file, for the error.
        fix: what to do about a file of another kind.

    Raises:
        InputError: the file is absent or not of this kind.
    """
    check_regular(path, "run stage 1")
    unreadable, open_text = f"not readable as {what}", gzip.open if path.suffix == ".gz" else open
    errors = (OSError, EOFError, ValueError, LookupError, TypeError, RecursionError, zlib.error)
    with as_input_error(unreadable, path, fix, *errors), open_text(path, "rt", encoding="utf-8-sig") as file:
        return [convert(json.loads(line)) for line in file if not line.isspace()]
