"""A training in two processes on the CPU (gloo) equals that in one process."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import programs
import psutil
import pytest
import torch
from conftest import ROOT, refuses
from made import trainer_of
from safetensors.torch import load_file

from ser.common.run_folder import CHECKPOINT, CONFIG, EPOCHS, MODEL, TRAIN
from ser.config import write_experiment
from ser.training.processes import Processes

COMMON = ("network.dropout=0", "training.device=cpu")


def start(made, folder: Path, *settings: str) -> programs.Program:
    folder.mkdir(exist_ok=True)
    write_experiment(made.experiment(*COMMON, "training.ngpu=2", *settings), folder / CONFIG)
    where = ["--recipe", made.recipe, "--data", made.data_root, "--dump", made.dump]
    return programs.start(ROOT / "steps" / "train.py", folder, *where)


def train(made, folder: Path, *settings: str) -> tuple[int, str]:
    """Train in two processes; return exit code and standard error."""
    process = start(made, folder, *settings)
    return process.wait(), process.printed()[1]


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / EPOCHS).read_text().splitlines()]


def slow(*settings: str):
    return pytest.param(settings, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "settings",
    [
        ("temporal=none", "pooling=statistics", "network.pooled_norm=batch", "network.head_dropout=0.5"),
        slow("task=unified", "temporal=blstm", "training.adversarial_weight=0.1"),
        slow("temporal=tdnn", "network.adapter_size=4", "batches.batch_size=7", "training.gender_weight=0.3"),
        slow("task=unified", "temporal=lstm", "training.valid_utterances=5"),
    ],
    ids=lambda settings: settings[0] + settings[1],
)
def test_two_processes_train_the_same_as_one(made, tmp_path, settings):
    trainer_of(made, tmp_path / "one", *COMMON, *settings).run()
    assert train(made, tmp_path / "two", *settings) == (0, "")
    one, two = (load_file(tmp_path / name / MODEL) for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-5, atol=1e-5)
    for alone, together in zip(rows(tmp_path / "one"), rows(tmp_path / "two"), strict=True):
        assert together["valid_loss"] == pytest.approx(alone["valid_loss"], abs=1e-5)
        assert together["train_loss"] == pytest.approx(alone["train_loss"], abs=1e-5)
    assert json.loads((tmp_path / "two" / TRAIN).read_text())["machine"]["processes"] == 2
    assert not (tmp_path / "one" / CHECKPOINT).exists()


def wait_for_epochs(process: programs.Program, folder: Path, count: int) -> None:
    while not (folder / EPOCHS).is_file() or len(rows(folder)) < count:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)


LONG = ("training.max_epochs=40", "training.patience=40", "network.head_dropout=0.3")


@pytest.fixture(scope="module")
def straight(made, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("straight")
    assert train(made, folder, *LONG)[0] == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_training_of_two_processes_is_resumed_bit_for_bit(made, straight, tmp_path, number):
    process = start(made, tmp_path, *LONG, "training.checkpoint_seconds=0.2")
    wait_for_epochs(process, tmp_path, 4)
    process.send_signal(number)
    errors = process.communicate()[1]
    if number == signal.SIGTERM:
        assert process.returncode == 75
        assert "Checkpoint saved. Rerun the same command to resume." in errors
    assert 4 <= len(rows(tmp_path)) < 40
    assert train(made, tmp_path, *LONG)[0] == 0
    ours, theirs = load_file(tmp_path / MODEL), load_file(straight / MODEL)
    assert all(ours[name].equal(theirs[name]) for name in theirs)


@pytest.mark.slow
def test_a_process_that_is_killed_is_named(made, tmp_path):
    process = start(made, tmp_path, *LONG)
    wait_for_epochs(process, tmp_path, 2)
    (other,) = psutil.Process(process.pid).children()
    other.kill()
    errors = process.communicate()[1]
    assert process.returncode == 1
    assert "error: training.ngpu: process 1 of 0 to 1 ended with -9" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
def test_torchrun_starts_the_processes_as_well(made, straight, tmp_path):
    write_experiment(made.experiment(*COMMON, *LONG), tmp_path / CONFIG)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    where = ["--recipe", made.recipe, "--data", made.data_root, "--dump", made.dump]
    subprocess.run([*torchrun, ROOT / "steps" / "train.py", tmp_path, *where], check=True, capture_output=True)
    ours, theirs = load_file(tmp_path / MODEL), load_file(straight / MODEL)
    assert all(ours[name].equal(theirs[name]) for name in theirs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("batches.batch_size=1",), "2 processes, and batches of 1 utterances of one"),
        (("training.device=cuda",), "training.ngpu: 2 processes, and 0 GPUs"),
    ],
)
def test_too_many_processes_are_refused(made, tmp_path, settings, message):
    if "cuda" in settings[0] and torch.cuda.is_available():
        pytest.skip("there are GPUs")
    code, errors = train(made, tmp_path, *settings)
    assert code == 1
    assert message in errors


@pytest.mark.parametrize(("count", "size"), [(8, 2), (7, 3), (5, 5)])
def test_shares_cover_all_rows_and_are_balanced(count, size):
    shares = [Processes(rank, size).share(count) for rank in range(size)]
    assert np.concatenate([np.arange(count)[share] for share in shares]).tolist() == list(range(count))
    sizes = [share.stop - share.start for share in shares]
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


def test_collective_operations_of_one_process_return_their_input(tmp_path):
    single, module = Processes(), torch.nn.Linear(2, 2)
    values = torch.ones(3, 2)
    assert single.wrap(module, False) is module
    assert single.gather(values, 3) is values
    assert single.maximum(7) == 7
    assert single.is_main


def test_several_processes_are_refused_in_a_grid_or_search(made, tmp_path):
    with refuses("in one process", "training.ngpu"):
        trainer_of(made, tmp_path, "training.ngpu=2")
