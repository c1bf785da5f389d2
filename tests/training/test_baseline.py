import shutil
import sys
from dataclasses import replace

import numpy as np
import programs
import pytest
from conftest import ROOT
from scored import hypotheses
from sklearn.svm import SVC

from ser.batches import open_data
from ser.common import InputError, read_json
from ser.common.metrics import confusion_matrix, ua
from ser.config import write_experiment
from ser.config.schema import Features
from ser.corpora.kaldi import read_table, write_table
from ser.frontends.logmel import mel, mel_filters
from ser.scoring.baseline import run
from ser.scoring.results_table import read_results, results_table
from ser.training import svm_baseline as svm

STFT = Features(8000, 512, 128, "hann", 1e-10, "float32")


def test_mel_filters_by_hand():
    # Bins at 0, 1, 2, 3 and 4 kHz, 1000.0, 1521.4, 1876.4 and 2146.1 mel; one triangle with its centre at 1073.0
    filters = mel_filters(5, 8000, bands=1)[:, 0]
    assert filters.tolist() == pytest.approx([0, 0.93193, 0.58218, 0.25126, 0], abs=1e-4)


def test_mel_filters_sum_to_one_between_the_outer_centres():
    filters = mel_filters(257, 8000, svm.BANDS)
    frequency = np.linspace(0, 4000, 257)
    centres = 700 * (10 ** (mel(4000) / 41 * np.arange(1, 41) / 2595) - 1)
    inside = (frequency >= centres[0]) & (frequency <= centres[-1])
    np.testing.assert_allclose(filters[inside].sum(1), 1)
    assert (filters.sum(1)[~inside] < 1).all()
    assert (filters.max(0) > 0.5).all()
    # No bin lies nearer to the centre of a band than the one that weighs most, as far as the mel scale is straight.
    assert np.abs(frequency[filters.argmax(0)] - centres).max() <= 4000 / 256 / 2 * 1.05


def test_functionals_of_a_constant_spectrum():
    filters = mel_filters(257, 8000, svm.BANDS)
    functionals = svm.logmel_functionals(np.full((11, 257), -2.0, np.float32), filters, STFT)
    assert functionals.shape == (401,)
    bands, deltas = functionals[:400].reshape(2, 5, 40)
    level = -2 + np.log(filters.sum(0))
    for row, expected in zip(bands, (level, 0, level, level, level), strict=True):
        np.testing.assert_allclose(row, np.broadcast_to(expected, 40), atol=1e-9)
    np.testing.assert_allclose(deltas, 0, atol=1e-9)
    assert functionals[400] == pytest.approx((512 + 10 * 128) / 8000)


def test_functionals_of_a_rising_spectrum_by_hand():
    # 11 frames that rise by 0.1 each. Deltas over five frames, the ends repeated: 0.05, 0.08, 7 x 0.1, 0.08, 0.05
    rising = np.repeat(0.1 * np.arange(11)[:, None], 257, axis=1)
    filters = mel_filters(257, 8000, svm.BANDS)
    bands, deltas = svm.logmel_functionals(rising, filters, STFT)[:400].reshape(2, 5, 40)
    level = np.log(filters.sum(0))
    for row, expected in zip(
        bands - level * [[1], [0], [1], [1], [1]], (0.5, 0.1 * 10**0.5, 0.1, 0.5, 0.9), strict=True
    ):
        np.testing.assert_allclose(row, expected, atol=1e-9)
    np.testing.assert_allclose(deltas[[0, 2, 3, 4]].T, [[0.96 / 11, 0.05, 0.1, 0.1]] * 40, atol=1e-9)


def test_a_single_frame_has_functionals():
    assert np.isfinite(svm.logmel_functionals(np.zeros((1, 257)), mel_filters(257, 8000, svm.BANDS), STFT)).all()


def test_silence_is_at_the_floor():
    functionals = svm.logmel_functionals(np.full((6, 257), -np.inf), mel_filters(257, 8000, svm.BANDS), STFT)
    np.testing.assert_allclose(functionals[:40], np.log(1e-10))


