"""What the extra `predict` brings is enough to use a model, and `predict-onnx` to use a graph of it."""

import json
import os
import re
import subprocess
import sys
import tomllib

import numpy as np
import onnx
import pytest
from conftest import ROOT, refuses

from ser.cli import main
from ser.inference.onnx.runtime import GraphPredictor

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
    names.remove("ser")  # the extra `predict`, of which it builds
    return {MODULES.get(name, name) for name in names}


def run(*arguments, also=()):
    code = RUN.format(absent=of_training() | set(also), arguments=[str(a) for a in arguments])
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


@pytest.fixture
def graph(packed, tmp_path):
    assert main(["export", str(packed), str(tmp_path / "model.onnx"), "--head", "one"]) == 0
    return tmp_path / "model.onnx"


def test_a_graph_answers_as_its_package_does_without_torch(made, packed, graph, tmp_path):
    (tmp_path / "empty.wav").write_bytes(b"")
    files = [*sorted((made.root / "one").glob("one1_*.wav"))[:3], tmp_path / "empty.wav"]
    given = [*files, "--format", "jsonl"]
    without = run("predict", graph, *given, "--out", tmp_path / "graph.jsonl", also=("torch", "onnx"))
    assert without.returncode == 1  # of the empty file
    assert run("predict", packed, *given, "--head", "one", "--out", tmp_path / "package.jsonl").returncode == 1
    ours, theirs = (
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        for name in ("graph.jsonl", "package.jsonl")
    )
    assert [row.get("label") for row in ours] == [row.get("label") for row in theirs]
    assert ours[3]["error"] == theirs[3]["error"] != ""
    for one, other in zip(ours[:3], theirs[:3], strict=True):
        assert one["posteriors"] == pytest.approx(other["posteriors"], abs=1e-4)
        assert one["warnings"] == other["warnings"]


def test_a_timeline_of_a_graph_is_that_of_its_package(made, packed, graph, tmp_path):
    recording = min((made.root / "one").glob("one1_*.wav"))
    given = ["--format", "rttm,csv", "--posteriors", "true", "--window", "0.2", "--hop", "0.05"]
    given += ["--normalisation", "model", "--decoder", "viterbi"]  # a graph takes no statistics of the recording
    done = run("timeline", graph, recording, "--out", tmp_path / "graph", *given, also=("torch", "onnx"))
    assert (done.returncode, done.stderr) == (0, "")
    assert main(["timeline", str(packed), str(recording), "--head", "one", "--out", str(tmp_path / "own"), *given]) == 0
    ours, theirs = ((tmp_path / name / f"{recording.stem}.rttm").read_text() for name in ("graph", "own"))
    assert ours == theirs != ""
    done = run("timeline", graph, recording, "--out", tmp_path / "all", *given[2:], also=("torch", "onnx"))
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert done.stderr.startswith("no pictures, since matplotlib is not installed: ")
    assert {path.suffix for path in (tmp_path / "all").iterdir()} == {".rttm", ".TextGrid", ".csv", ".json"}
    done = run("timeline", graph, recording, "--html", "--out", tmp_path / "graph")
    assert done.returncode == 1
    assert "--html: a graph has no model card for the page; give the model package it is of" in done.stderr


def test_a_timeline_of_a_graph_that_was_trained_with_statistics_of_speakers(made, packed_with, tmp_path, capsys):
    _, package = packed_with("batches.normalisation=speaker", corpora="one")
    assert main(["export", str(package), str(tmp_path / "model.onnx")]) == 0
    given = [tmp_path / "model.onnx", min((made.root / "one").glob("one1_*.wav")), "--out", tmp_path, "--format", "csv"]
    given = ["timeline", *map(str, given), "--window", "0.2", "--hop", "0.05"]
    assert main(given) == 0
    assert capsys.readouterr().err.endswith("with which labels are worth less; give the model package\n")
    assert main([*given, "--normalisation", "model"]) == 0
    assert capsys.readouterr().err == ""
    assert main([*given, "--normalisation", "channel"]) == 1
    refused = "error: --normalisation channel: a graph takes no statistics of a channel; give the model package\n"
    assert capsys.readouterr().err == refused


def test_a_package_without_torch_names_the_fix(made, packed):
    done = run("predict", packed, min((made.root / "one").glob("one1_*.wav")), also=("torch",))
    expected = "error: the package torch is not installed. Fix: pip install '.[predict]' in the toolkit's folder\n"
    assert (done.returncode, done.stderr) == (1, expected)


@pytest.mark.parametrize(("option", "value"), [("--device", "cuda"), ("--utt2spk", "utt2spk")])
def test_what_a_graph_does_not_do_is_refused(made, graph, capsys, option, value):
    assert main(["predict", str(graph), str(made.root / "one"), option, value]) == 1
    assert f"error: {option}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-100],
        lambda data: data.replace(b"Softmax", b"Softmix"),  # an operation that there is not
        lambda data: data.replace(b"Softmax", b"Softma\xff"),  # one whose name is no text
        lambda data: data.replace(b"posteriors", b"posteriorz"),
        lambda data: b"",
    ],
)
def test_a_damaged_graph_is_named_and_nothing_is_printed(graph, capfd, damage):
    graph.write_bytes(damage(graph.read_bytes()))
    capfd.readouterr()
    with refuses("not an ONNX graph", where=graph):
        GraphPredictor(graph)
    assert capfd.readouterr() == ("", "")


def test_a_graph_with_another_weight_is_refused(graph):
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(data)
    onnx.checker.check_model(onnx.load(graph))
    with refuses("not the graph that `ser export` wrote", where=graph, fix="export it again"):
        GraphPredictor(graph)
    unsealed = onnx.load(graph)
    properties = {p.key: p.value for p in unsealed.metadata_props if p.key != "checksum"}
    del unsealed.metadata_props[:]
    onnx.helper.set_model_props(unsealed, properties)
    onnx.save(unsealed, graph)
    assert GraphPredictor(graph).head == "one"


def test_a_graph_that_cannot_be_run_is_named(graph):
    """Here for its input, which `frames` fills up to what the graph needs."""
    with refuses("cannot be run", where=graph):
        GraphPredictor(graph).posteriors([np.zeros(0, np.float32)])


def test_what_is_no_graph_of_waveforms_is_refused(packed, graph, tmp_path):
    with refuses("no such file", tmp_path / "none.onnx"):
        GraphPredictor(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("x")
    with refuses("not an ONNX graph", tmp_path / "text.onnx"):
        GraphPredictor(tmp_path / "text.onnx")
    with refuses("a graph of head one", "--head two"):
        GraphPredictor(graph, "two")
    assert main(["export", str(packed), str(tmp_path / "spectra.onnx"), "--input", "spectrum", "--head", "one"]) == 0
    with refuses("takes a spectrum", tmp_path / "spectra.onnx"):
        GraphPredictor(tmp_path / "spectra.onnx")
    plain = onnx.load(graph)
    del plain.metadata_props[:]
    onnx.save(plain, tmp_path / "plain.onnx")
    with refuses("metadata that predict needs is missing", tmp_path / "plain.onnx"):
        GraphPredictor(tmp_path / "plain.onnx")
