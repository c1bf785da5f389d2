import json

import pytest
from conftest import refuses
from scored import whole_result, whole_train

from ser.config import load, write_experiment
from ser.config.load import ROOT
from ser.scoring.result import describe_data
from ser.scoring.results_table import read_results, results_table


def test_hash_and_counts_are_those_of_the_fold(made):
    """Fold 2 of `one` tests one2; `two` has one fold and starts again at it, without a test."""
    found = describe_data(made.open(made.experiment("fold=2")))
    first = describe_data(made.open(made.experiment("fold=1")))
    assert found["protocol_hash"] == first["protocol_hash"]
    assert len(set(found["protocol_hash"].values())) == 2
    classes = ("angry", "happy", "neutral", "sad")
    assert found["counts"]["one"] == {
        part: dict.fromkeys(classes, n) for part, n in {"train": 6, "valid": 3, "test": 3}.items()
    }
    assert found["counts"]["two"]["valid"] == dict.fromkeys(classes, 3)
    assert found["counts"]["two"]["test"] == dict.fromkeys(classes, 0)


def result(fold, **described):
    return whole_result(fold=fold, **described)


def described(name, sad):
    counts = {"train": {"angry": 1, "sad": 2}, "valid": {"angry": 0, "sad": 0}, "test": {"angry": 2, "sad": sad}}
    return {"protocol_hash": {"c": name}, "counts": {"c": counts}}


@pytest.fixture
def data_lines(tmp_path):
    """Lines on data below the table of some results."""

    def lines(*results):
        for number, content in enumerate(results):
            folder = tmp_path / "exp" / "c" / "cell" / f"fold1_seed{number}"
            folder.mkdir(parents=True)
            (folder / "result.json").write_text(json.dumps(content))
        text = results_table(read_results([tmp_path / "exp"]), "the command", "./run.sh")
        return [line for line in text.splitlines() if line.startswith("- Data")]

    return lines


def test_folds_of_equal_protocol_and_counts_share_a_line(data_lines):
    aa, bb = "a" * 10, "b" * 10
    found = data_lines(
        result(1, **described(aa, 1)),
        result(2, **described(aa, 5)),
        result(3, **described(aa, 1)),
        result(3, **described(bb, 1)),
    )
    parts = "train 3 (angry 1, sad 2); valid none; test 3 (angry 2, sad 1)."
    assert found == [
        f"- Data: c, split strict, protocol {aa}, fold 1, 3: {parts}",
        f"- Data: c, split strict, protocol {aa}, fold 2: {parts.replace('3 (angry 2, sad 1)', '7 (angry 2, sad 5)')}",
        f"- Data: c, split strict, protocol {bb}, fold 3: {parts}",
    ]


def test_a_setting_in_which_rows_of_a_preset_differ_is_a_column(made, tmp_path):
    for fold, options in ((1, []), (2, ["training.max_epochs=7", "training.threads=2"])):
        folder = tmp_path / "exp" / "c" / "cell" / f"fold{fold}_seed0"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(result(fold)))
        write_experiment(made.experiment(f"fold={fold}", *options), folder / "config.yaml")
    _, _, head, _, *rows = results_table(read_results([tmp_path / "exp"]), "the command", "./run.sh").splitlines()
    column = [cell.strip() for cell in head.split("|")].index("training.max_epochs")
    assert "threads" not in head  # says nothing about the result
    assert "fold2" not in head
    assert [rows[i].split("|")[column].strip() for i in range(2)] == ["3", "7"]


@pytest.mark.parametrize("alone", ["total", "per_corpus"])
def test_budgets_of_several_corpora_are_distinguished(made, tmp_path, alone):
    """A row of one corpus, whose budget decides nothing, has none."""
    for corpora, budget in (("one", alone), ("one,two", "per_corpus"), ("two,one", "total")):
        folder = tmp_path / "exp" / corpora.replace(",", "_") / "cell" / "fold1_seed0"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(result(1)))
        write_experiment(made.experiment(f"training.budget={budget}", corpora=corpora), folder / "config.yaml")
    text = results_table(read_results([tmp_path / "exp"]), "the command", "./run.sh")
    _, _, head, _, *rows = text.splitlines()
    column = [cell.strip() for cell in head.split("|")].index("training.budget")
    assert [rows[i].split("|")[column].strip() for i in range(3)] == ["", "per_corpus", "total"]
    notes = [line for line in text.splitlines() if line.startswith("- training.budget ")]
    assert [line.split()[2] for line in notes] == ["total:", "per_corpus:"]


def test_the_command_of_a_row_names_what_its_preset_has_otherwise(made, tmp_path):
    folder = tmp_path / "exp_try" / "one_two" / "cell" / "fold1_seed0"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({**result(1), "corpora": ["one", "two"]}))
    experiment = made.experiment("training.max_epochs=7", "batches.speeds=[0.9,1.1]")
    write_experiment(experiment, folder / "config.yaml")
    text = results_table(read_results([tmp_path / "exp_try"]), "the command", str(made.recipe / "run.sh"))
    (line,) = (line for line in text.splitlines() if line.startswith("- A row is made by"))
    assert f"{made.recipe}/run.sh --corpora one,two --preset strict --task multi" in line
    assert "--training.max_epochs 7" in line
    assert "--batches.speeds '[0.9,1.1]'" in line
    assert "learning_rate" not in line  # as in the preset
    assert line.endswith(f"--exp {tmp_path}/exp_try`.")


@pytest.mark.parametrize("script", ["egs/mini/run.sh", "run.sh"])
def test_a_recipe_is_named_from_the_toolkit_or_the_current_folder(tmp_path, monkeypatch, script):
    folder = tmp_path / "exp" / "mini_en" / "cell" / "fold1_seed0"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({**result(1), "corpora": ["mini_en"], "preset": "mini"}))
    recipe = ROOT / "egs" / "mini"
    write_experiment(load("mini", recipe, ["corpora=[mini_en]", "training.max_epochs=7"]), folder / "config.yaml")
    monkeypatch.chdir(recipe)
    assert "--training.max_epochs 7" in results_table(read_results([tmp_path / "exp"]), "the command", script)


def test_a_result_is_that_of_its_training(made, tmp_path):
    folder = tmp_path / "exp" / "c" / "cell" / "fold1_seed0"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result(1)))
    (folder / "train.json").write_text(json.dumps(whole_train(config_hash="another")))
    with refuses("config_hash is not as in train.json", where="fold1_seed0/result.json"):
        read_results([tmp_path / "exp"])
