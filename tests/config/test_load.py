import dataclasses

import pytest
import yaml
from conftest import ROOT

from ser.common import InputError
from ser.config import decisive, find, load, read_experiment, save
from ser.config.load import ADDED, KEYS, read_yaml

CORPORA = "corpora=[ravdess]"


@pytest.fixture
def preset(tmp_path):
    """Write a preset of a recipe; give the recipe's folder back."""

    def write(text: str, name: str = "mine"):
        path = tmp_path / "conf" / "presets" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return tmp_path

    return write


def refused(*arguments) -> str:
    with pytest.raises(InputError) as caught:
        load(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_key_has_one_home():
    homes = []
    for path in set((ROOT / "conf").glob("*.yaml")) - {ROOT / "conf" / "augment.yaml"}:  # tests/augment has that one
        prefix = "" if path.stem == "experiment" else f"{path.stem}."
        homes += [prefix + key for key in yaml.safe_load(path.read_text())]
    assert sorted(homes) == sorted(set(KEYS) - {"preset", "corpora"})


def test_no_field_has_a_default_of_its_own():
    experiment = load("strict", None, [CORPORA])
    for part in (experiment, experiment.features, experiment.batches, experiment.network, experiment.training):
        for field in dataclasses.fields(part):
            assert field.default is dataclasses.MISSING
            assert field.default_factory is dataclasses.MISSING


def test_the_values_of_the_paper():
    experiment = load("paper", None, [CORPORA])
    f, b, n, t = experiment.features, experiment.batches, experiment.network, experiment.training
    assert (experiment.preset, experiment.split, experiment.corpora) == ("paper", "paper", ["ravdess"])
    assert (f.sampling_rate, f.frame_length, f.frame_shift, f.bins, f.floor) == (8000, 512, 128, 257, 1e-10)
    assert (b.batch_size, b.crop_seconds, b.normalisation) == (32, 10, "global")
    assert (n.prep_layers, n.prep_size, n.hidden_size, n.tdnn_layers, n.tdnn_size) == (2, 512, 128, 6, 512)
    assert n.dropout == 0.5
    assert (t.learning_rate, t.weight_decay, t.gradient_clip) == (3e-4, 2e-5, 10)
    assert (t.steps_per_epoch, t.patience, t.improvement, t.max_epochs) == (100, 20, 0.002, 300)
    assert load("strict", None, [CORPORA]).split == "strict"


def test_later_homes_win(preset):
    recipe = preset("split: mine\ntraining:\n  patience: 7\n  max_epochs: 8\n", "strict")
    plain = load("strict", None, [CORPORA])
    assert (plain.split, plain.training.patience, plain.training.max_epochs) == ("strict", 20, 300)
    own = load("strict", recipe, [CORPORA, "training.max_epochs=9"])
    assert (own.split, own.training.patience, own.training.max_epochs) == ("mine", 7, 9)
    assert own.training.steps_per_epoch == 100
    # where the recipe has no such preset, the toolkit's serves
    assert load("paper", recipe, [CORPORA]).split == "paper"
    # the last of two on the command line
    assert load("strict", None, [CORPORA, "fold=2", "fold=3"]).fold == 3


def test_an_unknown_key_names_its_file_and_the_nearest(preset):
    recipe = preset("training:\n  learning_rat: 1.0\n")
    path = recipe / "conf/presets/mine.yaml"
    message = refused("mine", recipe, [CORPORA])
    assert message.startswith(f"{path}: unknown key training.learning_rat; did you mean training.learning_rate?")
    assert refused("strict", None, ["poling=mu"]).startswith("command line: unknown key poling; did you mean pooling?")
    assert "did you mean" not in refused("strict", None, ["zzzzzz=1"])


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("training.patience=many", "training.patience"),
        ("training.patience=0", "training.patience"),
        ("fold=1.5", "fold"),
        ("fold=true", "fold"),
        ("seed=-1", "seed"),
        ("task=mult", "task"),
        ("network.dropout=1.5", "network.dropout"),
        ("corpora=ravdess", "corpora"),
        ("corpora=[1]", "corpora"),
        ("training.learning_rate=.nan", "training.learning_rate"),
        ("features.window=kaiser", "features.window"),
        ("training.patience=[1", "training.patience"),
        ("fold=", "fold"),
        ("training.threads=null", "training.threads"),
    ],
)
def test_a_wrong_value_names_its_source_and_key(override, key):
    assert refused("strict", None, [CORPORA, override]).startswith(f"command line: key {key} ")


def test_a_wrong_value_in_a_file_names_the_file(preset):
    recipe = preset("training:\n  patience: many\n")
    path = recipe / "conf/presets/mine.yaml"
    assert refused("mine", recipe, [CORPORA]).startswith(f"{path}: key training.patience = 'many': ")
    preset("training:\n  patience:\n")
    assert refused("mine", recipe, [CORPORA]).startswith(f"{path}: key training.patience has no value")


