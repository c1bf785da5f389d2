"""Predictions as a table, CSV, JSON lines, an Excel workbook or a Kaldi ark; always with the names of the labels."""

from __future__ import annotations

import io
import os
import sys
import urllib.parse
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ser.audio import READABLE_SUFFIXES
from ser.common import InputError, atomic_path, write_text
from ser.common.output import UNSAFE, SafeStream, csv_text, json_line, line, lines
from ser.inference.base import ABSTAINED
from ser.inference.predict.answers import Prediction
from ser.inference.predict.inputs import Source

Write = Callable[[Prediction], None]
FILE = "file"
BOM = "\ufeff"
SIDE_FILES = (".partial", ".partial.run.json", ".run.json")  # endings after the name of a file of answers
ARK_SUFFIXES = (".scp", ".labels", ".warnings", ".errors")
KALDI_LISTS = ("wav.scp", "segments", "utt2spk")
SHEET_ROWS = 1_048_575  # of a sheet of Excel, below its header
CELL_CHARACTERS = 32_767


@dataclass(frozen=True)
class Layout:
    """Columns of a table of answers, and how CSV is written.

    Attributes:
        classes: with a column of posteriors each.
        columns: of the input table, which come first; without a table the file.
        path_column: the one of these that names the file.
        excel: CSV begins with a byte order mark, so that Excel reads UTF-8.
        comma: CSV has decimal commas, and semicolons between cells.
    """

    classes: tuple[str, ...]
    columns: tuple[str, ...] = (FILE,)
    path_column: str = FILE
    excel: bool = False
    comma: bool = False

    @property
    def delimiter(self) -> str:
        """Between the cells of CSV."""
        return ";" if self.comma else ","

    @property
    def heading(self) -> list[str]:
        """Names of the columns; a name that the input table has already gets the prefix predicted_."""
        names = ["channel", "seconds", "label", "confidence", *self.classes, "warnings", "error"]
        for number, name in enumerate(names):
            while name in self.columns:
                name = f"predicted_{name}"
            names[number] = name
        return [*self.columns, *names]

    def values(self, p: Prediction) -> list[Any]:
        """The cells of a prediction, None for an empty one; numbers as numbers."""
        given = [p.columns[name] for name in self.columns] if p.columns else [p.id]
        values: list[Any] = [None] * (3 + len(self.classes))
        if not p.error:
            posteriors = (round(p.posteriors[name], 7) for name in self.classes)
            values = [round(p.seconds, 6), p.label or ABSTAINED, round(p.confidence, 7), *posteriors]
        return [*given, p.channel, *values, "; ".join(p.warnings) or None, p.error or None]

    def csv_line(self, values: Sequence[Any]) -> str:
        """A line of CSV, as it is written to a file."""
        return csv_text([values], self.comma)

    @property
    def csv_heading(self) -> str:
        """The first line of CSV."""
        return (BOM if self.excel else "") + self.csv_line(self.heading)


def writer(form: str, out: Path | IO[str] | None, layout: Layout, ids: Sequence[str]) -> AbstractContextManager[Write]:
    """A function that writes predictions one by one, to standard output or a file.

    A workbook and an ark are written at once at the end. Other formats go to an open file (`resume.partial_answers`),
    and get a header if it is empty. CSV and JSON lines are UTF-8, a table on standard output has the encoding of that.

    Args:
        form: "xlsx", "ark" or one of FORMS.
        ids: of all predictions to come, for the width of a table.

    Raises:
        InputError: a workbook or an ark to standard output, an ark of an id that appears twice, or a workbook of too
            many rows.
    """
    if form == "ark":
        if not isinstance(out, Path) or out.suffix.lower() != ".ark":
            what = "give --out <name>.ark; <name>.scp and <name>.labels are written beside it"
            raise InputError(what, "--format ark")
        if twice := next((name for name, count in Counter(ids).items() if count > 1), ""):
            raise InputError(f"{twice} is given twice", "--format ark", "give it once, or choose another format")
        return _ark(out, layout.classes)
    if form == "xlsx":
        if not isinstance(out, Path) or out.suffix.lower() != ".xlsx":
            raise InputError("give --out <name>.xlsx", "--format xlsx")
        if len(ids) > SHEET_ROWS:
            raise InputError(f"{len(ids)} rows, and a sheet holds {SHEET_ROWS}", "--format xlsx", "choose --format csv")
        return _workbook(out, layout)
    if out is None:
        stream = sys.stdout.stream if isinstance(sys.stdout, SafeStream) else sys.stdout
        if isinstance(stream, io.TextIOWrapper):
            encoding = stream.encoding if form == "table" else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")
        return nullcontext(WRITERS[form](sys.stdout, layout, ids, True))
    assert not isinstance(out, Path)
    return nullcontext(WRITERS[form](out, layout, ids, not out.tell()))


