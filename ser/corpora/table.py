"""Read a user's own tables (CSV, TSV, Excel), and convert their labels, speakers and numbers."""

from __future__ import annotations

import csv
import difflib
import io
import math
import os
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ser.common import InputError, as_input_error, check_regular
from ser.corpora.issues import RAISE_ALL, Issue, Issues
from ser.corpora.protocol import Protocol

FEMALE = (
    "f fem female w woman girl weiblich frau madchen maedchen feminin feminine femme fille femenino femenina mujer "
    "nina feminino feminina mulher menina femminile femmina donna ragazza"
)
MALE = (
    "m masc male man boy h mannlich maennlich mann junge masculin masculine homme garcon masculino masculina hombre "
    "nino varon homem menino maschile maschio uomo ragazzo"
)
GENDERS = {"": "", **dict.fromkeys(FEMALE.split(), "f"), **dict.fromkeys(MALE.split(), "m")}
# Part of a split -> its names in tables.
PART_NAMES = {
    "train": "train training treino treinamento entrenamiento entrainement addestramento",
    "valid": "valid validation val dev devel development validacao validacion validazione validierung",
    "test": "test testing teste prueba",
}
# White space, as far as U+3000, and invisible characters: what a cell does not have at its ends.
BLANK = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
MISSING = {"", "nan", "<na>", "na", "n/a", "null", "none"}
EXCEL_ERROR = re.compile(r"#(\S+[!?]|N/?[ADV])", re.IGNORECASE)  # in several languages: #REF!, #BEZUG!, #N/A, #NV, #N/D
# Characters that speakers and ids must not have.
NOT_IN_SPEAKER, NOT_IN_ID = re.compile(r"[^\w.]+"), re.compile(r"[^\w.+-]+")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the lines that are not blank, stripped, each with its "<file>:<line>".

    Raises:
        InputError: the file is absent or not UTF-8.
    """
    # splitlines() would also split at other characters, such as U+2028.
    for number, line in enumerate(read_utf8(path).split("\n"), 1):
        if line.strip():
            yield line.strip(), f"{path}:{number}"


def stripped_cell(text: str) -> str:
    """A cell without white space and invisible characters, such as U+200B, at its ends."""
    return text.strip(BLANK)


def read_utf8(path: Path) -> str:
    """Read a UTF-8 file, without its byte order mark if it has one.

    Raises:
        InputError: the file is absent, or not UTF-8; the line is named.
    """
    check_regular(path, "put it there")
    data = path.read_bytes()
    try:
        if (start := data.find(b"\0")) < 0:  # text never has it, but for UTF-16
            return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = error.start
    line = data.count(b"\n", 0, start) + 1
    raise InputError("not UTF-8 text", f"{path}:{line}", "save the table as UTF-8 (in Excel: `CSV UTF-8`)")


def read_sheet(path: Path, issues: Issues = RAISE_ALL) -> tuple[list[str], list[tuple[list[str], str]], bool]:
    """Read a CSV, TSV or Excel (.xlsx, the first sheet) file.

    Args:
        path: the file.
        issues: gets rows whose number of fields is not that of the columns; they are left out.

    Returns:
        Column names; the rows that are not empty, each with its "<file>:<line>"; whether numbers may have a decimal
        comma.

    Raises:
        InputError: the file is absent, not readable, or without column names.
    """
    if path.suffix.lower() == ".xlsx":
        lines, comma = _read_xlsx(path), False
    else:
        lines, comma = _read_csv(path)
    if not lines:
        raise InputError("empty; the first line names the columns, such as path, speaker, emotion", path)
    header, rows = lines[0][1], []
    for line, fields in lines[1:]:
        if len(fields) == len(header):
            rows.append((fields, f"{path}:{line}"))
        else:
            what = f"{len(fields)} fields, but {len(header)} columns"
            issues.add(Issue("table", what, f"{path}:{line}", "fix the line"))
    return header, rows, comma


def check_columns(columns: Sequence[str], header: Sequence[str], origin: str) -> None:
    """Check that each column has a name of its own.

    Args:
        columns: names by which the columns are used.
        header: their names in the table.
        origin: "<file>:<line>".

    Raises:
        InputError: a name is empty, or appears twice.
    """
    for number, column in enumerate(columns):
        if not column:
            raise InputError(f"column {number + 1} has no name", origin, "give it one")
        if column in columns[:number]:
            raise InputError(f"column {header[number]} appears twice", origin, "remove one")


def _read_csv(path: Path) -> tuple[list[tuple[int, list[str]]], bool]:
    text = read_utf8(path)
    separator = re.match("sep=([,;\t]?)", text, re.IGNORECASE)  # a line for Excel
    skipped = int(separator is not None)
    text = text.partition("\n")[2] if skipped else text
    first = next((line for line in text.splitlines() if line.strip()), "")
    unquoted = re.sub(r'"[^"]*("|$)', "", first)
    delimiter = (separator and separator[1]) or max(",;\t", key=unquoted.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[int, list[str]]] = []
    line = skipped + 1
    try:
        for fields in reader:
            if any(cells := [stripped_cell(field) for field in fields]):
                rows.append((line, cells))
            line = skipped + reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"not readable as a table ({error})", f"{path}:{line}", "fix the quotes") from None
    return rows, delimiter != ","


def _read_xlsx(path: Path) -> list[tuple[int, list[str]]]:
    texts = [["" if value is None else stripped_cell(str(value)) for value in row] for row in read_workbook(path)]
    header: list[str] = next(filter(any, texts), [])  # the first row that is not blank
    width = max((number for number, text in enumerate(header, 1) if text), default=0)
    texts = [fields[:width] for fields in texts]
    return [(line, fields + [""] * (width - len(fields))) for line, fields in enumerate(texts, 1) if any(fields)]


def read_workbook(path: Path) -> list[list[Any]]:
    """Read the cells of the first sheet of an Excel file, as openpyxl gives them; an empty cell is None.

    A warning names the other sheets that are not empty.

    Raises:
        InputError: the file is absent or not readable.
    """
    check_regular(path, "put it there")
    from openpyxl import load_workbook

    def read(data_only: bool) -> list[list[Any]]:
        first, *others = load_workbook(path, read_only=True, data_only=data_only).worksheets
        if names := [s.title for s in others if any(cell is not None for row in s.values for cell in row)]:
            warnings.warn(f"{path}: only its first sheet, {first.title}, is read, not {', '.join(names)}", stacklevel=3)
        return [list(row) for row in first.values]

    # openpyxl does not document what a damaged file raises.
    with as_input_error("not readable as an Excel file", path, "save it as `CSV UTF-8`", Exception):
        rows = read(True)
        empty = [n for n, cells in enumerate(zip_longest(*rows[1:])) if all(cell is None for cell in cells)]
        if any(str(row[n]).startswith("=") for row in (read(False) if empty else []) for n in empty if n < len(row)):
            what = "holds formulas without their values; open it in a spreadsheet program and save it there"
            warnings.warn(f"{path}: {what}", stacklevel=2)
    return rows


def column_key(name: str) -> str:
    """Normalise a column's name: lower case, words joined by _."""
    return "_".join(name.casefold().replace("-", " ").split())


