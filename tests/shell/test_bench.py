"""Benchmarks in a Python environment without their packages."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[1] / "bench"
SCRIPTS = sorted(path.name for path in BENCH.glob("*.py") if "from needs import" in path.read_text())


def run(script: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *options, BENCH / script, "--help"], capture_output=True, text=True)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_lack_of_packages_is_one_line(script: str) -> None:
    done = run(script, "-S")  # without site-packages
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "kaldiio" in line
    assert "ser_environment dev" in line


def test_the_benchmark_of_features_names_those_of_the_development_extra() -> None:
    (line,) = run("features.py", "-S").stderr.splitlines()
    assert "librosa" in line