def _table(file: IO[str], layout: Layout, ids: Sequence[str], header: bool) -> Write:
    classes = layout.classes
    width = max([4, *(len(line(name)) for name in ids)]) + 2  # room for a channel
    names = max(5, *(len(line(name)) for name in classes))
    columns = [max(6, len(line(name))) for name in classes]
    heads = "  ".join(f"{line(name):>{size}}" for name, size in zip(classes, columns, strict=True))
    if header:
        print(f"{'file':<{width}}  {'label':<{names}}  confidence  {heads}  warnings", file=file, flush=True)

    def write(p: Prediction) -> None:
        if p.error:
            print(f"{line(p.key):<{width}}  error: {line(p.error)}", file=file, flush=True)
        else:
            values = "  ".join(f"{p.posteriors[n]:>{size}.3f}" for n, size in zip(classes, columns, strict=True))
            answer = f"{line(p.label or ABSTAINED):<{names}}  {p.confidence:>10.3f}"
            text = f"{line(p.key):<{width}}  {answer}  {values}  {line('; '.join(p.warnings))}"
            print(text.rstrip(), file=file, flush=True)

    return write


def _csv(file: IO[str], layout: Layout, ids: Sequence[str], header: bool) -> Write:
    if header:
        file.write(layout.csv_heading)

    def write(p: Prediction) -> None:
        file.write(layout.csv_line(layout.values(p)))
        file.flush()

    return write


def _jsonl(file: IO[str], layout: Layout, ids: Sequence[str], header: bool) -> Write:
    def write(p: Prediction) -> None:
        row: dict[str, object] = {"file": p.id, "channel": p.channel}
        if p.error:
            row["error"] = p.error
        else:
            row |= {"seconds": round(p.seconds, 6), "label": p.label, "confidence": round(p.confidence, 7)}
            row |= {"posteriors": {name: round(value, 7) for name, value in p.posteriors.items()}}
        row |= {"warnings": list(p.warnings)}
        if p.columns:
            row["table"] = dict(p.columns)
        print(json_line(row), file=file, flush=True)

    return write


@contextmanager
def _workbook(out: Path, layout: Layout) -> Iterator[Write]:
    """One sheet with a frozen header. Text is written as text, never as a formula."""
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell

    book = Workbook(write_only=True)
    sheet = book.create_sheet("answers")
    sheet.freeze_panes = "A2"

    def append(values: Sequence[Any]) -> None:
        cells = []
        for value in values:
            text = isinstance(value, str)
            if text and len(value) > CELL_CHARACTERS:
                what = f"a cell of {len(value)} characters, and Excel holds {CELL_CHARACTERS}"
                raise InputError(what, "--format xlsx", "choose csv")
            cell = WriteOnlyCell(sheet, lines(value) if text else value)
            if text:
                cell.data_type = "s"
            cells.append(cell)
        sheet.append(cells)

    with atomic_path(out) as temporary:
        temporary.touch()  # a folder that cannot be written is an error at once
        try:
            append(layout.heading)
            yield lambda p: append(layout.values(p))
            content = io.BytesIO()  # on a full disk, openpyxl would end with a traceback of its own
            book.save(content)
            temporary.write_bytes(content.getvalue())
        except BaseException:
            with suppress(Exception):
                sheet.close()  # else openpyxl does when it is collected, with a traceback
            raise


