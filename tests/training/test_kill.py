"""After kill -9 at any moment, the same command gives the same weights and epochs.jsonl as without."""

import os
from pathlib import Path

import programs
import pytest
from safetensors.torch import load_file

HERE = Path(__file__).resolve().parent


def train(made, folder: Path, place: str = "nowhere", count: int = 0) -> int:
    folder.mkdir(exist_ok=True)
    path = os.pathsep.join([str(HERE.parents[1]), str(HERE.parent)])
    return programs.run(HERE / "killed_training.py", made.root, folder, place, count, PYTHONPATH=path).returncode


@pytest.fixture(scope="module")
def straight(made, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("straight")
    assert train(made, folder) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "kills",
    [
        [("step", 1), ("step", 6), ("step", 2)],
        [("validation", 2), ("step", 4), ("validation", 2)],
        [("checkpoint", 1), ("checkpoint", 7), ("checkpoint", 2)],
        [("validation", 3), ("end", 1)],
        [("epochs", 2)],
    ],
    ids=str,
)
def test_a_killed_training_is_resumed_bit_for_bit(made, straight, tmp_path, kills):
    for place, count in kills:
        assert train(made, tmp_path, place, count) == -9
        assert not (tmp_path / "model.safetensors").exists()
    assert train(made, tmp_path) == 0
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (tmp_path, straight))
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours)
    assert (tmp_path / "epochs.jsonl").read_bytes() == (straight / "epochs.jsonl").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in straight.iterdir()}
