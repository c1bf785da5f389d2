"""Escape names and labels for output: one function for each format.

A file name may contain a line break, a terminal escape sequence or a formula. HTML is escaped by jinja.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from jinja2 import Template

# Folder of conf/ and local/: that of the library, or SER_ROOT if it is installed elsewhere.
ROOT = Path(os.environ.get("SER_ROOT") or Path(__file__).resolve().parents[2])

# Control characters, line separators, bidirectional controls, and surrogates, which stand for bytes of a file name that
# are not UTF-8.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
UNSAFE_IN_LINES = re.compile(r"(?![\n\t])" + UNSAFE.pattern)
FORMULA = re.compile(r"[=+\-@＝＋－＠]\s*\S")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
MARKED = re.compile(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)")


def line(text: object) -> str:
    """Escape text for one line of a terminal, log or table: unsafe characters as in Python, such as \\n or \\x1b."""
    return UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def lines(text: str) -> str:
    """Escape text of several lines: line feeds and tabs stay."""
    return UNSAFE_IN_LINES.sub(lambda match: line(match[0]), text)


def csv_cell(value: Any) -> Any:
    """Escape a cell of a CSV file: text as by `line`, with a ' before text that a spreadsheet would compute."""
    if not isinstance(value, str):
        return value
    text = line(value)
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text


def csv_text(rows: Iterable[Iterable[Any]], comma: bool = False) -> str:
    """Format rows as CSV with cells as by `csv_cell`; lines end in a line feed.

    Args:
        rows: cells.
        comma: write decimal commas, and semicolons between cells.
    """

    def cell(value: Any) -> Any:
        return str(value).replace(".", ",") if comma and isinstance(value, float) else csv_cell(value)

    text = io.StringIO()
    csv.writer(text, delimiter=";" if comma else ",", lineterminator="\n").writerows(map(cell, row) for row in rows)
    return text.getvalue()


def command_line(script: str) -> str:
    """The command line of this process, quoted for a shell; absolute paths become relative to the toolkit.

    Args:
        script: path of the program, such as steps/pool.py.
    """
    words = [os.path.relpath(word, ROOT) if os.path.isabs(word) else word for word in sys.argv[1:]]
    return shlex.join([script, *words])


def html_template(path: Path) -> Template:
    """Load an HTML template that escapes every value and refuses unknown variables."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(path.parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(path.name)


def json_line(value: Any) -> str:
    """Write a value as JSON in one line, with unsafe characters escaped."""
    return UNSAFE.sub(lambda match: json.dumps(match[0])[1:-1], json.dumps(value, ensure_ascii=False))


def markdown(text: object) -> str:
    """Escape text for Markdown and HTML, also in the cell of a table."""
    escaped = MARKED.sub(r"\\\g<0>", line(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def markdown_code(text: object) -> str:
    """Quote text as inline code of Markdown."""
    inner = line(text)
    fence = "`" * (max(map(len, re.findall("`+", inner)), default=0) + 1)
    space = " " if inner[:1] == "`" or inner[-1:] == "`" else ""
    return f"{fence}{space}{inner}{space}{fence}"


def markdown_table(head: Sequence[object], rows: Sequence[Sequence[object]], **options: Any) -> str:
    """Format a Markdown table with escaped cells.

    Args:
        head: titles of the columns.
        rows: cells, one per column.
        options: of tabulate.
    """
    from tabulate import tabulate

    cells = [[markdown(cell) for cell in row] for row in rows]
    return str(tabulate(cells, [*map(markdown, head)], tablefmt="github", disable_numparse=True, **options))


class SafeStream:
    """A text stream that escapes what it writes by `lines`; other attributes are those of the stream.

    Attributes:
        stream: the underlying stream; in place of a closed one, for which Python has None, the null device.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 # open to the end

    def write(self, text: str) -> int:
        """Write escaped text."""
        return self.stream.write(lines(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