def test_normalisation_by_speaker_makes_each_mean_zero(made):
    data = made.open(made.experiment("task=unified"))
    part = data.parts("train")["one"]
    values = svm.standardise_groups(svm.functionals(part, "logmel", data.experiment.features), part.speakers)
    assert len(set(part.speakers)) == 2
    for speaker in set(part.speakers):
        of_speaker = values[[s == speaker for s in part.speakers]]
        np.testing.assert_allclose(of_speaker.mean(0), 0, atol=1e-9)
        assert np.median(of_speaker.std(0)) == pytest.approx(1)


def test_a_speaker_of_one_utterance_is_all_zero():
    values = svm.standardise_groups(np.array([[3.0, 4.0], [1.0, 0.0], [3.0, 2.0]]), ["a", "b", "b"])
    assert values.tolist() == [[0, 0], [-1, -1], [1, 1]]


def test_columns_of_any_scale_are_standardised_and_constant_ones_are_not():
    column = np.array([1.0, 2.0, 3.0])
    mean, deviation = svm.moments(np.stack([column, 1e-9 * column, 7 + 1e-12 * column], axis=1))
    assert mean.tolist() == pytest.approx([2, 2e-9, 7])
    assert deviation.tolist() == pytest.approx([(2 / 3) ** 0.5, 1e-9 * (2 / 3) ** 0.5, 1])


