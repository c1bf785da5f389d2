"""Several experiments as one model: the mean of their posteriors, in predict, card, calibration and graph."""

import json

import numpy as np
import pytest
import soundfile
from conftest import refuses
from made_models import SMALL, made_model, swelling
from packed import edit, finish
from scored import decoded

from ser import load_model
from ser.cli import main
from ser.common import InputError, digest
from ser.common.records import write_record
from ser.config import read_experiment
from ser.config.load import shared_settings
from ser.corpora.kaldi import read_table
from ser.inference.model import DESCRIPTION, open_model
from ser.inference.onnx.export import export
from ser.inference.pack import pack
from ser.inference.predictor import Predictor
from ser.nets import Ensemble

pytestmark = pytest.mark.slow

SETTINGS = ["training.max_epochs=1", "batches.normalisation=speaker"]


@pytest.fixture(scope="module")
def members(made, tmp_path_factory):
    """Three experiments: two seeds, and another encoder with another pooling."""
    root = tmp_path_factory.mktemp("members")
    own = [("seed=0",), ("seed=1",), ("seed=2", "temporal=tdnn", "pooling=statistics")]
    return [finish(made, root, made.experiment(*SETTINGS, *settings)) for settings in own]


@pytest.fixture(scope="module")
def ensemble(made, members, tmp_path_factory):
    out = tmp_path_factory.mktemp("ensemble") / "model"
    pack(members, out, made.recipe, made.data_root, made.dump)
    return out


def findings_of(member, path, **changed):
    """findings.json of a grid of a member's settings."""
    settings = shared_settings(read_experiment(member / "config.yaml"))
    settings.pop("training.budget", None)
    panel = {"panel": "leave one corpus out", "target": "three", "source": "one two", "metric": "ua", "kind": "score"}
    records = [panel | {"value": 0.615, "low": 0.5, "high": 0.73}, panel | {"metric": "wa", "value": 0.9}]
    found = {"comparable_hash": digest(settings), "coverage": 0.95, "transfer": {"records": records}}
    write_record(path, found | changed)
    return path


def test_the_card_shows_how_models_of_these_settings_do_on_corpora_left_out(made, members, tmp_path):
    findings = findings_of(members[0], tmp_path / "findings.json")
    pack(members[0], tmp_path / "model", made.recipe, made.data_root, made.dump, findings=findings)
    assert "| three    | one, two     | 61.5   | 50.0 to 73.0 (95%)" in (tmp_path / "model" / "README.md").read_text()
    assert load_model(tmp_path / "model")


@pytest.mark.parametrize("changed", [{"comparable_hash": "other"}, {"transfer": {"records": []}}])
def test_findings_of_other_models_or_without_such_scores_are_refused(made, members, tmp_path, changed):
    findings = findings_of(members[0], tmp_path / "findings.json", **changed)
    with refuses(where="findings.json"):
        pack(members[0], tmp_path / "model", made.recipe, made.data_root, made.dump, findings=findings)
    assert not (tmp_path / "model").exists()


def mean_decoded(members, corpus, part):
    """Utterance -> mean over members of the decoded posteriors, as another reader has them."""
    found = [decoded(folder, corpus, part) for folder in members]
    return {key: np.mean([rows[key] for rows in found], axis=0) for key in found[0]}


def test_predict_is_the_mean_of_what_the_members_decoded(made, members, ensemble):
    expected = mean_decoded(members, "one", "test")
    answers = load_model(ensemble).predict(made.data_root / "one" / "strict_fold1" / "test", head="one", raw=True)
    assert len(answers) == len(expected) == 12
    for answer in answers:
        np.testing.assert_allclose(list(answer.posteriors.values()), expected[answer.id], atol=1e-5)
    single = decoded(members[0], "one")
    assert max(np.abs(single[key] - row).max() for key, row in expected.items()) > 1e-3


def recall(posteriors, truth, classes):
    """Unweighted average recall, fraction."""
    correct = {name: [] for name in classes}
    for key, row in posteriors.items():
        correct[truth[key]].append(classes[row.argmax()] == truth[key])
    return float(np.mean([np.mean(values) for values in correct.values()]))


