"""The grid as a user runs it: steps/grid.sh from a recipe folder, on a cut of 12 cells."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, last_error
from stand_ins import StandIns, make

ONLY = ("--only", "tess,ravdess,customer_ptbr")


@pytest.fixture
def stand_ins(tmp_path: Path) -> StandIns:
    root = tmp_path / "stand ins"
    make(root)
    return StandIns(root, root / "a recipe" / "exp")


@pytest.fixture
def ready(prepared: Path, tmp_path: Path) -> StandIns:
    """Stages 1 to 3 have run, for other tests too."""
    return StandIns(prepared, tmp_path / "exp")


def written(folder: Path) -> dict[str, int]:
    names = ("model.safetensors", "train.json", "post.ark", "decode.json", "cuts.jsonl.gz", "info.json", "result.json")
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.name in names}


def test_the_list_is_a_line_a_cell_and_nothing_else(stand_ins: StandIns) -> None:
    done = stand_ins.run("--list", "true", *ONLY)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[:2] == ["ravdess/multi_lstm_mu", "ravdess/unified_lstm_mu"]
    assert len(lines) == 12
    assert done.stderr.startswith("12 of 28 cells with tess, ravdess, customer_ptbr: those of ravdess, customer_ptbr, ")
    assert not stand_ins.exp.exists()


def test_every_recipe_of_a_grid_only_declares() -> None:
    scripts = [*sorted((ROOT / "egs" / "interaffection").rglob("run.sh")), ROOT / "egs" / "public" / "run.sh"]
    assert [script.parent.name for script in scripts] == ["controls", "mini", "interaffection", "public"]
    for script in scripts:
        lines = script.read_text().splitlines()
        assert len(lines) <= 40
        assert re.fullmatch(r'exec "\$recipe/(\.\./)+steps/grid\.sh" --recipe "\$recipe" --grid .* "\$@"', lines[-1])
        assert os.access(script, os.X_OK)


def test_the_recipe_of_the_paper_lists_its_cells() -> None:
    environment = {**os.environ, "SER_ENV": sys.prefix, "IEMOCAP": ""}
    script = ROOT / "egs" / "interaffection" / "run.sh"
    for options, number in (([], 168), (["--only", "tess,ravdess", "--preset", "strong"], 24)):
        done = subprocess.run([script, "--list", "true", *options], env=environment, capture_output=True, text=True)
        assert len(done.stdout.splitlines()) == number
    done = subprocess.run([script], env=environment, capture_output=True, text=True)
    assert "iemocap" in last_error(done)
    assert "--only" in last_error(done)


@pytest.mark.slow
def test_a_cut_of_the_grid_goes_through_and_a_second_run_has_nothing_to_do(stand_ins: StandIns) -> None:
    options = [*ONLY, "--folds", "1", "--nj", "2"]
    done = stand_ins.run(*options)
    assert done.returncode == 0, done.stderr
    (root,) = stand_ins.exp.glob("tiny_*")
    results = [json.loads(path.read_text()) for path in sorted(root.glob("*/*/*/result.json"))]
    unseen = [json.loads(path.read_text()) for path in sorted(root.glob("*/*/*/zero_shot.json"))]
    assert len(results) == len(unseen) == 12
    assert sum(len(r["targets"]) for r in results) + sum(len(r["targets"]) for r in unseen) == 24
    assert all(
        r["updates"] == dict.fromkeys(r["corpora"], 8 // len(r["corpora"])) for r in results if len(r["corpora"]) < 3
    )
    table = [line.split() for line in done.stdout.splitlines()]
    assert ["all", "12", "0", "0", "0", "12"] in table
    assert (root / "status.png").is_file()
    assert (root / "ledger" / "predictions.parquet").is_file()
    assert list((root / "findings").glob("table*.md"))
    # Stages 2 and 3 have made of each corpus and number of copies one set, whatever the number of combinations.
    data = stand_ins.recipe / "data"
    assert len(list(data.glob("tess/strict_fold1/train_*"))) == 1
    assert not list(data.glob("ravdess/strict_fold1/train_*"))
    before = written(stand_ins.recipe)
    again = stand_ins.run(*options, "--stage", "2", "--stop-stage", "4")
    assert again.returncode == 0, again.stderr
    assert written(stand_ins.recipe) == before


@pytest.mark.slow
@pytest.mark.parametrize("pack", ["1", "2"])
def test_terminated_it_takes_its_jobs_along_and_goes_on_later(ready: StandIns, pack: str) -> None:
    long = [*ONLY, "--folds", "1", "--training.max_epochs", "200", "--training.patience", "200"]
    started = subprocess.Popen(
        [ready.recipe / "run.sh", *long, "--exp", ready.exp, "--stage", "4", "--stop-stage", "4", "--pack", pack],
        env={**os.environ, "SER_ENV": sys.prefix},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 600
    while not list(ready.exp.glob("*/*/*/*/epochs.jsonl")):
        assert started.poll() is None, started.stderr.read() if started.stderr else ""
        assert time.monotonic() < end
        time.sleep(0.05)
    started.send_signal(signal.SIGTERM)
    _, errors = started.communicate(timeout=600)
    assert started.returncode == 143, errors
    found = subprocess.run(["pgrep", "-f", f"steps/grid.py run.*{ready.exp}"], capture_output=True, text=True)
    assert found.stdout == ""
    status = ready.run(*long, "--status", "true")
    assert status.returncode == 0, status.stderr
    done, running, failed, missing, every = map(int, status.stdout.split("\nall ")[1].splitlines()[0].split())
    assert (running, failed, every) == (0, 0, 12)
    assert missing > 0
    if pack != "1":
        logs = sorted(ready.exp.glob("*/log/grid.*.*.log"))
        assert [log.name for log in logs] == ["grid.1.1.log", "grid.1.2.log", "grid.2.1.log", "grid.2.2.log"]
    assert done == len(list(ready.exp.glob("*/*/*/*/zero_shot.json")))


@pytest.mark.slow
def test_a_job_that_is_lost_costs_nothing_where_another_makes_the_rest(ready: StandIns) -> None:
    options = ["--only", "tess,ravdess", "--folds", "1"]
    # A launcher that loses the first of two jobs before it begins.
    launcher = ready.exp.parent / "loses.sh"
    launcher.write_text('#!/usr/bin/env bash\nshift 2\n"${@//JOB/2}" || exit\necho "job 1 is lost" >&2\nexit 1\n')
    launcher.chmod(0o755)
    words = str(launcher).replace(" ", "?")  # the words of a launcher are split at spaces, and patterns filled in
    done = ready.run(*options, "--stage", "4", "--stop-stage", "4", train_cmd=words)
    assert "job 1 is lost" in done.stderr
    assert ["all", "4", "0", "0", "0", "4"] in [line.split() for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_failed_cell_is_named_the_rest_is_made_and_the_run_reports_it(ready: StandIns) -> None:
    options = ["--only", "tess,ravdess", "--folds", "1", "--stage", "4", "--stop-stage", "4"]
    root = ready.grid().root
    bad = root / "ravdess" / "unified_lstm_mu" / "fold1_seed0"
    bad.mkdir(parents=True)
    (bad / "model.safetensors").write_bytes(b"no model")
    done = ready.run(*options)
    assert last_error(done).startswith("error: not all is done")
    assert (
        f"failed: ravdess/unified_lstm_mu/fold1_seed0: {bad}/model.safetensors: not readable as a model" in done.stdout
    )
    assert f"log: {bad}/train.log" in done.stdout
    assert ["all", "3", "0", "1", "0", "4"] in [line.split() for line in done.stdout.splitlines()]
    (bad / "model.safetensors").unlink()
    again = ready.run(*options)
    assert again.returncode == 0, again.stderr
    assert ["all", "4", "0", "0", "0", "4"] in [line.split() for line in again.stdout.splitlines()]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "tess,ravdes"], "ravdes is no corpus of the grid; did you mean ravdess?"),
        (["--stage", "8"], "error: --stage 8: stages are 0 to 7"),
        (["--stage", "4", "--stop-stage", "3"], "nothing lies between them"),
        (["--nj", "0"], "--nj 0: a number of jobs from 1"),
        (["--pack", "0"], "--pack 0: a number of processes from 1"),
        (["--seeds", "a"], "error: --seeds a: whole numbers"),
        (["--folds", "1 1"], "error: --folds 1 1: whole numbers from 1, each once"),
        (["--task", "multi"], "unknown option --task"),
        (["--fold", "1"], "unknown option --fold (did you mean --folds?)"),
        (["--training.lr", "1"], "unknown key training.lr; did you mean"),
        (["--grid", "papr"], "error: conf/grids/papr.yaml: no such file"),
        (["--preset", "tini"], "tini.yaml: no such file"),
        (["--exp", "/tmp/JOB/exp"], "a path with JOB in it"),
    ],
)
def test_a_mistake_names_its_fix(stand_ins: StandIns, options: list[str], message: str) -> None:
    assert message in last_error(stand_ins.run(*options))
    assert not (stand_ins.recipe / "data").exists()