def strip_accents(text: str) -> str:
    """Remove the accents of letters, and write ß as ss."""
    parts = unicodedata.normalize("NFD", text.replace("ß", "ss"))
    return "".join(character for character in parts if not unicodedata.combining(character))


def existing_file(path: Path) -> Path | None:
    """Find a file whose name on disk may have another Unicode normal form, as macOS writes NFD.

    Returns:
        The path as it is on disk; None if no file, or more than one, has that name.
    """
    if os.path.isfile(path):  # Path.is_file raises if a name is too long
        return path
    existing = Path(path.anchor)
    for part in path.relative_to(path.anchor).parts:
        if not os.path.lexists(existing / part):
            names = _equal_names(existing, part)
            if len(names) != 1:
                return None
            part = names[0]
        existing /= part
    return existing if os.path.isfile(existing) else None


def find_file(paths: Sequence[Path], name: str | Path, origin: str) -> Path:
    """Find the first of several paths at which there is a file, as `existing_file` does.

    Args:
        paths: where the file may be.
        name: the file in messages.
        origin: "<file>:<line>" that names it.

    Raises:
        Issue: there is no such file, or a folder on the way to it may not be entered.
    """
    for path in paths:
        if existing := existing_file(path):
            return existing
    for path in paths:
        try:
            os.stat(path)
        except PermissionError as error:
            what = f"{path}: cannot be read ({error.strerror})"
            raise Issue("missing files", what, origin, "change the permissions of the file or its folders") from None
        except (OSError, ValueError):
            continue
    raise Issue("missing files", f"{name}: no such file", origin, "fix the path, or put the file there")