@pytest.mark.parametrize("text", ["training: 3\n", "training:\n"])
def test_a_section_is_no_value(preset, text):
    assert "mine.yaml: unknown key training" in refused("mine", preset(text), [CORPORA])


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: [\nb: 1\n", "mine.yaml:3: not readable as YAML"),
        ("fold: 1\n\tseed: 2\n", "mine.yaml:2: not readable as YAML"),
        ("fold: 1\nseed: 2\nfold: 3\n", "mine.yaml:3: not readable as YAML (key fold stands twice)"),
        ("training:\n  patience: 1\n  patience: 1\n", "mine.yaml:3: not readable as YAML (key patience stands twice)"),
        ("- a\n", "mine.yaml: must hold"),
        ("# nothing\n", "mine.yaml: must hold"),
    ],
)
def test_an_unreadable_file_is_named_with_its_line(preset, text, where):
    assert where in refused("mine", preset(text), [CORPORA])


def test_a_file_in_another_encoding_is_named(tmp_path):
    (tmp_path / "a.yaml").write_bytes("name: Ação".encode("latin-1"))
    with pytest.raises(InputError, match=r"a\.yaml: not UTF-8 text"):
        read_yaml(tmp_path / "a.yaml")


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "0.001", "1E-3"])
def test_numbers_with_an_exponent_are_numbers_everywhere(preset, text):
    recipe = preset(f"training:\n  learning_rate: {text}\n")
    assert load("mine", recipe, [CORPORA]).training.learning_rate == 0.001
    assert load("strict", None, [CORPORA, f"training.learning_rate={text}"]).training.learning_rate == 0.001


def test_words_with_an_e_are_words():
    experiment = load("strict", None, ["corpora=[tess, ravdess]", "temporal=lstm", "training.device=cuda:0"])
    assert experiment.corpora == ["tess", "ravdess"]
    assert experiment.training.device == "cuda:0"


@pytest.mark.parametrize("override", ["fold", "training.patience"])
def test_an_override_without_a_value(override):
    assert refused("strict", None, [CORPORA, override]).startswith(f"command line: {override}: expected key=value")


def test_a_preset_is_no_override():
    assert "--preset paper" in refused("strict", None, [CORPORA, "preset=paper"])


def test_corpora_must_be_named():
    assert refused("strict", None, []).startswith("command line: key corpora has no value")


def test_an_unknown_preset_lists_those_that_exist(preset):
    assert refused("stric", None, []).endswith("there is: paper, strict, strong, strong_global")
    assert refused("stric", preset("fold: 2\n"), []).endswith("there is: mine, paper, strict, strong, strong_global")


def test_the_recipes_file_comes_first(preset):
    recipe = preset("split: mine\n", "strict")
    name = "conf/presets/strict.yaml"
    assert find(name, recipe) == recipe / name
    assert find(name, None) == ROOT / name


def test_save_and_read_give_the_same(tmp_path):
    experiment = load("paper", None, ["corpora=[a, b]", "training.learning_rate=1e-5", "features.floor=1e-10"])
    save(experiment, tmp_path / "config.yaml")
    again = read_experiment(tmp_path / "config.yaml")
    assert again == experiment
    save(again, tmp_path / "again.yaml")
    assert (tmp_path / "again.yaml").read_bytes() == (tmp_path / "config.yaml").read_bytes()


def test_a_saved_file_without_a_key_is_named(tmp_path):
    path = tmp_path / "config.yaml"
    save(load("paper", None, [CORPORA]), path)
    path.write_text(path.read_text().replace("seed: 0\n", ""))
    with pytest.raises(InputError, match="config.yaml: key seed has no value"):
        read_experiment(path)
    with pytest.raises(InputError, match="none.yaml: no such file"):
        read_experiment(tmp_path / "none.yaml")


def test_how_a_run_is_carried_out_decides_nothing():
    one = load("strict", None, [CORPORA])
    how = ["training.threads=3", "training.device=cuda", "training.checkpoint_seconds=1"]
    assert decisive(load("strict", None, [CORPORA, *how])) == decisive(one)
    how_and_later = {"training.threads", "training.device", "training.checkpoint_seconds", *ADDED}
    assert set(decisive(one)) == set(KEYS) - how_and_later
    assert decisive(load("strict", None, [CORPORA, "training.patience=3"])) != decisive(one)


def test_where_a_run_lies():
    experiment = load("strict", None, ["corpora=[tess, ravdess]", "fold=2", "seed=3", "task=unified"])
    assert experiment.folder == "tess_ravdess/unified_blstm_mu_sigma2/fold2_seed3"


def test_frames_without_padding():
    features = load("strict", None, [CORPORA]).features
    assert [features.num_frames(n) for n in (0, 511, 512, 639, 640, 8000)] == [0, 0, 1, 1, 2, 59]


def test_an_option_that_came_later_leaves_older_results_valid(tmp_path):
    experiment = load("strict", None, [CORPORA])
    save(experiment, tmp_path / "config.yaml")
    text = "".join(
        line for line in (tmp_path / "config.yaml").read_text().splitlines(True) if "adversarial_weight" not in line
    )
    (tmp_path / "older.yaml").write_text(text)
    assert read_experiment(tmp_path / "older.yaml") == experiment
    assert "training.adversarial_weight" not in decisive(experiment)
    assert "training.adversarial_weight" in decisive(load("strict", None, [CORPORA, "training.adversarial_weight=1"]))
