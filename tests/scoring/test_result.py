import numpy as np
import pytest
from scored import archive, decoded, decoded_again, hypotheses

from ser.batches import UtteranceDataset
from ser.common import InputError
from ser.features import ArkWriter
from ser.features.archive import read_archive
from ser.nets.evaluate import log_posteriors
from ser.scoring.calibration import choose_temperature, expected_calibration_error, tempered
from ser.scoring.decode import Decoder
from ser.scoring.files import read_result
from ser.scoring.result import score_experiment
from ser.scoring.results_table import read_results, results_table
from ser.training import Trainer


@pytest.fixture
def trained(made, tmp_path):
    """An experiment in <tmp>/exp/one_two/multi_blstm_mu_sigma2/fold1_seed0, trained and decoded."""
    experiment = made.experiment("training.max_epochs=1")
    data = made.open(experiment)
    folder = tmp_path / "exp" / experiment.folder
    folder.mkdir(parents=True)
    Trainer(experiment, folder, data.heads, data.parts("train"), data.parts("valid"), data.hashes()).run()
    decoder = Decoder(experiment, folder)
    decoder.decode("test", data.parts("test"))
    return data, folder, decoder.network, decoder


def test_posteriors_are_keyed_and_sum_to_one(trained):
    data, folder, network, decoder = trained
    part = data.parts("test")["one"]
    post = decoded(folder, "one")
    score_experiment(data, folder, "test")
    hyp = hypotheses(folder, "one")
    assert set(post) == set(part.ids) == set(hyp)
    expected = np.exp(log_posteriors(network, UtteranceDataset(part, data.experiment.batches), "one", decoder.device))
    for key, row in zip(part.ids, expected, strict=True):
        np.testing.assert_allclose(post[key], row, atol=1e-6)
        assert post[key].sum() == pytest.approx(1, abs=1e-5)
        assert hyp[key] == part.classes[int(row.argmax())]


def test_scores_join_by_utterance_and_not_by_line(trained):
    data, folder, _, _ = trained
    part = data.parts("test")["one"]
    truth = {key: part.classes[t] for key, t in zip(part.ids, part.targets, strict=True)}
    # one sad utterance of the three taken for neutral: recalls 1, 1, 1, 2/3
    wrong = next(key for key in reversed(part.ids) if truth[key] == "sad")
    hyp = {**truth, wrong: "neutral"}
    with ArkWriter(archive(folder), "float32", scp=False) as writer:
        for key in reversed(part.ids):
            writer.write(f"one/{key}", np.array([name == hyp[key] for name in part.classes], np.float32))
    decoded_again(folder, "one", "test")
    result = score_experiment(data, folder, "test", pictures=True)
    s = result["targets"]["one"]
    assert s["n"] == 12
    assert s["wa"] == pytest.approx(11 / 12)
    assert s["ua"] == pytest.approx((3 + 2 / 3) / 4)
    assert s["macro_f1"] == pytest.approx((1 + 1 + 6 / 7 + 4 / 5) / 4)
    assert s["confusion"] == [[3, 0, 0, 0], [0, 3, 0, 0], [0, 0, 3, 0], [0, 0, 1, 2]]
    assert hypotheses(folder, "one") == hyp
    assert read_result(folder / "result.json", answers=True) == result
    for name in ("curves.png", "decode_test/confusion_one.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_result_reports_what_it_is(trained):
    data, folder, _, _ = trained
    result = score_experiment(data, folder, "test")
    wanted = {
        "combination": "one_two",
        "task": "multi",
        "temporal": "blstm",
        "pooling": "mu_sigma2",
        "fold": 1,
        "seed": 0,
        "preset": "strict",
        "chosen_epoch": 1,
        "updates": {"one": 2, "two": 2},
    }
    assert {key: result[key] for key in wanted} == wanted
    assert list(result["targets"]) == ["one"]  # "two" has no test speakers


def test_a_missing_utterance_is_named(trained):
    data, folder, _, _ = trained
    path = archive(folder)
    posteriors = read_archive(path)
    gone = sorted(posteriors)[4]
    with ArkWriter(path, "float32", scp=False) as writer:
        for key in posteriors.keys() - {gone}:
            writer.write(key, posteriors[key])
    decoded_again(folder, "one", "test")
    with pytest.raises(InputError, match=f"post.ark: {gone[4:]} is in only one of it and the test part"):
        score_experiment(data, folder, "test")


def test_posteriors_of_another_model_are_refused(trained):
    data, folder, _, _ = trained
    decoded_again(folder, "one", "test", model="0" * 16)
    with pytest.raises(InputError, match="decoded with another model; run stage 5 again"):
        score_experiment(data, folder, "test")


def test_table_is_rebuilt_from_the_files(trained):
    data, folder, _, _ = trained
    result = score_experiment(data, folder, "test")
    text = results_table(read_results([folder.parents[2]]), "the command", "./run.sh")
    row = next(line for line in text.splitlines() if line.startswith("| one_two"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    s = result["targets"]["one"]
    assert cells[:8] == ["one_two", "one", "multi", "blstm", "mu_sigma2", "strict", "1", "0"]
    assert cells[8:12] == ["global", "float32", str(result["seconds_per_epoch"]), "1 of 1"]
    assert cells[-4:] == [f"{100 * s['wa']:.1f}", f"{100 * s['ua']:.1f}", f"{100 * s['macro_f1']:.1f}", "12"]
    assert "Printed by `the command`" in text
    options = "--preset strict --task multi --temporal blstm --pooling mu_sigma2 --fold 1 --seed 0"
    assert f"`./run.sh --corpora one,two {options}`" in text


def test_confidence_is_calibrated_on_validation_and_measured_on_test(trained):
    data, folder, _, _ = trained
    assert score_experiment(data, folder, "test")["calibration"] == {
        "one": None
    }  # of older experiments valid is not decoded
    Decoder(data.experiment, folder).decode_parts(data, "test")
    result = score_experiment(data, folder, "test", pictures=True)
    found = result["calibration"]["one"]
    assert read_result(folder / "result.json", answers=True) == result
    valid, test = data.parts("valid")["one"], data.parts("test")["one"]
    post = {name: decoded(folder, "one", name) for name in ("valid", "test")}
    rows = np.stack([post["valid"][key] for key in valid.ids])
    assert found["n"] == len(valid)
    applied, fitted = choose_temperature(rows, valid.targets)
    assert (found["temperature"], found.get("rejected_temperature", applied)) == pytest.approx((applied, fitted))
    rows = np.stack([post["test"][key] for key in test.ids])
    right = rows.argmax(1) == test.targets
    assert found["ece_before"] == pytest.approx(expected_calibration_error(rows.max(1), right))
    rows = tempered(rows, found["temperature"])
    assert found["ece_after"] == pytest.approx(expected_calibration_error(rows.max(1), right))
    for when in ("before", "after"):
        assert sum(b["count"] for b in found["reliability"][when]) == len(test)
        assert sum(b["count"] * (b["accuracy"] or 0) for b in found["reliability"][when]) == pytest.approx(right.sum())
    assert (folder / "decode_test" / "reliability_one.png").read_bytes().startswith(b"\x89PNG")


def test_damaged_posteriors_are_named(trained):
    data, folder, _, _ = trained
    Decoder(data.experiment, folder).decode_parts(data, "test")
    path = archive(folder, "valid")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"decode_valid/post.ark: changed since it was written"):
        score_experiment(data, folder, "test")
    decoded_again(folder, "one", "valid")
    with pytest.raises(InputError, match=r"decode_valid/post.ark: \S+: the archive ends within it"):
        score_experiment(data, folder, "test")