def _equal_names(folder: Path, name: str) -> list[str]:
    """List the names in a folder that equal a name in NFC."""
    if name.isascii():
        return []
    composed = unicodedata.normalize("NFC", name)
    try:
        return [other for other in os.listdir(folder) if unicodedata.normalize("NFC", other) == composed]
    except OSError:
        return []


def is_missing(text: str) -> bool:
    """Whether a cell is empty, or means so: an error of Excel, or what pandas, R and databases write for no value."""
    return text.casefold() in MISSING or EXCEL_ERROR.fullmatch(text) is not None


def find_label(protocol: Protocol, text: str, origin: str) -> str:
    """Find a label in the protocol; case and white space do not count.

    Args:
        protocol: of the corpus.
        text: label as the table has it.
        origin: "<file>:<line>".

    Returns:
        The label as the protocol spells it.

    Raises:
        Issue: the protocol has no such label.
    """
    if text in protocol.labels:
        return text
    known = _labels_by_key(tuple(protocol.labels))
    if not has_label(protocol, text):
        near = difflib.get_close_matches(label_key(text), known, n=1)
        raise unknown_label(protocol, text, origin, f" (did you mean {known[near[0]]}?)" if near else "")
    return known[label_key(text)]


def has_label(protocol: Protocol, text: str) -> bool:
    """Whether a protocol has a label, as `find_label` finds it."""
    return label_key(text) in _labels_by_key(tuple(protocol.labels))


@lru_cache
def _labels_by_key(labels: tuple[str, ...]) -> dict[str, str]:
    return {label_key(label): label for label in reversed(labels)}


def unknown_label(protocol: Protocol, label: str, origin: str, hint: str = "") -> Issue:
    """Make the issue of a label that the protocol does not have.

    Args:
        protocol: of the corpus.
        label: as the table or file name has it.
        origin: the line or file that has the label.
        hint: text after the label.
    """
    what = f"unknown label {label!r}{hint}; {protocol.path} knows {', '.join(protocol.labels)}: map it there, or to "
    return Issue("unknown labels", f"{what}null to leave it out", origin)


class Names:
    """Make speaker and utterance ids that are valid in Kaldi's tables, and warn of replaced characters at the end.

    Args:
        corpus: prefix of the ids.
    """

    def __init__(self, corpus: str) -> None:
        self.corpus = corpus
        self.replaced: dict[str, str] = {}
        self.speakers: dict[str, tuple[str, str]] = {}

    def speaker(self, name: str, origin: str) -> str:
        """Make a speaker id, `<corpus>_<name>`; a dash becomes _, so that utterances sort as their speakers do.

        Args:
            name: speaker as the table has it.
            origin: "<file>:<line>".

        Raises:
            Issue: another speaker's name differs only in case or in replaced characters.
        """
        name = unicodedata.normalize("NFC", name)
        clean = self._clean(name, NOT_IN_SPEAKER)
        other, other_origin = self.speakers.setdefault(clean.casefold(), (name, origin))
        if other != name:
            what = f"speaker {name!r} can hardly be distinguished from {other!r} in {other_origin}"
            raise Issue("speakers", what, origin, "write both the same, or give one another name")
        return self.prefixed(clean)

    def clean_id(self, name: str) -> str:
        """Make the part of an utterance id behind the speaker, or the id of a recording."""
        return self._clean(name, NOT_IN_ID)

    def prefixed(self, name: str) -> str:
        """Add the corpus as prefix, unless the name has it already; an empty name stays empty."""
        return name if not name or name.startswith(f"{self.corpus}_") else f"{self.corpus}_{name}"

    def warn(self, path: Path) -> None:
        """Warn of the names in which characters were replaced."""
        if self.replaced:
            shown = ", ".join(f"{name!r} -> {clean}" for name, clean in list(self.replaced.items())[:3])
            more = ", ..." if len(self.replaced) > 3 else ""
            number = len(self.replaced)
            warnings.warn(
                f"{path}: {number} names have characters that ids cannot have, replaced by _: {shown}{more}",
                stacklevel=2,
            )

    def _clean(self, name: str, invalid: re.Pattern[str]) -> str:
        composed = name.strip() if name.isascii() else unicodedata.normalize("NFC", name.strip())
        clean = invalid.sub("_", composed)
        if clean != composed:
            self.replaced[name] = clean
        return clean