@contextmanager
def _ark(out: Path, classes: Sequence[str]) -> Iterator[Write]:
    """Posteriors by id, and text files: <name>.labels, a class a line; <name>.warnings and <name>.errors, by id."""
    from ser.features import ArkWriter

    notes: dict[str, list[str]] = {".warnings": [], ".errors": []}
    with ArkWriter(out, "float32") as ark:

        def write(p: Prediction) -> None:
            key = "".join(
                urllib.parse.quote(c, errors="surrogateescape") if c == "%" or c.isspace() or UNSAFE.match(c) else c
                for c in p.key
            )
            if p.error:
                notes[".errors"].append(f"{key} {line(p.error)}\n")
            else:
                ark.write(key, np.array([p.posteriors[name] for name in classes], np.float32))
                notes[".warnings"] += [f"{key} {line(text)}\n" for text in p.warnings]

        yield write
        write_text(out.with_suffix(".labels"), "".join(f"{name}\n" for name in classes))
        for suffix, entries in notes.items():
            write_text(out.with_suffix(suffix), "".join(entries))


WRITERS: dict[str, Callable[[IO[str], Layout, Sequence[str], bool], Write]] = {
    "table": _table,
    "csv": _csv,
    "jsonl": _jsonl,
}


def check_out(out: Path, model: Path) -> None:
    """Refuse an --out that is a folder, device, recording or part of the model, before anything is computed.

    Args:
        out: file to write.
        model: package or graph.

    Raises:
        InputError: it is.
    """
    if out.name in ("", "-") or (out.exists() and not out.is_file()):
        raise InputError("not a file that can be replaced", out, "give another --out, or none for standard output")
    check_not_in(out, model)
    if out.suffix.lower() in READABLE_SUFFIXES:
        fix = "give the answers a name of their own, such as calls.csv"
        raise InputError("the name of a recording", f"--out {out}", fix)


def check_not_in(out: Path, model: Path) -> None:
    """Refuse to write over the model.

    Args:
        out: file or folder to write.
        model: package or graph.

    Raises:
        InputError: `out` is the model, or lies in it.
    """
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(model)):
        raise InputError(f"would be written over files of the model {model}", f"--out {out}", "give another --out")


def check_out_folder(out: Path, model: Path) -> None:
    """Refuse an --out that is a file or in the model, before anything is computed.

    Args:
        out: folder to write.
        model: package or graph.

    Raises:
        InputError: it is.
    """
    check_not_in(out, model)
    if out.exists() and not out.is_dir():
        raise InputError("not a folder", f"--out {out}", "give another folder")


def check_inputs(outputs: Collection[Path], inputs: Iterable[str | Path], sources: Iterable[Source]) -> None:
    """Refuse to write over the lists, tables and recordings that are read.

    Args:
        outputs: as of `output_files`.
        inputs: as the user names them.
        sources: of these inputs.

    Raises:
        InputError: one of them would be overwritten.
    """
    names, written = {path.name for path in outputs}, {*map(os.path.realpath, outputs)}
    lists = [path / file for path in map(Path, inputs) for file in ("", *KALDI_LISTS)]
    lists += [path.with_name(file) for path in map(Path, inputs) if path.suffix == ".scp" for file in KALDI_LISTS]
    recordings = (source.path for source in sources if source.path and source.path.name in names)
    for path in (*lists, *recordings):
        if os.path.realpath(path) in written and path.is_file():
            raise InputError(f"would be written over the input {path}", "--out", "give another --out")


def output_files(out: Path) -> set[Path]:
    """Files that a run with this --out writes, or has written before."""
    side_files = (out.with_name(out.name + ending) for ending in SIDE_FILES)
    beside_ark = map(out.with_suffix, ARK_SUFFIXES) if out.suffix.lower() == ".ark" else ()
    return {path.absolute() for path in (out, *side_files, *beside_ark)}
