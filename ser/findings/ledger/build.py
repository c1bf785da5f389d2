"""The ledger's files: every run below some folders, those apart that cannot be trusted."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypedDict

from ser.common import InputError, atomic_path, digest, write_text
from ser.common.packs import packs
from ser.common.progress import progress
from ser.common.records import read_record, write_record
from ser.common.run_folder import RESULT, RUNS
from ser.config.registry import METRICS
from ser.findings.ledger.kept import Tables, grow, join_ledgers, joined, read_tables
from ser.findings.ledger.run import Run, RunReader
from ser.findings.ledger.schema import FILES, arrow_schema, description
from ser.grid.kept import read_kept
from ser.grid.state import zero_shot_found
from ser.scoring.files import folders_with, read_train

# Predictions that are held until they are written together.
GROUP = 200_000
PATTERN = f"{RUNS}/{RESULT}"
OF_RUN = ("run", "combination", "temporal", "pooling", "task", "seed", "fold")
# What the runs of a ledger were read from, so that the next ledger reads those alone that are new or have changed.
SOURCES = ".sources.json"
PARQUET = [f"{name}.parquet" for name in FILES]


class _Sources(TypedDict):
    """.sources.json. `reader` names what makes rows of files; `stamps`: folder -> `stamp_of`."""

    reader: str
    stamps: dict[str, str]


def build_ledger(
    exp_dirs: Sequence[Path], out: Path, corpora: Sequence[str], command: str, kept: Sequence[Path] = ()
) -> dict[str, Any]:
    """Read all runs and write runs and predictions, ledger.json and README.md; an earlier ledger is replaced whole.

    Args:
        corpora: those of the grid, in order.
        kept: kept ledgers, of which the first takes what it lacks of the runs; what is written are then all that they
            have.

    Returns:
        What ledger.json holds: command, corpora, counts, and problems, one for each folder that was left out.

    Raises:
        InputError: there is no run at all, or no whole one.
    """
    if kept:
        return _build_kept(exp_dirs, out, corpora, command, kept)
    missing = "no experiment with a result.json in or below it; run stages 4 to 6"
    folders = folders_with(PATTERN, exp_dirs, missing)
    return _build(folders, out, corpora, command)


def _build_kept(
    exp_dirs: Sequence[Path], out: Path, corpora: Sequence[str], command: str, kept: Sequence[Path]
) -> dict[str, Any]:
    there = read_kept(kept[0], None)
    stamps = {p.parent: stamp_of(p.parent) for exp_dir in exp_dirs for p in sorted(exp_dir.rglob(PATTERN))}
    before = _read_stamps(out, _reader(corpora, kept[0]))
    new = [f for f, stamp in stamps.items() if before.get(str(f)) != stamp and not _is_kept(f, there)]
    problems = []
    if new:
        with TemporaryDirectory() as temporary:
            problems = _build(new, Path(temporary, "new"), corpora, command)["problems"]
            print(grow(kept[0], Path(temporary, "new"), exp_dirs, corpora), file=sys.stderr)
    summary = join_ledgers(kept, out, corpora, command, problems)
    odd = {problem["folder"] for problem in problems}
    taken = {str(folder): stamp for folder, stamp in stamps.items() if str(folder) not in odd}
    _write_stamps(out, _reader(corpora, kept[0]), taken)
    return summary


def _is_kept(folder: Path, there: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a kept ledger has a run, as it is."""
    try:
        train = read_train(folder)
    except InputError:
        return False
    row = there.get(train["config_hash"])
    keys = ("data_hash", "split_hash", "code_hashes")
    same = row is not None and all(row[key] == train.get(key, [train["code_hash"]]) for key in keys)
    return same and row is not None and row["zero_shot"].keys() >= (zero_shot_found(folder) or {}).keys()


def _build(folders: Sequence[Path], out: Path, corpora: Sequence[str], command: str) -> dict[str, Any]:
    if out.is_dir() and any(out.iterdir()) and not (out / "ledger.json").is_file():
        raise InputError("is not a ledger, which would be replaced", out, "choose another --out")
    problems: list[dict[str, str]] = []
    stamps: dict[str, str] = {}
    earlier = _earlier(out, _reader(corpora))
    with atomic_path(out) as temporary:
        temporary.mkdir()
        counts = _write_files(temporary, _runs(folders, RunReader(corpora), earlier, problems, stamps))
        if not counts["runs"]:
            what = f"none of {len(folders)} runs can be used, the first since {problems[0]['problem']}"
            raise InputError(what, folders[0].parents[2])
        summary = {"command": command, "corpora": list(corpora), **counts, "problems": problems}
        write_record(temporary / "ledger.json", summary, [temporary / name for name in PARQUET])
        write_text(temporary / "README.md", description())
        _write_stamps(temporary, _reader(corpora), stamps)
    return summary


