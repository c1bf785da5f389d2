"""Real k2 finds the paths that the Viterbi in NumPy finds.

PyPI's k2 is built for Python 3.9 and torch 1.12.1, so it gets an environment of its own, in the folder `k2` of the one
that the tests run in (or in SER_K2_ENV), and a script that needs nothing else.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ser.diarization import k2_decoder, viterbi
from ser.diarization.graph import chain_graph

PACKAGES = ["k2==1.23.2", "torch==1.12.1", "numpy==1.26.4", "graphviz==0.21", "typing-extensions==4.16.0"]


def python39() -> str:
    """A Python 3.9 with venv: SER_PYTHON39, python3.9, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    places = [os.environ.get("SER_PYTHON39"), shutil.which("python3.9"), *sorted(pyenv.glob("3.9.*/bin/python"))]
    for place in filter(None, places):
        check = "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 9))"
        if subprocess.run([place, "-c", check], capture_output=True).returncode == 0:
            return str(place)
    pytest.skip(
        "no Python 3.9 with venv, which PyPI's k2 is built for; install one, or set SER_PYTHON39 to its program"
    )


@pytest.fixture(scope="module")
def k2_python():
    """The Python of an environment with k2, which is made if it is not there."""
    if not os.environ.get("SER_TEST_K2"):
        pytest.skip("real k2 is installed and tried by SER_TEST_K2=1 ./tests/run.sh tests/diarization/test_k2.py")
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("PyPI's k2 is built for Linux on x86_64 alone")
    folder = Path(os.environ.get("SER_K2_ENV") or Path(sys.prefix) / "k2")
    python, done = folder / "bin" / "python", folder / "done"
    if not (done.is_file() and done.read_text().split() == PACKAGES):
        own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        subprocess.run([python39(), "-m", "venv", "--clear", folder], check=True, env=own)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True, env=own)
        done.write_text("\n".join(PACKAGES))
    return python


@pytest.fixture(scope="module")
def answers(k2_python, tmp_path_factory):
    """A function: [(graph, scores)] to what k2 answers to each."""
    folder = tmp_path_factory.mktemp("k2")

    def ask(questions):
        given: dict[str, np.ndarray] = {"graphs": np.array(len(questions))}
        for number, (graph, scores) in enumerate(questions):
            for name in ("source", "target", "label", "score"):
                given[f"{name}_{number}"] = getattr(graph, name)
            given[f"scores_{number}"] = scores
        np.savez(folder / "graphs.npz", **given)
        script = Path(__file__).with_name("k2_answers.py")
        own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        files = [k2_decoder.__file__, folder / "graphs.npz", folder / "answers.npz"]
        subprocess.run([k2_python, script, *files], check=True, env=own)
        found = np.load(folder / "answers.npz")
        return [
            (found[f"labels_{i}"], float(found[f"score_{i}"])) if f"score_{i}" in found else None
            for i in range(len(questions))
        ]

    return ask


def test_a_thousand_random_graphs(answers):
    """Of one to seven classes; costs and scores are real numbers, so that no two paths tie."""
    questions = []
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        classes, windows = int(rng.integers(1, 8)), int(rng.integers(1, 80))
        graph = chain_graph(rng.integers(1, 7, classes).tolist(), rng.exponential(2, (classes, classes)))
        questions.append((graph, np.log(rng.dirichlet(np.full(classes, 0.3), windows) + 1e-8).astype(np.float32)))
    without = 0
    for question, found in zip(questions, answers(questions), strict=True):
        expected = viterbi.best_path(*question)
        assert (found is None) == (expected is None)
        without += found is None
        if found is not None:
            np.testing.assert_array_equal(found[0], expected[0])
            assert found[1] == pytest.approx(expected[1], abs=1e-6)
    assert without > 10


def test_the_longest_recording_that_k2_takes(answers):
    rng = np.random.default_rng(0)
    graph = chain_graph([4] * 5, np.full((5, 5), 4.0))
    scores = np.log(rng.dirichlet(np.full(5, 0.3), k2_decoder.MOST_WINDOWS + 1) + 1e-8).astype(np.float32)
    longest, beyond = answers([(graph, scores[:-1]), (graph, scores)])
    own, score = viterbi.best_path(graph, scores[:-1])
    assert longest[1] == pytest.approx(score, rel=1e-7)
    np.testing.assert_array_equal(longest[0], own)
    assert beyond is None
