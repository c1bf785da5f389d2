"""A baseline as a model: labels are those of scikit-learn, and the package is arrays and JSON alone."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
from conftest import refuses
from packed import edit
from safetensors import safe_open
from scored import hypotheses
from sklearn.svm import SVC

from ser import load_model
from ser.cli import main
from ser.corpora.kaldi import read_table
from ser.inference.model import DESCRIPTION, FILES, open_model
from ser.inference.pack import pack
from ser.nets import LinearSVM
from ser.scoring.baseline import run
from ser.training import svm_baseline as svm

CELLS = [(f, n) for f in ("logmel", "statistics") for n in ("speaker", "global", "none")]


@pytest.fixture(scope="module")
def packed_svm(made, tmp_path_factory):
    """A factory: features and normalisation to (folder of the baseline, model package)."""
    found = {}

    def make(features, normalisation):
        if (features, normalisation) not in found:
            root = tmp_path_factory.mktemp("svm")
            folder = root / "exp" / "one_two" / f"svm_{features}_{normalisation}" / "fold1_seed0"
            run(made.open(made.experiment("task=unified")), features, normalisation, folder)
            pack(folder, root / "model", made.recipe, made.data_root, made.dump)
            found[features, normalisation] = folder, root / "model"
        return found[features, normalisation]

    return make


@pytest.mark.parametrize(("features", "normalisation"), CELLS)
def test_labels_are_those_of_the_baseline(made, packed_svm, features, normalisation):
    folder, model = packed_svm(features, normalisation)
    expected = hypotheses(folder, "one")
    answers = load_model(model).predict(made.data_root / "one" / "strict_fold1" / "test", raw=True)
    assert {answer.id: answer.label for answer in answers} == expected
    for answer in answers:
        assert sum(answer.posteriors.values()) == pytest.approx(1, abs=1e-5)
        assert 0 < answer.confidence <= 1


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_every_label_is_that_of_scikit_learn_also_where_votes_tie(classes):
    rng = np.random.default_rng(classes)
    targets = rng.integers(0, classes, 200)
    values = rng.standard_normal((200, 6)) + 0.5 * rng.standard_normal((classes, 6))[targets]
    found = svm.fit([(values, targets)], {"c": (values, targets)}, classes, "global")
    names = [f"c{i}" for i in range(classes)]
    network = LinearSVM("h", ["absent", *names], names, 6)
    network.load_state_dict(found.tensors())
    new = rng.standard_normal((3000, 6))
    margins = network.embed(torch.from_numpy(new)[:, None], torch.ones(3000))
    scaled = svm.standardise(new, found.mean, found.deviation)
    pairs = SVC(kernel="linear", C=found.penalty, class_weight="balanced", decision_function_shape="ovo")
    decided = pairs.fit(svm.standardise(values, found.mean, found.deviation), targets).decision_function(scaled)
    np.testing.assert_allclose(margins, -decided[:, None] if classes == 2 else decided, atol=1e-6)
    posteriors = network.posteriors(margins, "h", "h")
    assert (posteriors.argmax(1).numpy() == found.predict(new) + 1).all()
    assert (posteriors[:, 0] == 0).all()
    np.testing.assert_allclose(posteriors.sum(1), 1, atol=1e-6)


def test_scores_by_hand_of_a_tie():
    """Three classes, each with one vote: the first answers, though the sum of the third's margins is the greatest."""
    network = LinearSVM("h", "abc", "abc", 1)
    # a beats b by 1, c beats a by 2, b beats c by 0.5: sums a -1, b -0.5, c 1.5
    (found,) = network.posteriors(torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64), "h", "h").tolist()
    scores = np.array([1 + 1.5 / 7.5, 1 - 0.5 / 4.5, 1 - 1 / 6])  # a and c exchanged
    np.testing.assert_allclose(found, np.exp(scores) / np.exp(scores).sum(), rtol=1e-6)


