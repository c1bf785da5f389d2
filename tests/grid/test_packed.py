"""Several workers of one job: what they make, and how they end."""

import json
import signal
import sys
from pathlib import Path

import programs
import pytest
from stand_ins import StandIns, wait_for

from ser.common.run_folder import CHECKPOINT, EPOCHS, LOG
from ser.grid.state import State
from ser.grid.status import read_grid_status
from ser.grid.workers import run_workers

LONG = ("training.max_epochs=5000", "training.patience=5000")
# Ends on SIGTERM as a training does, and leaves a file that says so.
WORKER = """
import pathlib, signal, sys, time
def end(*_):
    pathlib.Path(sys.argv[1] + ".ended").touch()
    sys.exit(75)
signal.signal(signal.SIGTERM, end)
pathlib.Path(sys.argv[1] + ".started").touch()
time.sleep(300)
"""


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        (("pass", "pass"), 0),
        (("pass", "sys.exit(1)"), 1),
        (("os.kill(os.getpid(), 9)", "pass"), 1),
        (("sys.exit(75)", "sys.exit(1)"), 75),
    ],
)
def test_the_exit_code_of_a_job_is_that_of_its_workers(tmp_path: Path, ends: tuple[str, ...], code: int) -> None:
    commands = {
        tmp_path / "log" / f"{n}.log": [sys.executable, "-c", f"import os, sys; print({n}, flush=True); {end}"]
        for n, end in enumerate(ends)
    }
    assert run_workers(commands) == code
    assert [path.read_text() for path in commands] == ["0\n", "1\n"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGKILL, None)])
def test_workers_end_with_their_job_be_it_that_it_is_killed(tmp_path: Path, number: int, code: int | None) -> None:
    commands = {str(tmp_path / f"{n}.log"): [sys.executable, "-c", WORKER, str(tmp_path / n)] for n in "ab"}
    program = f"import pathlib, sys; from ser.grid.workers import run_workers\nof = {commands!r}\n"
    job = programs.start("-c", f"{program}sys.exit(run_workers({{pathlib.Path(log): of[log] for log in of}}))")
    wait_for(lambda: len(list(tmp_path.glob("*.started"))) == 2)
    job.send_signal(number)
    wait_for(lambda: len(list(tmp_path.glob("*.ended"))) == 2)
    if code is not None:
        assert job.wait() == code


@pytest.mark.slow
def test_packed_workers_finish_a_grid_as_one_process_does(finished: StandIns, tmp_path: Path) -> None:
    packed = StandIns(finished.root, tmp_path / "exp")
    output, errors = (job := packed.start("run", "--pack", "2")).communicate()
    assert job.returncode == 0, errors
    logs = [packed.grid().root / "log" / f"grid.1.{n}.log" for n in (1, 2)]
    assert output == f"logs: {logs[0]} {logs[1]}\n"
    done = [line for log in logs for line in log.read_text().splitlines() if ": done in " in line]
    assert sorted(line.partition(":")[0] for line in done) == sorted(e.folder for e in packed.grid().experiments)
    for e in packed.grid().experiments:
        one, other = finished.grid().folder(e), packed.grid().folder(e)
        assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
        for name in ("result.json", "zero_shot.json"):
            assert json.loads((one / name).read_text())["targets"] == json.loads((other / name).read_text())["targets"]


@pytest.mark.slow
def test_a_signal_to_a_job_has_all_its_workers_write_checkpoints_from_which_they_go_on(
    prepared: Path, tmp_path: Path
) -> None:
    packed = StandIns(prepared, tmp_path / "exp")
    grid = packed.grid(*LONG)
    folders = [grid.folder(e) for e in grid.experiments]
    for resumed in (False, True):
        job = packed.start("run", *LONG, "--pack", "2")
        if resumed:
            wait_for(
                lambda: sum("continued from" in (f / LOG).read_text() for f in folders if (f / LOG).is_file()) == 2
            )
        else:
            wait_for(lambda: sum((folder / EPOCHS).is_file() for folder in folders) == 2)
        job.send_signal(signal.SIGUSR1)
        _, errors = job.communicate()
        assert job.returncode == 75, errors
        states = [found.state for _, found in read_grid_status(grid).experiments]
        assert states == [State.MISSING] * 4  # nobody holds a lock
        assert sum((folder / CHECKPOINT).is_file() for folder in folders) == 2
        for number in (1, 2):
            text = (grid.root / "log" / f"grid.1.{number}.log").read_text()
            assert text.count("error: SIGUSR1. What is done is saved.") == 1 + resumed