def test_scores_and_calibration_are_those_of_the_ensemble(made, members, ensemble):
    found = json.loads((ensemble / DESCRIPTION).read_text())
    for part, key in (("test", "test"), ("valid", "valid")):
        posteriors = mean_decoded(members, "one", part)
        truth = read_table(made.data_root / "one" / "strict_fold1" / part / "utt2emo")
        ua = recall(posteriors, truth, found["heads"]["one"])
        assert found["metrics"][key]["one"]["ua"] == pytest.approx(ua)
    assert found["metrics"]["valid"].keys() == {"one", "two"}
    assert found["calibration"]["one"]["ua"] == pytest.approx(found["metrics"]["valid"]["one"]["ua"])
    temperature = found["calibration"]["one"]["temperature"]
    rows = np.log(list(mean_decoded(members, "one", "valid").values())) / temperature
    after = np.exp(rows) / np.exp(rows).sum(1, keepdims=True)
    np.testing.assert_allclose(found["calibration"]["one"]["confidence"], np.sort(after.max(1)), atol=1e-4)


def test_the_package_holds_all_members(members, ensemble):
    opened = open_model(ensemble)
    assert isinstance(opened.network, Ensemble)
    assert len(opened.network.members) == 3
    assert [one["temporal"] for one in opened.description["members"]] == ["blstm", "blstm", "tdnn"]
    assert [one["seed"] for one in opened.description["members"]] == [0, 1, 2]
    card = (ensemble / "README.md").read_text()
    assert "An ensemble of 3 networks" in card
    assert "`blstm` network with `mu_sigma2` pooling (2)" in card
    assert "`tdnn` network with `statistics` pooling (1)" in card
    assert "fold1_seed2" in card


def test_a_description_of_members_that_differ_is_refused(made, members, tmp_path):
    pack(members[:2], tmp_path / "model", made.recipe, made.data_root, made.dump)
    whole = json.loads((tmp_path / "model" / DESCRIPTION).read_text())
    for change in ([], [{**whole["settings"], "fold": 2}], [{}]):
        edit(tmp_path / "model", lambda values, change=change: values.update(members=change))
        with pytest.raises(InputError, match=r"model\.json: .*(members|settings)"):
            open_model(tmp_path / "model")
    edit(tmp_path / "model", lambda values: values.update(members=[*whole["members"], whole["settings"]]))
    with refuses(where="model.safetensors"):
        open_model(tmp_path / "model")


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"overrides": ["fold=2"]}, "fold = 1 and 2"),
        ({"overrides": ["batches.frame_step=2"]}, "batches.frame_step = 1 and 2"),
        ({"overrides": ["batches.normalisation=global"]}, "batches.normalisation = speaker and global"),
        ({"overrides": ["task=unified"]}, "task = multi and unified"),
        ({"corpora": "one"}, "corpora"),
    ],
    ids=["fold", "frames", "normalisation", "task", "corpora"],
)
def test_experiments_of_something_else_are_refused(made, members, tmp_path, settings, name):
    experiment = made.experiment(*SETTINGS, "seed=5", *settings.pop("overrides", []), **settings)
    other = finish(made, tmp_path, experiment)
    with pytest.raises(InputError, match=name) as caught:
        pack([members[0], other], tmp_path / "model", made.recipe, made.data_root, made.dump)
    assert str(other) in str(caught.value)
    assert not (tmp_path / "model").exists()


def test_an_experiment_given_twice_is_refused(made, members, tmp_path):
    with refuses(where=members[1]):
        pack([*members, members[1]], tmp_path / "model", made.recipe, made.data_root, made.dump)


def test_the_command_takes_several_experiments(made, members, tmp_path, capsys):
    roots = ["--recipe", str(made.recipe), "--data", str(made.data_root), "--dump", str(made.dump)]
    assert main(["pack", *map(str, members[:2]), str(tmp_path / "model"), *roots]) == 0
    assert len(open_model(tmp_path / "model").description["members"]) == 2
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, np.random.default_rng(0).normal(0, 0.1, 4000), 8000)
    capsys.readouterr()
    assert main(["explain", str(tmp_path / "model"), str(clip), "--out", str(tmp_path / "a.png")]) == 1
    assert str(tmp_path / "model") in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()


def test_the_graph_of_an_ensemble_answers_as_predict(tmp_path):
    pytest.importorskip("onnxruntime")
    samples = swelling(5000, 20_000)
    made, other = (made_model(samples, *SMALL, f"temporal={name}", "pooling=mu") for name in ("lstm", "tdnn"))
    made = type(made)(**{**vars(made), "network": Ensemble([made.network, other.network]).eval()})
    assert export(Predictor(made), "waveform", tmp_path / "a.onnx") < 1e-4
