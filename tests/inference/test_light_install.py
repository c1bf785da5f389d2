"""What `pip install ser` brings is enough to use a model: without the packages of the extra `train`."""

import os
import re
import subprocess
import sys
import tomllib

import pytest
from conftest import ROOT

MODULES = {"scikit-learn": "sklearn", "fast-mp3-augment": "fast_mp3_augment"}
RUN = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
from ser.cli import main
sys.exit(main({arguments!r}))
"""


def of_training():
    """The packages of the extra `train`, by the names that they are imported by."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.match(r"[\w-]+", requirement)[0] for requirement in project["optional-dependencies"]["train"]]
    assert len(names) > 8
    return {MODULES.get(name, name) for name in names}


def run(*arguments):
    code = RUN.format(absent=of_training(), arguments=[str(a) for a in arguments])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("form", ["table", "csv", "jsonl", "ark"])
def test_predict_runs_without_the_packages_of_training(made, packed, tmp_path, form):
    files = sorted((made.root / "one").glob("one1_*.wav"))[:2]
    done = run("predict", packed, *files, "--format", form, "--out", tmp_path / f"out.{form}")
    assert done.returncode == 0, done.stderr


def test_a_command_that_needs_more_names_the_fix(made, packed, tmp_path):
    done = run("explain", packed, min((made.root / "one").glob("one1_*.wav")), "--out", tmp_path / "x.png")
    assert done.returncode == 1
    assert done.stderr.startswith("error: the package matplotlib is not installed. Fix: pip install '.[train]' ")
    assert done.stderr.count("\n") == 1
