"""Build a ledger of every run below some folders, and list the runs that cannot be trusted."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import pairwise, zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from ser.common import InputError, atomic_path, digest, write_text
from ser.common.progress import progress
from ser.common.records import read_record, write_record
from ser.common.run_folder import RESULT, files_of_runs
from ser.config.registry import METRICS
from ser.findings.ledger.load import read_row_groups
from ser.findings.ledger.run import read_run
from ser.findings.ledger.saved import add_runs, join_saved
from ser.findings.ledger.schema import FILES, arrow_schema, description
from ser.findings.ledger.tables import PARQUET, Tables, write_ledger
from ser.grid.saved import read_saved_runs
from ser.grid.state import read_zero_shot_hashes
from ser.scoring.files import find_files, read_train

if TYPE_CHECKING:
    import pyarrow

RUN_COLUMNS = ("run", "combination", "temporal", "pooling", "task", "seed", "fold")
# What the runs of a ledger were read from, so that the next ledger reads only new and changed runs.
SOURCES = ".sources.json"


class _Sources(TypedDict):
    """.sources.json. `reader`: version of the code that reads runs; `stamps`: folder -> `stamp_of`."""

    reader: str
    stamps: dict[str, str]


def build_ledger(
    exp_dirs: Sequence[Path], out: Path, corpora: Sequence[str], command: str, saved: Sequence[Path] = ()
) -> dict[str, Any]:
    """Read all runs and write runs and predictions, ledger.json and README.md; an earlier ledger is replaced.

    Args:
        corpora: of the grid, in order.
        saved: folders of saved ledgers. The first gets the runs that it lacks; the ledger written has the runs of all.

    Returns:
        What ledger.json holds: command, corpora, counts, and problems, one for each folder that was left out.

    Raises:
        InputError: there is no run, or none that can be used.
    """
    if saved:
        return _build_from_saved(exp_dirs, out, corpora, command, saved)
    folders: dict[Path, Path] = {}
    for exp_dir in exp_dirs:
        below = _run_folders(exp_dir)
        if not below:
            raise InputError("no experiment with a result.json in or below it", exp_dir, "run stages 4 to 6")
        folders |= {folder.resolve(): folder for folder in below}
    return _build(list(folders.values()), out, corpora, command)


def _run_folders(exp_dir: Path) -> list[Path]:
    return [path.parent for path in files_of_runs(find_files(RESULT, exp_dir), exp_dir)]


def _build_from_saved(
    exp_dirs: Sequence[Path], out: Path, corpora: Sequence[str], command: str, saved: Sequence[Path]
) -> dict[str, Any]:
    saved_runs = read_saved_runs(saved[0], None)
    stamps = {str(folder): stamp_of(folder) for exp_dir in exp_dirs for folder in _run_folders(exp_dir)}
    before = _read_stamps(out, _reader(corpora, saved[0]))
    changed = [Path(folder) for folder, stamp in stamps.items() if before.get(folder) != stamp]
    problems = []
    if new := [folder for folder in changed if not _is_saved(folder, saved_runs)]:
        with TemporaryDirectory() as temporary:
            problems = _build(new, Path(temporary, "new"), corpora, command)["problems"]
            print(add_runs(saved[0], Path(temporary, "new"), exp_dirs, corpora), file=sys.stderr)
    summary = join_saved(saved, out, corpora, command, problems)
    for problem in problems:
        stamps.pop(problem["folder"], None)
    _write_stamps(out, _reader(corpora, saved[0]), stamps)
    return summary


def _is_saved(folder: Path, saved_runs: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a saved ledger has a run, unchanged."""
    try:
        train = read_train(folder)
    except InputError:
        return False
    row = saved_runs.get(train["config_hash"])
    if row is None or any(row[key] != train[key] for key in ("data_hash", "split_hash")):
        return False
    same_code = row["code_hashes"] == train.get("code_hashes", [train["code_hash"]])
    return same_code and row["zero_shot"].keys() >= (read_zero_shot_hashes(folder) or {}).keys()


def _build(folders: Sequence[Path], out: Path, corpora: Sequence[str], command: str) -> dict[str, Any]:
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if not names <= {"ledger.json", "README.md", SOURCES, *PARQUET} and "ledger.json" not in names:
        raise InputError("is not a ledger, which would be replaced", out, "choose another --out")
    problems: list[dict[str, str]] = []
    stamps: dict[str, str] = {}
    runs = _runs(folders, corpora, _earlier(out, _reader(corpora)), problems, stamps)
    with atomic_path(out) as temporary:
        summary = write_ledger(temporary, runs, {"command": command, "corpora": list(corpora), "problems": problems})
        if not summary["runs"]:
            what = f"none of {len(folders)} runs can be used, the first since {problems[0]['problem']}"
            raise InputError(what, folders[0].parents[2])
        write_text(temporary / "README.md", description())
        _write_stamps(temporary, _reader(corpora), stamps)
    return summary