def _runs(
    folders: Sequence[Path],
    reader: RunReader,
    earlier: Mapping[str, tuple[str, Tables]],
    problems: list[dict[str, str]],
    stamps: dict[str, str],
) -> Iterator[Tables]:
    """Runs that can be used; what is wrong with the others goes into `problems`, and the whole ones into `stamps`."""
    first: dict[str, str] = {}  # by hash
    for folder in progress(folders, text="ledger", unit="run"):
        stamp = stamp_of(folder)  # before its files are read, which may change meanwhile
        try:
            before, tables = earlier.get(str(folder), ("", {}))
            problem = ""
            if before != stamp:
                run = reader.read(folder)
                tables, problem = _tables_of(run), run.problem
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
    """Of the names, sizes and times of the files of a run, none of which is opened."""
    found = [(path.relative_to(folder).as_posix(), path.stat()) for path in sorted(folder.rglob("*"))]
    return digest([[name, entry.st_size, entry.st_mtime_ns, entry.st_ctime_ns] for name, entry in found])


def _reader(corpora: Sequence[str], *kept: Path) -> str:
    """Names what makes the rows of a ledger of the files of its runs."""
    return digest(
        list(corpora), [*METRICS], FILES, *(p for folder in kept for p in sorted(folder.glob("*/ledger.json")))
    )


def _read_stamps(out: Path, reader: str) -> dict[str, str]:
    """Of the runs that the ledger has which is there; none where it is damaged or was made by another reader."""
    try:
        found = read_record(out / SOURCES, _Sources, "", PARQUET)
    except InputError:
        return {}
    return found["stamps"] if found["reader"] == reader else {}


def _write_stamps(out: Path, reader: str, stamps: Mapping[str, str]) -> None:
    write_record(out / SOURCES, {"reader": reader, "stamps": stamps}, [out / name for name in PARQUET])


def _earlier(out: Path, reader: str) -> dict[str, tuple[str, Tables]]:
    """Runs of the ledger that is replaced: folder -> stamp of its files, and what was made of them."""
    import pyarrow.compute as pc

    stamps = _read_stamps(out, reader)
    if not stamps:
        return {}
    runs, predictions = read_tables(out).values()
    counts = {entry["values"]: entry["counts"] for entry in pc.value_counts(predictions["run"]).to_pylist()}
    found, start = {}, 0
    for row, (folder, run) in enumerate(zip(runs["folder"].to_pylist(), runs["run"].to_pylist(), strict=True)):
        if folder in stamps:
            own = {"runs": runs.slice(row, 1), "predictions": predictions.slice(start, counts[run])}
            found[folder] = stamps[folder], own
        start += counts[run]
    return found


def _tables_of(run: Run) -> Tables:
    import pyarrow as pa

    count = len(run.predictions["utterance"])
    columns = {
        "runs": {
            name: [json.dumps(run.row[name]) if kind == "json" else run.row[name]]
            for name, (kind, _) in FILES["runs"].items()
        },
        "predictions": {**run.predictions, **{key: [run.row[key]] * count for key in OF_RUN}},
    }
    return {
        name: pa.table({key: columns[name][key] for key in kinds}, arrow_schema(kinds)) for name, kinds in FILES.items()
    }


def _write_files(folder: Path, runs: Iterable[Tables]) -> dict[str, int]:
    """Parquet files of runs and predictions, written bit by bit; how many rows each has."""
    from pyarrow.parquet import ParquetWriter

    counts = dict.fromkeys(FILES, 0)
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(
                ParquetWriter(folder / f"{name}.parquet", arrow_schema(columns), compression="zstd")
            )
            for name, columns in FILES.items()
        }
        for group in packs(runs, lambda tables: len(tables["predictions"]), GROUP):
            for name, writer in writers.items():
                table = joined([tables[name] for tables in group])
                writer.write_table(table)
                counts[name] += len(table)
    return counts
