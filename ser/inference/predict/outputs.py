"""Predictions as a table, CSV, JSON lines or a Kaldi ark; always with the names of the labels."""

from __future__ import annotations

import csv
import io
import os
import sys
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from ser.common import InputError, write_text
from ser.common.files import unwritable
from ser.common.output import UNSAFE, SafeStream, csv_cell, json_line, line
from ser.inference.predict.answers import Prediction

Write = Callable[[Prediction], None]
WITHHELD = "-"


@contextmanager
def writer(form: str, out: Path | None, classes: Sequence[str], ids: Sequence[str]) -> Iterator[Write]:
    """A function that writes predictions as they come, to standard output or a file.

    The file has its name when all are there; until then, and where the run ends early, those that are there lie in
    <name>.<process>.partial. An ark is whole or absent. CSV and JSON lines are UTF-8, a table on standard output in the
    encoding of that.

    Args:
        form: one of FORMS.
        ids: what will be answered, for the width of a table.

    Raises:
        InputError: an ark to standard output, or of an id that stands twice; a place that is no file.
    """
    if out and out.exists() and not out.is_file():
        raise InputError(f"{out}: not a file that can be replaced. Give another --out, or none for standard output")
    if form == "ark":
        if out is None or out.suffix != ".ark":
            raise InputError("--format ark: give --out <name>.ark; <name>.scp and <name>.labels are written beside it")
        if twice := next((name for name, count in Counter(ids).items() if count > 1), ""):
            raise InputError(f"--format ark: {twice} is given twice; give it once, or choose another format")
        with _ark(out, classes) as write:
            yield write
    elif out is None:
        stream = sys.stdout.stream if isinstance(sys.stdout, SafeStream) else sys.stdout
        if isinstance(stream, io.TextIOWrapper):
            encoding = stream.encoding if form == "table" else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")
        yield FORMS[form](sys.stdout, classes, ids)
    else:
        with _partial(out, lambda file: FORMS[form](file, classes, ids)) as write:
            yield write


@contextmanager
def _partial(out: Path, begin: Callable[[IO[str]], Write]) -> Iterator[Write]:
    """Write beside a file, and rename when the block ends well; otherwise what has been answered stays there."""
    partial = out.with_name(f"{out.name}.{os.getpid()}.partial")
    header = 0
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            write = begin(file)
            file.flush()
            header = partial.stat().st_size
            yield write
        os.replace(partial, out)
    except BaseException as error:
        if partial.is_file() and partial.stat().st_size > header:
            print(f"warning: {partial}: holds the answers until here", file=sys.stderr)
        else:
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable(out, error) from error
        raise


def _table(file: IO[str], classes: Sequence[str], ids: Sequence[str]) -> Write:
    width = max([4, *(len(line(name)) for name in ids)]) + 2  # room for a channel
    names = max(5, *(len(line(name)) for name in classes))
    columns = [max(6, len(line(name))) for name in classes]
    heads = "  ".join(f"{line(name):>{size}}" for name, size in zip(classes, columns, strict=True))
    print(f"{'file':<{width}}  {'label':<{names}}  confidence  {heads}", file=file, flush=True)

    def write(p: Prediction) -> None:
        if p.error:
            print(f"{line(p.key):<{width}}  error", file=file, flush=True)
        else:
            values = "  ".join(f"{p.posteriors[n]:>{size}.3f}" for n, size in zip(classes, columns, strict=True))
            answer = f"{line(p.label or WITHHELD):<{names}}  {p.confidence:>10.3f}"
            print(f"{line(p.key):<{width}}  {answer}  {values}", file=file, flush=True)

    return write


def _csv(file: IO[str], classes: Sequence[str], ids: Sequence[str]) -> Write:
    rows = csv.writer(file, lineterminator="\n")
    head = ["file", "channel", "seconds", "label", "confidence", *classes, "warnings", "error"]
    rows.writerow(map(csv_cell, head))

    def write(p: Prediction) -> None:
        channel = "" if p.channel is None else p.channel
        values: list[object] = [""] * (3 + len(classes))
        if not p.error:
            found = (round(p.posteriors[name], 7) for name in classes)
            values = [round(p.seconds, 6), p.label or WITHHELD, round(p.confidence, 7), *found]
        rows.writerow(map(csv_cell, [p.id, channel, *values, "; ".join(p.warnings), p.error]))
        file.flush()

    return write


def _jsonl(file: IO[str], classes: Sequence[str], ids: Sequence[str]) -> Write:
    def write(p: Prediction) -> None:
        row: dict[str, object] = {"file": p.id, "channel": p.channel}
        if p.error:
            row["error"] = p.error
        else:
            row |= {"seconds": round(p.seconds, 6), "label": p.label, "confidence": round(p.confidence, 7)}
            row |= {"posteriors": {name: round(value, 7) for name, value in p.posteriors.items()}}
            row |= {"warnings": list(p.warnings)}
        print(json_line(row), file=file, flush=True)

    return write


@contextmanager
def _ark(out: Path, classes: Sequence[str]) -> Iterator[Write]:
    """Vectors of posteriors; their order of labels stands beside it in <name>.labels, one a line."""
    from ser.features import ArkWriter

    with ArkWriter(out, "float32") as ark:

        def write(p: Prediction) -> None:
            if not p.error:
                key = "".join(
                    urllib.parse.quote(sign, errors="surrogateescape") if sign.isspace() or UNSAFE.match(sign) else sign
                    for sign in p.key
                )
                ark.write(key, np.array([p.posteriors[name] for name in classes], np.float32))

        yield write
        write_text(out.with_suffix(".labels"), "".join(f"{name}\n" for name in classes))


FORMS: dict[str, Callable[[IO[str], Sequence[str], Sequence[str]], Write]] = {
    "table": _table,
    "csv": _csv,
    "jsonl": _jsonl,
}
