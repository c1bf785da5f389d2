"""docs/tour.ipynb runs from top to end."""

import subprocess
import sys

import pytest
from conftest import ROOT

pytestmark = pytest.mark.slow


def test_the_tour_runs(tmp_path, monkeypatch):
    pytest.importorskip("nbmake")
    monkeypatch.setenv("TOUR_FOLDER", str(tmp_path))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbmake", ROOT / "docs" / "tour.ipynb"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "docs", check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert len(list((tmp_path / "model").glob("*.safetensors"))) == 1
