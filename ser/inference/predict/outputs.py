"""Predictions as a table, CSV, JSON lines or a Kaldi ark; always with the names of the labels."""

from __future__ import annotations

import csv
import json
import sys
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from ser.common import InputError, atomic_path, write_text
from ser.inference.predict.answers import Prediction

Write = Callable[[Prediction], None]
WITHHELD = "-"


@contextmanager
def writer(form: str, out: Path | None, classes: Sequence[str], ids: Sequence[str]) -> Iterator[Write]:
    """A function that writes predictions as they come, to a file that appears when all are there, or standard output.

    Args:
        form: one of FORMS.
        ids: what will be answered, for the width of a table.

    Raises:
        InputError: an ark to standard output, or of an id that stands twice.
    """
    if form == "ark":
        if out is None or out.suffix != ".ark":
            raise InputError("--format ark: give --out <name>.ark; <name>.scp and <name>.labels are written beside it")
        if twice := next((name for name, count in Counter(ids).items() if count > 1), ""):
            raise InputError(f"--format ark: {twice} is given twice; give it once, or choose another format")
        with _ark(out, classes) as write:
            yield write
    elif out is None:
        yield FORMS[form](sys.stdout, classes, ids)
    else:
        with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            yield FORMS[form](file, classes, ids)


def _table(file: IO[str], classes: Sequence[str], ids: Sequence[str]) -> Write:
    width = max([4, *(len(name) for name in ids)]) + 2  # room for a channel
    names = max(5, *(len(name) for name in classes))
    columns = [max(6, len(name)) for name in classes]
    heads = "  ".join(f"{name:>{size}}" for name, size in zip(classes, columns, strict=True))
    print(f"{'file':<{width}}  {'label':<{names}}  confidence  {heads}", file=file, flush=True)

    def write(p: Prediction) -> None:
        if not p.error:
            values = "  ".join(f"{p.posteriors[n]:>{size}.3f}" for n, size in zip(classes, columns, strict=True))
            answer = f"{p.label or WITHHELD:<{names}}  {p.confidence:>10.3f}"
            print(f"{p.key:<{width}}  {answer}  {values}", file=file, flush=True)

    return write


def _csv(file: IO[str], classes: Sequence[str], ids: Sequence[str]) -> Write:
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["file", "channel", "seconds", "label", "confidence", *classes, "warnings", "error"])

    def write(p: Prediction) -> None:
        channel = "" if p.channel is None else p.channel
        values: list[object] = [""] * (3 + len(classes))
        if not p.error:
            found = (round(p.posteriors[name], 7) for name in classes)
            values = [round(p.seconds, 6), p.label or WITHHELD, round(p.confidence, 7), *found]
        rows.writerow([p.id, channel, *values, "; ".join(p.warnings), p.error])
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
        print(json.dumps(row, ensure_ascii=False), file=file, flush=True)

    return write


@contextmanager
def _ark(out: Path, classes: Sequence[str]) -> Iterator[Write]:
    """Vectors of posteriors; their order of labels stands beside it in <name>.labels, one a line."""
    from ser.features import ArkWriter

    with ArkWriter(out, "float32") as ark:

        def write(p: Prediction) -> None:
            if not p.error:
                key = "".join(urllib.parse.quote(sign) if sign.isspace() else sign for sign in p.key)
                ark.write(key, np.array([p.posteriors[name] for name in classes], np.float32))

        yield write
        write_text(out.with_suffix(".labels"), "".join(f"{name}\n" for name in classes))


FORMS: dict[str, Callable[[IO[str], Sequence[str], Sequence[str]], Write]] = {
    "table": _table,
    "csv": _csv,
    "jsonl": _jsonl,
}
