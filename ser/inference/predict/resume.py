"""Files of answers that a later run goes on with: after an interruption, or with the new files of a folder."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ser.common import InputError, read_json, write_json
from ser.common.files import lock_file, unwritable
from ser.common.output import csv_cell
from ser.inference.predict.inputs import Source
from ser.inference.predict.outputs import Layout
from ser.inference.predict.sound import EACH

RESUMABLE = ("csv", "jsonl")


@dataclass
class Partial:
    """<out>.partial, to which answers are written.

    Attributes:
        done: what is answered there: id as the format writes it -> for each time whether that is an error.
    """

    path: Path
    file: IO[str]
    form: str
    done: dict[str, list[bool]] = field(default_factory=dict)

    def take(self, source: Source) -> bool | None:
        """Whether the answer there to a source is an error; None where there is none. Each is taken once."""
        found = self.done.get(str(csv_cell(source.id)) if self.form == "csv" else source.id)
        return found.pop() if found else None


@contextmanager
def partial_answers(
    out: Path, form: str, layout: Layout, identity: Mapping[str, Any], resume: bool = True, append: bool = False
) -> Iterator[Partial]:
    """Open <out>.partial behind what an earlier run has left there; it becomes `out` where the block ends well.

    CSV and JSON lines have <name>.run.json beside them, with their model and options.

    Args:
        identity: the model and the options that answers depend on.
        resume: go on with a partial; otherwise it is overwritten.
        append: go on with a finished `out`.

    Raises:
        InputError: another process writes it; what is to be gone on with is of another model or options, or damaged;
            or a place that cannot be written.
    """
    partial, append = out.with_name(f"{out.name}.partial"), append and out.exists()
    note, finished = _note(partial), _note(out)
    own = json.loads(json.dumps({**identity, "append": append}))
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("a+b") as raw:
            if not lock_file(raw):
                raise InputError("another process writes it", partial, "wait for that, or give another --out")
            origin = partial if resume and form in RESUMABLE and raw.tell() else None
            if origin:
                _check_identity(origin, note, own, "or --resume false to begin again")
            else:
                raw.truncate(0)
                if append:
                    origin = out
                    _check_identity(out, finished, {key: own[key] for key in identity}, "or leave out --append")
                    with out.open("rb") as there:
                        shutil.copyfileobj(there, raw)
            if form in RESUMABLE:
                write_json(note, own)
            state = Partial(partial, io.TextIOWrapper(raw, "utf-8", "backslashreplace", ""), form)
            if origin:
                raw.flush()
                raw.truncate(_read(raw, origin, layout, own["channel"], state))
            raw.seek(0, os.SEEK_END)
            try:
                yield state
                state.file.flush()
            except BaseException:
                with suppress(OSError):
                    state.file.flush()
                if partial.read_bytes().count(b"\n") > (form != "jsonl"):  # more than the header
                    print(f"warning: {partial}: holds the answers until here", file=sys.stderr)
                else:
                    partial.unlink()
                    note.unlink(missing_ok=True)
                raise
            os.replace(partial, out)
            if form in RESUMABLE:
                os.replace(note, finished)
            else:
                finished.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(out, error) from error


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.run.json")


def _check_identity(path: Path, note: Path, own: Mapping[str, Any], otherwise: str) -> None:
    """Raises InputError, naming the first difference."""
    if not note.is_file():
        raise InputError(
            f"not known of which model it is, without {note.name}", path, f"give another --out, {otherwise}"
        )
    there = read_json(note)
    for key, value in own.items():
        if not isinstance(there, dict) or there.get(key) != value:
            found = there.get(key) if isinstance(there, dict) else there
            raise InputError(
                f"holds answers of another run ({key}: {found}, not {value})",
                path,
                f"give the same model and options, another --out, {otherwise}",
            )


def _read(file: IO[bytes], origin: Path, layout: Layout, channel: str, state: Partial) -> int:
    """Note the answers that are there.

    Returns:
        How many bytes hold whole answers: without a line that is cut short and, where channels have a row each,
        without the rows of the last file, of which there may be more.

    Raises:
        InputError: a line that is none of such a file.
    """
    found: list[tuple[int, str, bool]] = []  # where its rows begin, id, whether an error; of each source
    end = 0
    file.seek(0)
    for number, data in enumerate(file, 1):
        if not data.endswith(b"\n"):
            break
        begin, end = end, end + len(data)
        try:
            text = data.decode("utf-8")
            if state.form == "csv" and number == 1:
                if text != layout.csv_heading:
                    raise ValueError("other columns")
                continue
            key, its_channel, error = _row(text, layout, state.form)
        except (ValueError, KeyError, IndexError, TypeError, csv.Error) as problem:
            raise InputError(
                f"not a row of this run ({problem})", f"{origin}:{number}", "remove the line, or give another --out"
            ) from None
        if found and found[-1][1] == key and its_channel not in ("", "0"):  # the next channel of a file
            continue
        found.append((begin, key, error))
    if channel == EACH and found and origin == state.path:
        end = found.pop()[0]
    done: defaultdict[str, list[bool]] = defaultdict(list)
    for _, key, error in found:
        done[key].append(error)
    state.done = done
    return end


def _row(text: str, layout: Layout, form: str) -> tuple[str, str, bool]:
    """Id, channel, and whether it is an error."""
    if form == "jsonl":
        row = json.loads(text)
        return row["file"], "" if row["channel"] is None else str(row["channel"]), "error" in row
    (cells,) = csv.reader([text], delimiter=layout.delimiter)
    if len(cells) != len(layout.heading):
        raise ValueError(f"{len(cells)} cells, not {len(layout.heading)}")
    return cells[layout.columns.index(layout.path_column)], cells[len(layout.columns)], bool(cells[-1])