def samples(n, seed):
    """Two classes that overlap, in units that differ by column."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, n)
    return (rng.standard_normal((n, 8)) + 0.8 * targets[:, None]) * np.logspace(0, 1, 8), targets


def test_c_is_chosen_on_validation_and_the_fit_uses_train_only():
    train, valid = samples(60, 0), {"one": samples(40, 1), "two": samples(30, 2)}
    baseline = svm.fit([train], valid, 2, "global")
    mean, deviation = train[0].mean(0), train[0].std(0)
    for c in svm.PENALTIES:
        model = SVC(kernel="linear", C=c, class_weight="balanced").fit((train[0] - mean) / deviation, train[1])
        uas = [ua(confusion_matrix(y, model.predict((x - mean) / deviation), 2)) for x, y in valid.values()]
        assert baseline.valid_ua[c] == pytest.approx(np.mean(uas))
        if c == baseline.penalty:
            np.testing.assert_allclose(baseline.model.coef_, model.coef_)
    best = max(baseline.valid_ua.values())
    assert baseline.penalty == next(c for c in svm.PENALTIES if baseline.valid_ua[c] == best)
    # Of two validation sets one is right always with every C and one is wrong: all C are equal, and the least is taken.
    x, _ = valid["one"]
    twice = {"a": (x, np.zeros(40, int)), "b": (x, np.ones(40, int))}
    assert svm.fit([train], twice, 2, "global").penalty == svm.PENALTIES[0]


def test_without_normalisation_values_stay_as_they_are():
    baseline = svm.fit([samples(60, 0)], {"one": samples(40, 1)}, 2, "none")
    assert baseline.mean.tolist() == [0] * 8
    assert baseline.deviation.tolist() == [1] * 8


def test_no_validation_speakers_or_a_single_class_is_an_error():
    x, y = samples(20, 0)
    with pytest.raises(InputError, match="no corpus has validation speakers"):
        svm.fit([(x, y)], {}, 2, "global")
    with pytest.raises(InputError, match="one class only"):
        svm.fit([(x, np.zeros(20, int))], {"one": (x, y)}, 2, "global")


def test_test_labels_do_not_change_the_model(made, tmp_path):
    experiment = made.experiment("task=unified")
    shutil.copytree(made.data_root, tmp_path / "data")
    table = tmp_path / "data" / "one" / "strict_fold1" / "test" / "utt2emo"
    labels = read_table(table)
    write_table(table, dict(zip(labels, sorted(labels.values(), reverse=True), strict=True)))
    shuffled = open_data(experiment, made.recipe, tmp_path / "data", made.dump)
    first, _ = run(made.open(experiment), "logmel", "speaker", tmp_path / "first")
    second, _ = run(shuffled, "logmel", "speaker", tmp_path / "second")
    for key in ("C", "valid", "valid_ua_by_C"):
        assert first[key] == second[key]
    assert hypotheses(tmp_path / "first", "one") == hypotheses(tmp_path / "second", "one")
    assert first["targets"]["one"]["confusion"] != second["targets"]["one"]["confusion"]


@pytest.fixture
def experiment_folder(made, tmp_path):
    def make(*overrides):
        experiment = made.experiment(*overrides)
        folder = tmp_path / "exp" / experiment.folder
        write_experiment(experiment, folder / "config.yaml")
        return folder

    return make


def command(made, folder, *options):
    places = ["--recipe", made.recipe, "--data", made.data_root, "--dump", made.dump]
    return programs.run(ROOT / "steps" / "baseline.py", folder, *places, *options)


@pytest.mark.slow
def test_the_result_is_in_one_table_with_those_of_the_networks(made, experiment_folder):
    folder = experiment_folder()
    first = command(made, folder)
    assert first.returncode == 0, first.stderr
    svm_folder = folder.parents[1] / "svm_logmel_global" / "fold1_seed0"
    result = read_json(svm_folder / "result.json")
    network = {"combination", "corpora", "task", "temporal", "pooling", "fold", "seed", "preset", "split", "part"}
    network |= {"chosen_epoch", "epochs", "updates", "class_counts", "class_weights", "seconds_per_epoch", "valid"}
    network |= {"code_hash", "git_revision", "versions", "machine", "config_hash", "data_hash", "split_hash"}
    network |= {"normalisation", "notes", "folds", "targets"}
    assert network <= set(result)
    wanted = {"combination": "one_two", "task": "unified", "temporal": "svm", "pooling": "logmel", "functionals": 401}
    assert {key: result[key] for key in wanted} == wanted
    assert list(result["targets"]) == ["one"]  # "two" has no test speakers
    assert set(result["valid"]) == {"one", "two"}
    assert "scikit-learn" in result["versions"]
    assert result["targets"]["one"]["ua"] > 0.6  # classes differ in level and colour
    test_part = made.open(made.experiment("task=unified")).parts("test")["one"]
    assert hypotheses(svm_folder, "one").keys() == set(test_part.ids)
    assert sorted(path.name for path in svm_folder.iterdir()) == ["result.json", "result.tsv", "svm.safetensors"]
    lines = results_table(read_results([folder.parents[2]]), "the command", "./run.sh").splitlines()
    row = next(line for line in lines if line.startswith("| one_two"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:8] == ["one_two", "one", "unified", "svm", "logmel", "strict", "1", "0"]

    written = (svm_folder / "result.json").stat().st_mtime_ns
    second = command(made, folder)
    assert second.returncode == 0
    assert "done already" in second.stdout
    assert (svm_folder / "result.json").stat().st_mtime_ns == written


@pytest.mark.slow
def test_normalisation_is_that_of_the_experiment_and_an_option(made, experiment_folder, one_line):
    folder = experiment_folder("batches.normalisation=utterance")
    assert "no normalisation by utterance; give --normalisation global|speaker|none" in one_line(command(made, folder))
    assert command(made, folder, "--normalisation", "speaker").returncode == 0
    notes = read_json(folder.parents[1] / "svm_logmel_speaker" / "fold1_seed0" / "result.json")["notes"]
    assert any("(transductive)" in note for note in notes)


def test_a_config_of_another_place_is_refused(made, experiment_folder, one_line):
    folder = experiment_folder()
    moved = folder.rename(folder.with_name("fold2_seed0"))
    assert "its config.yaml is of one_two/multi_blstm_mu_sigma2/fold1_seed0" in one_line(command(made, moved))


def test_another_baseline_in_the_folder_is_refused(made, tmp_path):
    run(made.open(made.experiment("task=unified")), "logmel", "global", tmp_path)
    other = made.open(replace(made.experiment("task=unified"), seed=1))
    with pytest.raises(InputError, match="of other settings or data"):
        run(other, "logmel", "global", tmp_path)


def test_opensmile_that_is_not_installed_is_named(made, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    data = made.open(made.experiment("task=unified"))
    with pytest.raises(InputError, match="pip install opensmile"):
        run(data, "opensmile", "global", tmp_path)
    assert not list(tmp_path.iterdir())