def _runs(
    folders: Sequence[Path],
    corpora: Sequence[str],
    earlier: Mapping[str, tuple[str, Callable[[], Tables]]],
    problems: list[dict[str, str]],
    stamps: dict[str, str],
) -> Iterator[Tables]:
    """Rows of the runs that can be used. Problems are added to `problems`, stamps of runs without any to `stamps`."""
    first: dict[str, str] = {}  # config_hash -> folder
    for folder in progress(folders, text="ledger", unit="run"):
        stamp = stamp_of(folder)  # taken first, since the files may change while they are read
        try:
            before, read_earlier = earlier.get(str(folder), ("", dict))
            if before == stamp:
                tables, problem = read_earlier(), ""
            else:
                row, predictions, problem = read_run(folder, corpora)
                tables = _tables_of(row, predictions)
            name = tables["runs"]["config_hash"][0].as_py()
            if name in first:
                raise InputError(
                    f"has the config_hash {name} of {first[name]}, so it is the same experiment once more",
                    folder,
                    "keep one of the two",
                )
            first[name] = str(folder)
        except InputError as error:
            problems.append({"folder": str(folder), "problem": str(error)})
            continue
        if problem:
            problems.append({"folder": str(folder), "problem": f"{problem} (only zero-shot scores are left out)"})
        else:
            stamps[str(folder)] = stamp
        yield tables


def stamp_of(folder: Path) -> str:
    """Digest of names, sizes and times of a run's files, none of which is opened."""
    files = [(path.relative_to(folder).as_posix(), path.stat()) for path in sorted(folder.rglob("*"))]
    return digest([[name, entry.st_size, entry.st_mtime_ns, entry.st_ctime_ns] for name, entry in files])


def _reader(corpora: Sequence[str], *saved: Path) -> str:
    """Digest of all that decides the rows of a ledger beside the files of its runs."""
    ledgers = (path for folder in saved for path in sorted(folder.glob("*/ledger.json")))
    return digest(list(corpora), [*METRICS], FILES, *ledgers)


def _read_stamps(out: Path, reader: str) -> dict[str, str]:
    """Stamps of the runs of an existing ledger; none where it is damaged or was made by another reader."""
    try:
        sources = read_record(out / SOURCES, _Sources, "", PARQUET)
    except InputError:
        return {}
    return sources["stamps"] if sources["reader"] == reader else {}


def _write_stamps(out: Path, reader: str, stamps: Mapping[str, str]) -> None:
    write_record(out / SOURCES, {"reader": reader, "stamps": stamps}, [out / name for name in PARQUET])


def _earlier(out: Path, reader: str) -> dict[str, tuple[str, Callable[[], Tables]]]:
    """Runs of the ledger that is replaced: folder -> stamp of its files, and what reads its rows.

    One row group is in memory at a time; since runs are asked for in the order of the ledger, each is read once.
    Nothing is used of a ledger whose row groups are not those of `write_ledger`.
    """
    stamps = _read_stamps(out, reader)
    if not stamps:
        return {}
    groups = []
    for runs, predictions in zip_longest(
        read_row_groups(out / "runs.parquet", {key: FILES["runs"][key] for key in ("run", "folder")}),
        read_row_groups(out / "predictions.parquet", {"run": FILES["predictions"]["run"]}),
    ):
        if runs is None or predictions is None:
            return {}
        lengths = _consecutive(predictions["run"])
        if [run for run, _ in lengths] != runs["run"].to_pylist():
            return {}
        ends = np.cumsum([0, *(length for _, length in lengths)]).tolist()
        groups.append((runs["folder"].to_pylist(), list(pairwise(ends))))

    @lru_cache(maxsize=1)
    def group_rows(group: int) -> Tables:
        return {
            name: next(read_row_groups(out / f"{name}.parquet", columns, groups=[group]))
            for name, columns in FILES.items()
        }

    def rows_of(group: int, row: int, start: int, end: int) -> Tables:
        tables = group_rows(group)
        return {"runs": tables["runs"].slice(row, 1), "predictions": tables["predictions"].slice(start, end - start)}

    return {
        folder: (stamps[folder], partial(rows_of, group, row, *span))
        for group, (folders, spans) in enumerate(groups)
        for row, (folder, span) in enumerate(zip(folders, spans, strict=True))
        if folder in stamps
    }


def _consecutive(column: pyarrow.ChunkedArray) -> list[tuple[str, int]]:
    """Values of a column of words in their order, and how often each is repeated there."""
    if not len(column):
        return []
    words = column.unify_dictionaries().combine_chunks()
    codes = words.indices.to_numpy()
    starts = np.flatnonzero(np.diff(codes, prepend=codes[0] - 1))
    lengths = np.diff(starts, append=len(codes)).tolist()
    return list(zip(words.dictionary.take(words.indices.take(starts)).to_pylist(), lengths, strict=True))


def _tables_of(row: Mapping[str, Any], predictions: Mapping[str, list[Any]]) -> Tables:
    import pyarrow as pa

    count = len(predictions["utterance"])
    columns = {
        "runs": {
            name: [json.dumps(row[name]) if kind == "json" else row[name]] for name, (kind, _) in FILES["runs"].items()
        },
        "predictions": {**predictions, **{key: [row[key]] * count for key in RUN_COLUMNS}},
    }
    return {
        name: pa.table({key: columns[name][key] for key in kinds}, arrow_schema(kinds)) for name, kinds in FILES.items()
    }
