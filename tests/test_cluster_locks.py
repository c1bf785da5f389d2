"""Steps before cluster jobs refuse a file system without locks, and write nothing."""

import runpy
import sys

import pytest
from conftest import ROOT

from ser.config import write_experiment


@pytest.fixture
def without_locks(monkeypatch):
    monkeypatch.setattr("ser.common.files.lock_file", lambda file: True)  # a lock that every process gets
    monkeypatch.setenv("train_cmd", "slurm.pl")


@pytest.mark.parametrize("name", ["configure", "grid", "extract_features"])
def test_locks_are_checked_before_jobs_are_sent(made, without_locks, tmp_path, monkeypatch, capsys, name):
    write_experiment(made.experiment(), tmp_path / "config.yaml")
    before = sorted(tmp_path.rglob("*"))
    where = ["--recipe", made.recipe, "--data", made.data_root, "--dump", tmp_path / "dump", "--exp", tmp_path / "exp"]
    words = {
        "configure": [tmp_path / "exp", "corpora=[ravdess]"],
        "grid": ["root", "--preset", "paper", *where],
        "extract_features": [tmp_path / "config.yaml", made.data_root / "one", tmp_path / "dump"],
    }[name]
    monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
    assert runpy.run_path(str(ROOT / "steps" / f"{name}.py"), run_name="step")["main"]() == 1
    assert "cannot be locked (two processes get one lock)" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before
