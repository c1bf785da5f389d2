"""steps/search.py: settings by UA on validation speakers."""

import importlib.util
import re
import sys

import pytest
import yaml
from conftest import ROOT
from made import trainer_of

from ser.batches import Data
from ser.common import InputError
from ser.config import write_experiment

pytest.importorskip("optuna")
SETTINGS = ["training.max_epochs=2", "training.steps_per_epoch=2"]


@pytest.fixture
def search():
    spec = importlib.util.spec_from_file_location("search", ROOT / "steps" / "search.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["search"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["search"]


@pytest.fixture
def call(made, tmp_path, monkeypatch, search):
    """Search in the folder of an experiment; `opened` lists the parts that were loaded."""
    parts, opened = Data.parts, []
    monkeypatch.setattr(Data, "parts", lambda data, name: opened.append(name) or parts(data, name))
    experiment = made.experiment(*SETTINGS)
    write_experiment(experiment, tmp_path / "config.yaml")

    def call(*options):
        where = ["--recipe", made.recipe, "--data", made.data_root, "--dump", made.dump]
        monkeypatch.setattr(sys, "argv", ["search.py", *map(str, [*where, *options, tmp_path])])
        return search.main()

    call.opened = opened
    return call


def test_the_best_trial_is_named_and_test_speakers_are_not_used(call, tmp_path, capsys):
    space = ["--space", "training.learning_rate=1e-5:1e-2:log", "--space", "pooling=mu,mean"]
    assert call("--trials", "2", *space) == 0
    assert call("--trials", "3", *space) == 0
    text = capsys.readouterr().out
    assert f"{tmp_path / 'search'}: 2 of 3 trials are there" in text
    scores = [float(line.split("valid UA ")[1].split()[0]) for line in text.splitlines() if line.startswith("trial ")]
    assert len(scores) == 3
    rates = re.findall(r"'training.learning_rate': ([\d.e-]+)", text)
    assert len(set(rates)) == 3  # also of the one that was drawn after the search went on
    assert f"| {max(scores):.1f} " in text.splitlines()[-4]
    best = yaml.safe_load((tmp_path / "search" / "best.yaml").read_text())
    assert best.keys() == {"training.learning_rate", "pooling"}
    assert 1e-5 <= best["training.learning_rate"] <= 1e-2
    assert set(call.opened) == {"train", "valid"}
    assert sorted(path.name for path in (tmp_path / "search").iterdir())[0] == "best.yaml"
    assert not list((tmp_path / "search").glob("trial*"))


@pytest.mark.parametrize("space", ["learning_rate=1:2", "training.learning_rate=2:1", "training.learning_rate=0:1:log"])
def test_a_wrong_range_is_an_error(search, made, space):
    with pytest.raises(InputError, match="--space"):
        search.read_range(space, made.experiment())


def test_no_trial_is_an_error(call, capsys):
    assert call("--trials", "0") == 1
    assert capsys.readouterr().err == "error: --trials 0: a number of trials from 1\n"


def test_the_score_of_a_trial_is_that_of_a_training_with_its_settings(call, made, tmp_path, capsys):
    assert call("--trials", "1", "--space", "training.label_smoothing=0.1,0.1") == 0
    trainer = trainer_of(made, tmp_path / "own", *SETTINGS, "training.label_smoothing=0.1")
    trainer.run()
    ua = [scores["ua"] for scores in trainer.history[trainer._chosen_epoch() - 1]["valid"].values()]
    assert f"valid UA {100 * sum(ua) / len(ua):.1f} %" in capsys.readouterr().out
