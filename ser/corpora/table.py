"""What a person's own tables say, in the toolkit's terms: labels, speakers, numbers; for corpora that need no code."""

from __future__ import annotations

import csv
import difflib
import io
import math
import os
import re
import unicodedata
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from ser.common import InputError, check_regular
from ser.corpora.issues import RAISED, Issue, Issues
from ser.corpora.protocol import Protocol

GENDERS = {
    "": "",
    **dict.fromkeys(("f", "female", "w", "woman", "feminino", "mulher"), "f"),
    **dict.fromkeys(("m", "male", "man", "masculino", "homem"), "m"),
}
# What speakers and ids do not hold.
NO_SPEAKER, NO_ID = re.compile(r"[^\w.]+"), re.compile(r"[^\w.+-]+")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Lines that are not blank, without the white space around them, each with its "<file>:<line>".

    Raises:
        InputError: absent, or not UTF-8.
    """
    # splitlines() would also end lines at other signs, such as U+2028.
    for number, line in enumerate(read_utf8(path).split("\n"), 1):
        if line.strip():
            yield line.strip(), f"{path}:{number}"


def read_utf8(path: Path) -> str:
    """The text of a file, with or without a byte order mark.

    Raises:
        InputError: absent, or not UTF-8; the line is named.
    """
    check_regular(path, "put it there")
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        fix = "save the table as UTF-8 (in Excel: `CSV UTF-8`)"
        raise InputError("not UTF-8 text", f"{path}:{line}", fix) from None


def read_sheet(path: Path, issues: Issues = RAISED) -> tuple[list[str], list[tuple[list[str], str]], bool]:
    """A CSV, TSV or Excel (.xlsx, the first sheet) file.

    Args:
        path: the file.
        issues: gets rows of another number of fields, which are left out.

    Returns:
        Column names; the rows that are not empty, each with its "<file>:<line>"; whether numbers may have a decimal
        comma.

    Raises:
        InputError: absent, not readable, or without column names.
    """
    if path.suffix.lower() == ".xlsx":
        read, comma = _read_xlsx(path), False
    else:
        read, comma = _read_csv(path)
    if not read:
        raise InputError("empty; the first line names the columns, such as path, speaker, emotion", path)
    header, rows = read[0][1], []
    for line, fields in read[1:]:
        if len(fields) == len(header):
            rows.append((fields, f"{path}:{line}"))
        else:
            what = f"{len(fields)} fields, but {len(header)} columns"
            issues.add(Issue("table", what, f"{path}:{line}", "fix the line"))
    return header, rows, comma


def _read_csv(path: Path) -> tuple[list[tuple[int, list[str]]], bool]:
    text = read_utf8(path)
    skipped = int(text.startswith("sep="))  # a line for Excel
    text = text.partition("\n")[2] if skipped else text
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[int, list[str]]] = []
    line = skipped + 1
    try:
        for fields in reader:
            if any(stripped := [field.strip() for field in fields]):
                rows.append((line, stripped))
            line = skipped + reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"not readable as a table ({error})", f"{path}:{line}", "fix the quotes") from None
    return rows, delimiter != ","


def _read_xlsx(path: Path) -> list[tuple[int, list[str]]]:
    rows = read_workbook(path)
    width = max((i + 1 for row in rows[:1] for i, value in enumerate(row) if value is not None), default=0)
    texts = [["" if v is None else str(v).strip() for v in row[:width]] for row in rows]
    return [(line, fields + [""] * (width - len(fields))) for line, fields in enumerate(texts, 1) if any(fields)]


def read_workbook(path: Path) -> list[list[Any]]:
    """Cells of the first sheet of an Excel file, as openpyxl gives them; None where one is empty.

    Raises:
        InputError: absent or not readable.
    """
    check_regular(path, "put it there")
    from openpyxl import load_workbook

    try:
        book = load_workbook(path, read_only=True, data_only=True)
        return [list(row) for row in book.worksheets[0].iter_rows(values_only=True)]
    except Exception as error:  # what a damaged file raises is not documented
        reason = " ".join(str(error).split())
        raise InputError(f"not readable as an Excel file ({reason})", path, "save it as `CSV UTF-8`") from None


def plain(name: str) -> str:
    """A column's name in lower case, its words joined by _."""
    return "_".join(name.casefold().replace("-", " ").split())


def without_accents(text: str) -> str:
    """Letters without the signs above or below them; ß as ss."""
    parts = unicodedata.normalize("NFD", text.replace("ß", "ss"))
    return "".join(sign for sign in parts if not unicodedata.combining(sign))