def test_speaker_statistics_are_of_functionals_of_the_given_files(made, packed_svm):
    """Of one speaker's files alone, as of all test files."""
    folder, model = packed_svm("statistics", "speaker")
    test = made.data_root / "one" / "strict_fold1" / "test"
    files, speakers = read_table(test / "wav.scp"), read_table(test / "utt2spk")
    expected = hypotheses(folder, "one")
    for speaker in set(speakers.values()):
        own = [key for key in files if speakers[key] == speaker]
        answers = load_model(model).predict([files[key] for key in own], speakers=[speaker] * len(own), raw=True)
        assert [answer.label for answer in answers] == [expected[key] for key in own]


def test_the_package(packed_svm):
    folder, model = packed_svm("logmel", "speaker")
    assert sorted(path.name for path in model.iterdir()) == sorted([*FILES, "SHA256SUMS"])
    with safe_open(model / "model.safetensors", "pt") as file:
        assert set(file.keys()) == {"mean", "deviation", "weights", "intercepts"}
        assert file.get_tensor("weights").shape == (6, 401)
    found, result = json.loads((model / DESCRIPTION).read_text()), json.loads((folder / "result.json").read_text())
    assert found["svm"]["C"] == result["C"]
    assert found["svm"]["functionals"]["bands"] == 40
    assert found["metrics"]["test"]["one"]["ua"] == result["targets"]["one"]["ua"]
    calibration = found["calibration"]["unified"]
    n = {corpus: result["valid"][corpus]["n"] for corpus in ("one", "two")}
    assert calibration["n"] == sum(n.values())
    right = sum(n[corpus] * result["valid"][corpus]["wa"] for corpus in n)
    assert sum(calibration["right"]) == pytest.approx(right)
    assert len(found["group_statistics"]["mean"]) == 401
    card = (model / "README.md").read_text()
    assert "linear SVM" in card
    assert "votes" in card
    assert "network with" not in card


def test_commands(packed_svm, made, tmp_path, capsys):
    _, model = packed_svm("logmel", "global")
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, np.random.default_rng(0).normal(0, 0.1, 4000), 8000)
    assert main(["predict", str(model), str(clip)]) == 0
    assert main(["timeline", str(model), str(clip), "--out", str(tmp_path / "timelines")]) == 0
    test = made.data_root / "one" / "strict_fold1" / "test"
    assert main(["check", str(model), str(test), "--out", str(tmp_path / "checked")]) == 0
    assert main(["explain", str(model), str(clip), "--out", str(tmp_path / "a.png")]) == 1
    assert main(["export", str(model), str(tmp_path / "a.onnx")]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert [str(model) in line for line in errors] == [True, True]
    assert not list(tmp_path.glob("a.*"))


def test_what_cannot_be_packed_is_refused(made, packed_svm, packed_with, tmp_path):
    folder, _ = packed_svm("logmel", "global")
    places = made.recipe, made.data_root, made.dump
    with refuses(where=folder):
        pack([folder, packed_with()[0]], tmp_path / "model", *places)
    own = tmp_path / "svm_logmel_global" / "fold1_seed0"
    shutil.copytree(folder, own)
    other, _ = packed_svm("logmel", "none")
    shutil.copy(other / "svm.safetensors", own)
    with refuses(where=own):
        pack(own, tmp_path / "model", *places)
    (own / "svm.safetensors").write_bytes(b"\x80\x04no")
    with refuses(where="svm.safetensors"):
        pack(own, tmp_path / "model", *places)
    (own / "svm.safetensors").unlink()
    with refuses("svm.safetensors"):
        pack(own, tmp_path / "model", *places)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"features": "opensmile"},
        {"functionals": {}},
        {"trained": ["angry"]},
        {"trained": ["happy", "angry"]},
        {"trained": ["angry", "happy"]},
        {"C": "1"},
    ],
)
def test_a_description_that_is_none_is_refused(packed_svm, tmp_path, change):
    shutil.copytree(packed_svm("logmel", "global")[1], tmp_path / "model")
    edit(tmp_path / "model", lambda values: values["svm"].update(change))
    with refuses(where=tmp_path / "model"):
        open_model(tmp_path / "model")
