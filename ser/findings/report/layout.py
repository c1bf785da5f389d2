"""Write a table as Markdown and CSV, and its figures as text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ser.common import output
from ser.grid.cells import Cell

Record = Mapping[str, Any]


class Drawn(NamedTuple):
    """A field of a table with an interval, which the page draws beside its text.

    Attributes:
        text: its text.
        value, low, high: fractions; NaN for none.
        mark: position of a dashed line: chance, the baseline, or 0 for a difference; None: no line.
    """

    text: str
    value: float
    low: float
    high: float
    mark: float | None = None

    def __str__(self) -> str:
        return self.text


Row = list[str | Drawn]


@dataclass(frozen=True)
class Table:
    """A table with the same figures as text and as numbers.

    Attributes:
        name: of its files.
        title: heading.
        header, rows: text.
        records: the same figures as fractions with all digits, for the CSV file.
        notes: what is missing, and how to read it.
    """

    name: str
    title: str
    header: Sequence[str]
    rows: Sequence[Row]
    records: Sequence[Record]
    notes: Sequence[str]


def table_markdown(table: Table, notes: Sequence[str] = ()) -> str:
    """A GitHub table with notes below."""
    text = output.markdown_table(table.header, table.rows)
    lines = [f"- {output.markdown(note)}" for note in (*table.notes, *notes)]
    return "\n".join([f"# {output.markdown(table.title)}", "", *([text, ""] if table.rows else []), *lines, ""])


def comma_separated(table: Table, origin: Record) -> str:
    """CSV text: a line for each record.

    Args:
        table: with records.
        origin: further columns, equal in all lines: what the table was made of.
    """
    records = [{**record, **origin} for record in table.records or [{"note": note} for note in table.notes[:1]]]
    columns = [*(dict.fromkeys(key for record in table.records for key in record) or ["note"]), *origin]
    return output.csv_text([columns, *([record.get(key, "") for key in columns] for record in records)])


def percent(value: float) -> str:
    """ "12.5", or "" for NaN."""
    return "" if math.isnan(value) else f"{100 * value:.1f}"


def range_text(values: Sequence[int]) -> str:
    """ "3 to 5", or "3" where all are equal."""
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"


def interval_text(low: float, high: float) -> str:
    """ "4.2 to 20.8"."""
    return "" if math.isnan(low) else f"{100 * low:.1f} to {100 * high:.1f}"


def points(value: float, low: float, high: float) -> str:
    """ "+1.2 (-0.3 to +2.7)", a difference in points."""
    inner = "" if math.isnan(low) else f" ({100 * low:+.1f} to {100 * high:+.1f})"
    return "" if math.isnan(value) else f"{100 * value:+.1f}{inner}"


def difference(value: float, low: float, high: float) -> Drawn:
    """A difference in points with its interval."""
    return Drawn(points(value, low, high) or "cannot be computed", value, low, high, 0)


def score(value: float, low: float, high: float) -> Drawn:
    """A score in percent with its interval."""
    low, high = max(low, 0), min(high, 1)
    inner = "" if math.isnan(low) else f" ({interval_text(low, high)})"
    return Drawn(percent(value) + inner, value, low, high)


def named(cells: Sequence[Cell]) -> str:
    """Names of tied cells."""
    return "; ".join(f"{cell.combination} {cell.task} {cell.temporal} {cell.pooling}" for cell in cells)


def json_value(value: Any) -> Any:
    """The value as JSON holds it, with null for NaN."""
    return json.loads(json.dumps(value), parse_constant=lambda _: None)
