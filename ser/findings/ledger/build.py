"""The ledger's files: every run below some folders, those apart that cannot be trusted."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ser.common import InputError, atomic_path, write_text
from ser.common.progress import progress
from ser.common.records import write_record
from ser.findings.ledger.kept import grow, join
from ser.findings.ledger.run import Run, RunReader
from ser.findings.ledger.schema import FILES, PREDICTIONS, arrow_schema, description
from ser.grid.kept import read_kept
from ser.grid.state import zero_shot_found
from ser.scoring.files import folders_with, read_train

if TYPE_CHECKING:
    import pyarrow.parquet

# Predictions that are held until they are written together.
GROUP = 200_000
RESULT = "fold*_seed*/result.json"
OF_RUN = ("run", "combination", "temporal", "pooling", "task", "seed", "fold")


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
    folders = folders_with(RESULT, exp_dirs, missing)
    return _build(folders, out, corpora, command)


def _build_kept(
    exp_dirs: Sequence[Path], out: Path, corpora: Sequence[str], command: str, kept: Sequence[Path]
) -> dict[str, Any]:
    there = read_kept(kept[0], None)
    new = [
        folder
        for exp_dir in exp_dirs
        for folder in sorted(path.parent for path in exp_dir.rglob(RESULT))
        if not _is_kept(folder, there)
    ]
    problems = []
    if new:
        with TemporaryDirectory() as temporary:
            problems = _build(new, Path(temporary, "new"), corpora, command)["problems"]
            print(grow(kept[0], Path(temporary, "new"), exp_dirs, corpora), file=sys.stderr)
    return join(kept, out, corpora, command, problems)


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
    with atomic_path(out) as temporary:
        temporary.mkdir()
        with _Files(temporary) as files:
            for run in _runs(folders, RunReader(corpora), problems):
                files.add(run)
        if not files.runs:
            raise InputError(f"{len(folders)} folders: no run can be used; the first: {problems[0]['problem']}")
        summary = {
            "command": command,
            "corpora": list(corpora),
            "runs": files.runs,
            "predictions": files.predictions,
            "problems": problems,
        }
        write_record(temporary / "ledger.json", summary, [temporary / f"{name}.parquet" for name in FILES])
        write_text(temporary / "README.md", description())
    return summary


def _runs(folders: Sequence[Path], reader: RunReader, problems: list[dict[str, str]]) -> Iterator[Run]:
    """Runs that can be used; what is wrong with the others goes into `problems`."""
    first: dict[str, str] = {}  # by hash
    for folder in progress(folders, text="ledger", unit="run"):
        try:
            run = reader.read(folder)
            name = run.row["config_hash"]
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
        if run.problem:
            problems.append({"folder": str(folder), "problem": f"{run.problem} (only zero-shot scores are left out)"})
        yield run


class _Files:
    """Parquet files of runs and predictions, written bit by bit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = self.predictions = 0
        self.stack = ExitStack()
        self.parquet: dict[str, pyarrow.parquet.ParquetWriter] = {}
        self.pending: dict[str, list[Any]] = {name: [] for name in PREDICTIONS}
        self.rows: list[dict[str, Any]] = []

    def __enter__(self) -> _Files:
        from pyarrow.parquet import ParquetWriter

        for name, columns in FILES.items():
            writer = ParquetWriter(self.folder / f"{name}.parquet", arrow_schema(columns), compression="zstd")
            self.parquet[name] = self.stack.enter_context(writer)
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if error == (None, None, None):
                self._flush()
        finally:
            self.stack.close()

    def add(self, run: Run) -> None:
        """Take a run; it is written with others."""
        count = len(run.predictions["utterance"])
        columns: Mapping[str, list[Any]] = {**run.predictions, **{key: [run.row[key]] * count for key in OF_RUN}}
        for name, values in self.pending.items():
            values += columns[name]
        self.rows.append(run.row)
        self.runs += 1
        self.predictions += count
        if len(self.pending["run"]) >= GROUP:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        runs = FILES["runs"]
        table = {
            name: [json.dumps(row[name]) if kind == "json" else row[name] for row in self.rows]
            for name, (kind, _) in runs.items()
        }
        self.parquet["runs"].write_table(pa.table(table, arrow_schema(runs)))
        self.parquet["predictions"].write_table(pa.table(self.pending, arrow_schema(PREDICTIONS)))
        self.rows = []
        self.pending = {name: [] for name in PREDICTIONS}
