"""Names and labels from elsewhere in what is written: one function for each kind of output.

A file name may hold a line break, an escape sequence of the terminal, or a formula. HTML is escaped by jinja.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from jinja2 import Template

# Where conf/ and local/ lie: beside the library, unless it is installed elsewhere.
ROOT = Path(os.environ.get("SER_ROOT") or Path(__file__).resolve().parents[2])

# Control characters, line separators, changes of the direction of writing, and halves of characters, which stand for
# bytes of a file name that are no UTF-8.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
UNSAFE_IN_LINES = re.compile(r"(?![\n\t])" + UNSAFE.pattern)
FORMULA = re.compile(r"[=+\-@＝＋－＠]\s*\S")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
MARKED = re.compile(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)")


def line(text: object) -> str:
    """Text for a line of a terminal, log or table: what is unsafe as Python writes it, such as \\n or \\x1b."""
    return UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def lines(text: str) -> str:
    """The same of whole lines: line feeds and tabs stay."""
    return UNSAFE_IN_LINES.sub(lambda match: line(match[0]), text)


def csv_cell(value: Any) -> Any:
    """A cell of a CSV file: text as of `line`, with a ' before what a spreadsheet would compute."""
    if not isinstance(value, str):
        return value
    text = line(value)
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text


def command_line(script: str) -> str:
    """The command that runs, as a shell reads it; absolute paths become relative to the toolkit's folder.

    Args:
        script: such as steps/pool.py.
    """
    words = [os.path.relpath(word, ROOT) if os.path.isabs(word) else word for word in sys.argv[1:]]
    return shlex.join([script, *words])


def html_template(path: Path) -> Template:
    """A template of HTML, in which every name and label is escaped and an unknown one is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(path.parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(path.name)


def json_line(value: Any) -> str:
    """JSON in one line; what is unsafe is escaped as JSON has it."""
    return UNSAFE.sub(lambda match: json.dumps(match[0])[1:-1], json.dumps(value, ensure_ascii=False))


def markdown(text: object) -> str:
    """Text, also of a table's cell, that means nothing in Markdown and HTML."""
    escaped = MARKED.sub(r"\\\g<0>", line(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def markdown_code(text: object) -> str:
    """Text as code within a line of Markdown."""
    inner = line(text)
    fence = "`" * (max(map(len, re.findall("`+", inner)), default=0) + 1)
    space = " " if inner[:1] == "`" or inner[-1:] == "`" else ""
    return f"{fence}{space}{inner}{space}{fence}"


def markdown_table(head: Sequence[object], rows: Sequence[Sequence[object]], **options: Any) -> str:
    """A GitHub table of cells as of `markdown`.

    Args:
        head: titles of the columns.
        rows: cells, as many a row as there are titles.
        options: of tabulate.
    """
    from tabulate import tabulate

    cells = [[markdown(cell) for cell in row] for row in rows]
    return str(tabulate(cells, [*map(markdown, head)], tablefmt="github", disable_numparse=True, **options))


class SafeStream:
    """A text stream that writes lines as of `lines`; all else is the stream's own.

    Attributes:
        stream: the one that is written to.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write lines."""
        return self.stream.write(lines(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
