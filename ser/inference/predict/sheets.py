"""A table whose rows name audio files, as CSV or an Excel workbook."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import dropwhile
from pathlib import Path
from typing import Any

from ser.common import InputError
from ser.corpora.columns import COLUMNS
from ser.corpora.table import column_key, read_sheet, read_workbook, strip_accents

TABLES = (".csv", ".tsv", ".xlsx")
PATH_COLUMNS = ("path", "file", "audio", "filename")
SPEAKER_COLUMNS = ("speaker", "speaker_id", "spk")


def read_rows(path: Path, column: str | None = None) -> tuple[str, list[dict[str, Any]], bool]:
    """The name of the path column, the rows as cells by column name, and whether numbers may have a decimal comma.

    CSV is read as that of a corpus (`read_table`); of a workbook the first sheet is read, and its numbers stay numbers.

    Args:
        path: of the table.
        column: of the paths, in upper or lower case; None: the one with a name of PATH_COLUMNS.

    Raises:
        InputError: it cannot be read, has no rows, a row of fewer or more cells than its header, a column name twice,
            or not exactly one column of paths.
    """
    comma = False
    if path.suffix.lower() == ".xlsx":
        head, rows = _workbook(path)
    else:
        head, lines, comma = read_sheet(path)
        rows = [cells for cells, _ in lines]
    if odd := next((name or "(no name)" for name in head if not name or head.count(name) > 1), None):
        raise InputError(f"column {odd}: each column needs a name of its own in the first row", path, "rename it")
    rows = [row for row in rows if any(cell not in ("", None) for cell in row)]
    for number, row in enumerate(rows, 2):
        if len(row) != len(head):
            raise InputError(f"row {number} has {len(row)} cells, and the header {len(head)}", path, "fix the row")
    if not rows:
        raise InputError("holds no rows below its header", path, "complete it")
    return _path_column(path, head, column), [dict(zip(head, row, strict=True)) for row in rows], comma


def columns_named(head: Iterable[str], names: Collection[str]) -> list[str]:
    """Find the columns of a table that have one of some names, in upper or lower case.

    Args:
        head: the columns.
        names: in lower case, with words joined by _.
    """
    return [column for column in head if column_key(column) in names]


def _path_column(path: Path, head: Sequence[str], column: str | None) -> str:
    if column is not None and column in head:
        return column
    names = columns_named(head, (column_key(column),) if column else PATH_COLUMNS)
    if not names and not column:  # in another language, as `ser init-corpus` knows them
        names = [name for name in head if column_key(strip_accents(name)) in COLUMNS["path"].split()]
    if len(names) != 1:
        what = f"no column {column}" if column else f"{len(names)} columns named {', '.join(PATH_COLUMNS)}"
        raise InputError(f"{what}; it has {', '.join(head)}", path, "name the one of paths with --path-column")
    return names[0]


def _workbook(path: Path) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of the first sheet; dates and times as text."""
    lines = dropwhile(lambda row: all(cell in ("", None) for cell in row), read_workbook(path))  # blank rows at the top
    head, *rows = [*lines] or [[]]
    while head and head[-1] is None and all(len(row) < len(head) or row[-1] is None for row in rows):
        head.pop()
        rows = [row[: len(head)] for row in rows]
    rows = [[*row, *[None] * (len(head) - len(row))] for row in rows]
    rows = [
        [cell if cell is None or isinstance(cell, str | int | float) else str(cell) for cell in row] for row in rows
    ]
    return ["" if name is None else str(name) for name in head], rows