def parse_seconds(text: str, what: str, origin: str, comma: bool = False) -> float:
    """Parse a number of seconds.

    Args:
        text: field of the table.
        what: name of the field, for messages.
        origin: "<file>:<line>".
        comma: whether a decimal comma is allowed.

    Raises:
        Issue: the text is not a finite number.
    """
    number = text.replace(",", ".") if comma else text
    if not NUMBER.fullmatch(number) or math.isinf(float(number)):
        raise Issue("table", f"{what} {text!r}: a number of seconds, such as 12.5", origin)
    return float(number)


def parse_segment(row: Mapping[str, str], origin: str, comma: bool = False) -> tuple[float, float | None, int | None]:
    """Parse the columns start, end or duration, and channel of a row; a duration without `start` is that of the file.

    Args:
        row: cells by column; absent columns count as empty.
        origin: "<file>:<line>".
        comma: whether a decimal comma is allowed.

    Returns:
        Start in seconds; end, or None for the end of the file; channel from 0, or None.

    Raises:
        Issue: a cell is not such a number, or the end is not after the start.
    """
    start = parse_seconds(row["start"], "start", origin, comma) if row.get("start") else 0.0
    end = parse_seconds(row["end"], "end", origin, comma) if row.get("end") else -1
    if "start" in row and not row.get("end") and row.get("duration"):
        duration = parse_seconds(row["duration"], "duration", origin, comma)
        end = -1 if duration == -1 else round(start + duration, 9)
    if start < 0 or (end != -1 and end <= start):
        raise Issue("segments", f"starts at {start:g} s and ends at {end:g} s", origin, "fix the times")
    channel = row.get("channel", "")
    pattern = f"([0-9]{{1,9}})([{'.,' if comma else '.'}]0*)?"  # 1.0 in tables that pandas wrote
    number = channel and re.fullmatch(pattern, channel)
    if channel and not number:
        raise Issue("table", f"channel {channel!r}: a number from 0", origin, "fix the cell")
    return start, None if end == -1 else end, int(number[1]) if number else None


def parse_gender(text: str, origin: str) -> str:
    """Convert a gender in one of several languages to "f", "m" or "" (not known).

    Args:
        text: field of the table.
        origin: "<file>:<line>".

    Raises:
        Issue: the text is no gender.
    """
    gender = GENDERS.get(_gender_key(text))
    if gender is None:
        raise Issue("table", f"gender {text!r}: write f or m, or leave it empty", origin)
    return gender


class Genders:
    """Convert the genders of a column as `parse_gender` does, and warn at the end of the words that are no gender.

    Args:
        column: all words of the column. M beside H, without F, is female: mujer and hombre, or mulher and homem.
    """

    def __init__(self, column: Iterable[str]) -> None:
        words = set(map(_gender_key, column))
        self.known = GENDERS | ({"m": "f"} if "h" in words and "f" not in words else {})
        self.unknown: Counter[str] = Counter()

    def parse(self, text: str) -> str:
        """Convert a field to "f", "m" or "" (not known)."""
        gender = self.known.get(_gender_key(text))
        if gender is None:
            self.unknown[text] += 1
        return gender or ""

    def warn(self, path: Path) -> None:
        """Warn of the words that are no gender."""
        if self.unknown:
            shown = ", ".join(f"{text!r} ({number})" for text, number in self.unknown.most_common(5))
            what = f"the gender of {self.unknown.total()} utterances is not known, since it is neither f nor m"
            warnings.warn(f"{path}: {what}: {shown}{', ...' if len(self.unknown) > 5 else ''}", stacklevel=2)


def _gender_key(text: str) -> str:
    return strip_accents(text.strip().casefold())


def parse_part(text: str) -> str | None:
    """Convert the name of a part of a split to "train", "valid" or "test"; None if it is no such name."""
    name = column_key(strip_accents(text))
    return next((part for part, names in PART_NAMES.items() if name in names.split()), None)


def label_key(label: str) -> str:
    """Normalise a label for comparison: white space and case do not count."""
    return " ".join(unicodedata.normalize("NFC", label).split()).casefold()