def existing_file(path: Path) -> Path | None:
    """The file of that name; each part that is absent as it is written is compared in NFC, as macOS writes NFD.

    Returns:
        The path as it is on disk; None where no file, or more than one, has that name.
    """
    if os.path.isfile(path):  # Path.is_file raises where a name is too long
        return path
    existing = Path(path.anchor)
    for part in path.relative_to(path.anchor).parts:
        if not os.path.lexists(existing / part):
            same = _same_names(existing, part)
            if len(same) != 1:
                return None
            part = same[0]
        existing /= part
    return existing if os.path.isfile(existing) else None


def _same_names(folder: Path, name: str) -> list[str]:
    """What lies in a folder under a name that is the same in NFC."""
    if name.isascii():
        return []
    wanted = unicodedata.normalize("NFC", name)
    try:
        return [other for other in os.listdir(folder) if unicodedata.normalize("NFC", other) == wanted]
    except OSError:
        return []


def find_label(protocol: Protocol, text: str, origin: str) -> str:
    """The protocol's spelling of a label, whatever its case and its white space.

    Args:
        text: of the table.
        origin: "<file>:<line>".

    Raises:
        Issue: it has none.
    """
    if text in protocol.labels:
        return text
    known = _by_folded(tuple(protocol.labels))
    if folded(text) not in known:
        near = difflib.get_close_matches(folded(text), known, n=1)
        raise unknown_label(protocol, text, origin, f" (did you mean {known[near[0]]}?)" if near else "")
    return known[folded(text)]


@lru_cache
def _by_folded(labels: tuple[str, ...]) -> dict[str, str]:
    return {folded(label): label for label in reversed(labels)}


def unknown_label(protocol: Protocol, label: str, origin: str, hint: str = "") -> Issue:
    """The issue of a label that a protocol does not know.

    Args:
        label: as it is written.
        origin: what names it, a line or a file.
        hint: behind the label.
    """
    what = f"unknown label {label!r}{hint}; {protocol.path} knows {', '.join(protocol.labels)}: map it there, or to "
    return Issue("unknown labels", f"{what}null to leave it out", origin)


class Names:
    """Names of speakers and utterances that Kaldi's tables can hold; each replacement is reported at the end.

    Args:
        corpus: becomes the prefix.
    """

    def __init__(self, corpus: str) -> None:
        self.corpus = corpus
        self.replaced: dict[str, str] = {}
        self.speakers: dict[str, tuple[str, str]] = {}

    def speaker(self, name: str, origin: str) -> str:
        """`<corpus>_<name>`; a dash too becomes _, so that utterances sort as their speakers do.

        Raises:
            Issue: two names differ in nothing but case or such signs.
        """
        clean = self._clean(name, NO_SPEAKER)
        other, there = self.speakers.setdefault(clean.casefold(), (name, origin))
        if other != name:
            what = f"speaker {name!r} can hardly be distinguished from {other!r} in {there}"
            raise Issue("speakers", what, origin, "write both the same, or give one another name")
        return self.prefixed(clean)

    def rest(self, name: str) -> str:
        """What stands behind the speaker in an utterance id, or names a recording."""
        return self._clean(name, NO_ID)

    def prefixed(self, name: str) -> str:
        """With the corpus's name before it, unless it stands there already; an empty name stays empty."""
        return name if not name or name.startswith(f"{self.corpus}_") else f"{self.corpus}_{name}"

    def warn(self, path: Path) -> None:
        """Warn of what was replaced."""
        if self.replaced:
            shown = ", ".join(f"{name!r} -> {clean}" for name, clean in list(self.replaced.items())[:3])
            more = ", ..." if len(self.replaced) > 3 else ""
            warnings.warn(
                f"{path}: {len(self.replaced)} names have signs that ids cannot have; _ stands for them: {shown}{more}",
                stacklevel=2,
            )

    def _clean(self, name: str, odd: re.Pattern[str]) -> str:
        composed = name.strip() if name.isascii() else unicodedata.normalize("NFC", name.strip())
        clean = odd.sub("_", composed)
        if clean != composed:
            self.replaced[name] = clean
        return clean


def seconds(text: str, what: str, origin: str, comma: bool = False) -> float:
    """A number of seconds.

    Args:
        comma: whether a decimal comma can be meant.

    Raises:
        Issue: it is none.
    """
    plain = text.replace(",", ".") if comma else text
    if not NUMBER.fullmatch(plain) or math.isinf(float(plain)):
        raise Issue("table", f"{what} {text!r}: a number of seconds, such as 12.5", origin)
    return float(plain)


def gender(text: str, origin: str) -> str:
    """ "f", "m" or "".

    Raises:
        Issue: something else.
    """
    found = GENDERS.get(text.strip().casefold())
    if found is None:
        raise Issue("table", f"gender {text!r}: write f or m, or leave it empty", origin)
    return found


def folded(label: str) -> str:
    """What labels are compared by: their white space and case do not count."""
    return " ".join(unicodedata.normalize("NFC", label).split()).casefold()
