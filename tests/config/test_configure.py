"""steps/configure.py as run.sh calls it."""

from subprocess import CompletedProcess

import programs
import pytest
from conftest import ROOT

from ser.config import read_experiment


@pytest.fixture
def configure(tmp_path):
    def run(*options: str) -> CompletedProcess:
        return programs.run(ROOT / "steps" / "configure.py", tmp_path / "exp", *options)

    return run


@pytest.fixture
def begun(tmp_path, configure):
    """A folder in which a training has begun."""
    assert configure("corpora=[ravdess]").returncode == 0
    folder = tmp_path / "exp/ravdess/multi_blstm_mu_sigma2/fold1_seed0"
    (folder / "checkpoint.safetensors").touch()
    return folder


def test_prints_the_folder_and_writes_the_settings(tmp_path, configure):
    run = configure("--preset", "paper", "temporal=lstm", "corpora=[ravdess]")
    folder = tmp_path / "exp/ravdess/multi_lstm_mu_sigma2/fold1_seed0"
    assert (run.returncode, run.stdout, run.stderr) == (0, f"{folder}\n", "")
    experiment = read_experiment(folder / "config.yaml")
    assert (experiment.preset, experiment.temporal) == ("paper", "lstm")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["fold=7", "corpora=[ravdess]"], "fold = 7: split strict of ravdess has folds 1 to 6"),
        (["--preset", "paper", "fold=2", "corpora=[ravdess]"], "fold = 2: split paper of ravdess has folds 1 to 1"),
        (["corpora=[ravdess,ravdess]"], "corpora = ravdess,ravdess: name each corpus once"),
        (["corpora=[]"], "at least one"),
        (["corpora=[ravdes]"], "conf/corpora/ravdes.yaml: no such file"),
        (["split=loso", "corpora=[ravdess]"], "ravdess.yaml: no split loso; there is: strict, paper"),
        (["augment.noise.snr=[9,1]", "corpora=[ravdess]"], "command line: key augment.noise.snr = [9.0, 1.0]: must be"),
    ],
)
def test_invalid_settings_are_one_line_and_write_nothing(tmp_path, configure, one_line, options, words):
    assert words in one_line(configure(*options))
    assert not (tmp_path / "exp").exists()


def test_other_settings_in_a_begun_folder_name_the_key(configure, begun, one_line):
    before = (begun / "config.yaml").read_bytes()
    line = one_line(configure("training.patience=3", "corpora=[ravdess]"))  # fewer than it was begun with
    assert f"{begun}: holds a training with other settings (training.patience: 20 there, 3 now); " in line
    assert (begun / "config.yaml").read_bytes() == before


def test_copies_that_a_started_training_lacks_are_other_settings(configure, begun, one_line):
    options = ["augment.noise.snr=[5,10]", "corpora=[ravdess]"]
    assert configure(*options).returncode == 0  # without copies it does not affect the result
    assert "other settings (augment.copies: 1 there, 2 now)" in one_line(configure(*options, "augment.copies=2"))


def test_runtime_settings_may_change(configure, begun):
    assert configure("training.threads=2", "corpora=[ravdess]").returncode == 0
    assert read_experiment(begun / "config.yaml").training.threads == 2


def test_more_epochs_continue_a_finished_training(configure, begun, one_line):
    (begun / "model.safetensors").touch()
    later = ["training.max_epochs=400", "training.patience=30", "corpora=[ravdess]"]
    assert "other settings" in one_line(configure(*later, "training.learning_rate=1e-5"))
    assert (begun / "model.safetensors").exists()
    assert configure(*later).returncode == 0
    assert read_experiment(begun / "config.yaml").training.max_epochs == 400
    assert not (begun / "model.safetensors").exists()
    assert "other settings" in one_line(configure(*later, "training.schedule=half_linear"))


def test_a_finished_training_without_a_checkpoint_cannot_continue(configure, begun, one_line):
    (begun / "checkpoint.safetensors").rename(begun / "model.safetensors")
    assert "other settings" in one_line(configure("training.max_epochs=400", "corpora=[ravdess]"))


def test_a_folder_that_has_not_begun_takes_other_settings(configure, begun):
    (begun / "checkpoint.safetensors").unlink()
    assert configure("training.patience=3", "corpora=[ravdess]").returncode == 0
    assert read_experiment(begun / "config.yaml").training.patience == 3
