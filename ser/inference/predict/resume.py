"""Files of predictions that a later run continues: after an interruption, or with new files of a folder."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys
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
    """<out>.partial, to which predictions are written.

    Attributes:
        done: predictions of an earlier run: id as the format writes it -> whether each is an error.
    """

    path: Path
    file: IO[str]
    form: str
    done: dict[str, list[bool]] = field(default_factory=dict)

    def take(self, source: Source) -> bool | None:
        """Whether the earlier prediction of a source is an error; None if there is none. Each is taken once."""
        errors = self.done.get(str(csv_cell(source.id)) if self.form == "csv" else source.id)
        return errors.pop() if errors else None


@contextmanager
def partial_answers(
    out: Path, form: str, layout: Layout, identity: Mapping[str, Any], resume: bool = True, append: bool = False
) -> Iterator[Partial]:
    """Open <out>.partial after what an earlier run has written; it becomes `out` if the block ends without an error.

    CSV and JSON lines have a file <name>.run.json with their model and options.

    Args:
        identity: the model and the options that predictions depend on.
        resume: continue a partial file; else it is overwritten.
        append: continue a finished `out`.

    Raises:
        InputError: another process writes it; the file to continue is of another model or options, or damaged; or a
            folder that cannot be written.
    """
    partial, append = out.with_name(f"{out.name}.partial"), append and out.exists()
    partial_record, record = _run_record(partial), _run_record(out)
    run = json.loads(json.dumps({**identity, "append": append}))
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("a+b") as raw:
            if not lock_file(raw):
                raise InputError("another process writes it", partial, "wait for that, or give another --out")
            origin = partial if resume and form in RESUMABLE and raw.tell() else None
            if origin:
                _check_identity(origin, partial_record, run, "or --resume false to begin again")
            else:
                raw.truncate(0)
                if append:
                    origin = out
                    _check_identity(out, record, {key: run[key] for key in identity}, "or leave out --append")
                    with out.open("rb") as earlier:
                        shutil.copyfileobj(earlier, raw)
            if form in RESUMABLE:
                write_json(partial_record, run)
            state = Partial(partial, io.TextIOWrapper(raw, "utf-8", "backslashreplace", ""), form)
            if origin:
                raw.flush()
                try:
                    raw.truncate(_read_done(raw, origin, layout, run["channel"], state))
                except InputError:
                    if origin == out:  # the next call copies it again
                        partial.unlink()
                        partial_record.unlink(missing_ok=True)
                    raise
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
                    partial_record.unlink(missing_ok=True)
                raise
            os.replace(partial, out)
            if form in RESUMABLE:
                os.replace(partial_record, record)
            else:
                record.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(out, error) from error


def _run_record(path: Path) -> Path:
    return path.with_name(f"{path.name}.run.json")


def _check_identity(path: Path, record: Path, run: Mapping[str, Any], otherwise: str) -> None:
    """Raises InputError, naming the first difference."""
    if not record.is_file():
        what = f"not known of which model it is, without {record.name}"
        raise InputError(what, path, f"give another --out, {otherwise}")
    earlier = read_json(record)
    for key, value in run.items():
        earlier_value = earlier.get(key) if isinstance(earlier, dict) else earlier
        if not isinstance(earlier, dict) or earlier_value != value:
            what = f"holds answers of another run ({key}: {earlier_value}, not {value})"
            raise InputError(what, path, f"give the same model and options, another --out, {otherwise}")


def _read_done(file: IO[bytes], origin: Path, layout: Layout, channel: str, state: Partial) -> int:
    """Read the predictions of an earlier run into `state.done`.

    Returns:
        How many bytes to keep: without an incomplete last line and, if channels have a row each, without the rows of
        the last file, whose other channels may be missing.

    Raises:
        InputError: a line that does not belong to such a file.
    """
    done: list[tuple[int, str, bool]] = []  # of each source: where its rows begin, id, whether an error
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
        if done and done[-1][1] == key and its_channel not in ("", "0"):  # the next channel of a file
            continue
        done.append((begin, key, error))
    if channel == EACH and done and origin == state.path:
        end = done.pop()[0]
    for _, key, error in done:
        state.done.setdefault(key, []).append(error)
    return end


def _row(text: str, layout: Layout, form: str) -> tuple[str, str, bool]:
    """Id, channel, and whether the row is an error."""
    if form == "jsonl":
        row = json.loads(text)
        return row["file"], "" if row["channel"] is None else str(row["channel"]), "error" in row
    (cells,) = csv.reader([text], delimiter=layout.delimiter)
    if len(cells) != len(layout.heading):
        raise ValueError(f"{len(cells)} cells, not {len(layout.heading)}")
    return cells[layout.columns.index(layout.path_column)], cells[len(layout.columns)], bool(cells[-1])
