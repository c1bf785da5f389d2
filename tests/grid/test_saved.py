"""A saved ledger: what it holds counts as done, and all tables come of it alone."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import refuses
from stand_ins import CORPORA, StandIns

from ser.common.provenance import code_hash
from ser.findings.ledger import build_ledger
from ser.grid import Grid
from ser.grid.run import Runner
from ser.grid.state import State
from ser.grid.status import read_grid_status

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def done(finished: StandIns, tmp_path_factory: pytest.TempPathFactory) -> StandIns:
    """Two combinations are trained, and saved in `saved` as the ledger stage does it."""
    root = tmp_path_factory.mktemp("saved")
    (root / "a recipe").symlink_to(finished.recipe)
    shutil.copytree(finished.exp, root / "exp")
    stand_ins = StandIns(root, root / "exp")
    grid = stand_ins.grid()
    save(stand_ins, grid, root / "direct", None)
    save(stand_ins, grid, root / "ledger", root / "saved")
    return stand_ins


def save(stand_ins: StandIns, grid: Grid, out: Path, saved: Path | None) -> dict:
    return build_ledger([grid.root], out, [*CORPORA], "a test", [saved / grid.root.name] if saved else ())


def fresh(done: StandIns, tmp_path: Path, only: Sequence[str] = ("tess", "ravdess"), **changes: object) -> Grid:
    """The grid where there is a saved ledger, of its own, and no experiment."""
    shutil.copytree(done.root / "saved", tmp_path / "saved")
    grid = done.grid(only=only)
    return replace(grid, places=replace(grid.places, exp=tmp_path / "exp", saved=tmp_path / "saved", **changes))


def states(grid: Grid) -> set[State]:
    return {found.state for _, found in read_grid_status(grid).experiments}


def edit_runs(folder: Path, column: str, value: object) -> None:
    """Change a column of all saved runs of a combination, as an honest writer would have written it."""
    import pyarrow as pa

    from ser.common.records import read_record, write_record

    path = folder / "runs.parquet"
    table = pq.read_table(path)
    rows = [{**row, column: value} for row in table.to_pylist()]
    summary = read_record(folder / "ledger.json", dict, "")
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)
    write_record(folder / "ledger.json", summary, [path, folder / "predictions.parquet"])


def test_what_is_saved_is_not_trained_again(done: StandIns, tmp_path: Path) -> None:
    grid = fresh(done, tmp_path)
    assert states(grid) == {State.DONE}
    assert Runner(grid, "y").shard(1) == []
    assert not list(tmp_path.rglob("model.safetensors"))


def test_what_is_not_saved_is_trained_and_appended(done: StandIns, tmp_path: Path) -> None:
    grid = fresh(done, tmp_path)
    shutil.rmtree(tmp_path / "saved" / grid.root.name / "tess_ravdess")
    assert Runner(grid, "y").shard(1) == []
    trained = {path.parents[2].name for path in tmp_path.rglob("model.safetensors")}
    assert trained == {"tess_ravdess"}
    summary = save(done, grid, tmp_path / "ledger", tmp_path / "saved")
    assert summary["runs"] == len(grid.experiments)
    again = {path: path.read_bytes() for path in (tmp_path / "saved").rglob("*.parquet")}
    save(done, grid, tmp_path / "ledger", tmp_path / "saved")
    assert {path: path.read_bytes() for path in (tmp_path / "saved").rglob("*.parquet")} == again


@pytest.mark.parametrize(
    ("column", "value"),
    [("data_hash", "other"), ("split_hash", "other"), ("config_hash", "other"), ("code_hashes", ["other"])],
)
def test_a_saved_run_of_something_else_does_not_count(
    done: StandIns, tmp_path: Path, column: str, value: object
) -> None:
    grid = fresh(done, tmp_path)
    edit_runs(tmp_path / "saved" / grid.root.name / "ravdess", column, value)
    saved = {e.folder: Runner(grid, "y").is_saved(e) for e in grid.experiments}
    assert saved == {e.folder: e.combination != "ravdess" for e in grid.experiments}
    if column == "code_hashes":
        any_code = replace(grid, places=replace(grid.places, any_code=True))
        assert all(Runner(any_code, "y").is_saved(e) for e in any_code.experiments)


def test_a_run_that_takes_the_place_of_a_saved_one_of_its_settings(done: StandIns, tmp_path: Path) -> None:
    grid = fresh(done, tmp_path)
    folder = tmp_path / "saved" / grid.root.name / "ravdess"
    edit_runs(folder, "data_hash", "other")
    assert Runner(grid, "y").shard(1) == []
    summary = save(done, grid, tmp_path / "ledger", tmp_path / "saved")
    assert summary["runs"] == len(grid.experiments)
    assert "other" not in pq.read_table(folder / "runs.parquet")["data_hash"].to_pylist()


def test_a_corpus_to_be_scored_that_saved_runs_have_not_seen_is_missing(done: StandIns, tmp_path: Path) -> None:
    grid = fresh(done, tmp_path, only=("tess", "ravdess", "customer_ptbr"))
    assert not any(grid.saved_run(e) for e in grid.experiments)


def test_the_saved_ledger_holds_what_the_experiments_say(done: StandIns) -> None:
    for name in ("runs", "predictions"):
        direct, saved = (
            sorted(pq.read_table(done.root / f / f"{name}.parquet").to_pylist(), key=lambda r: (r["run"], str(r)))
            for f in ("direct", "ledger")
        )
        assert len(direct) == len(saved) > 0
        rounded = {"posteriors", "curves", "folder"}
        strip = [[{k: v for k, v in row.items() if k not in rounded} for row in rows] for rows in (direct, saved)]
        key = json.dumps
        assert sorted(map(key, strip[0])) == sorted(map(key, strip[1]))
    posteriors = []
    for folder in ("direct", "ledger"):
        rows = pq.read_table(done.root / folder / "predictions.parquet").to_pylist()
        rows.sort(key=lambda row: (row["run"], row["fold"], row["utterance"]))
        posteriors.append(np.array([row["posteriors"] for row in rows]))
    np.testing.assert_allclose(*posteriors, atol=0.0051)
    folders = pq.read_table(done.root / "ledger" / "runs.parquet")["folder"].to_pylist()
    assert not any(Path(folder).is_absolute() for folder in folders)
    for path in (done.root / "saved").rglob("*"):
        assert path.is_dir() or str(done.root).encode() not in path.read_bytes()


def test_saved_ledgers_are_joined_and_a_run_of_several_counts_once(done: StandIns, tmp_path: Path) -> None:
    one, other = (tmp_path / name for name in ("one", "other"))
    for folder in (one, other):
        shutil.copytree(done.root / "saved" / done.grid().root.name, folder)
    shutil.rmtree(one / "tess_ravdess")
    summary = build_ledger([], tmp_path / "ledger", [*CORPORA], "a test", [one, other])
    assert summary["runs"] == pq.read_metadata(done.root / "ledger" / "runs.parquet").num_rows
    assert summary["predictions"] == pq.read_metadata(done.root / "ledger" / "predictions.parquet").num_rows
    runs = pq.read_table(tmp_path / "ledger" / "runs.parquet")["config_hash"].to_pylist()
    assert len(set(runs)) == len(runs)


def test_a_damaged_saved_ledger_is_named(done: StandIns, tmp_path: Path) -> None:
    grid = fresh(done, tmp_path)
    path = tmp_path / "saved" / grid.root.name / "ravdess" / "runs.parquet"
    path.write_bytes(path.read_bytes()[:-7])
    with refuses(where="ravdess/runs.parquet"):
        _ = grid.saved_runs
    with refuses(where="ravdess/runs.parquet"):
        save(done, grid, tmp_path / "ledger", tmp_path / "saved")


def test_nothing_saved_and_nothing_made_is_an_error(done: StandIns, tmp_path: Path) -> None:
    grid = done.grid()
    grid = replace(grid, places=replace(grid.places, exp=tmp_path / "exp"))
    with refuses(where="saved"):
        save(done, grid, tmp_path / "ledger", tmp_path / "saved")


def test_all_tables_come_of_the_saved_ledger_alone(done: StandIns, tmp_path: Path) -> None:
    """Without corpora, features, experiments: a clone has the code, the recipe and what is saved."""
    recipe = done.recipe
    clone = tmp_path / "a recipe"
    clone.mkdir()
    for name in ("local", "conf", "run.sh"):
        copy = shutil.copytree if (recipe / name).is_dir() else shutil.copy2
        copy(recipe / name, clone / name)
    shutil.copytree(done.root / "saved", clone / "results")
    stand_ins = StandIns(tmp_path, clone / "exp")
    options = ["--stage", "7", "--kept", str(clone / "results"), "--only", "tess,ravdess", "--folds", "1"]
    found = stand_ins.run(*options, IEMOCAP="", TESS="", RAVDESS="", CUSTOMER_PTBR="")
    assert found.returncode == 0, found.stderr
    (root,) = (clone / "exp").glob("tiny_*")
    table = pq.read_table(root / "ledger" / "runs.parquet")
    assert set(table["code_hash"].to_pylist()) == {code_hash()}
    assert (root / "report" / "index.html").stat().st_size > 10_000
    findings = json.loads((root / "findings" / "findings.json").read_text())
    assert findings["targets"].keys() == {"ravdess"}
    assert not list((clone / "exp").rglob("model.safetensors"))
