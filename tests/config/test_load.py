import dataclasses
import json
import re
from typing import Literal, get_args, get_origin

import pytest
import yaml
from conftest import ROOT, refuses

from ser.config import differences, dotted, load, read_experiment, result_affecting, write_experiment
from ser.config.load import ADDED_DEFAULTS, FIRST_NAMES, _types, keys
from ser.config.registry import KINDS, REGISTRIES, from_registry

CORPORA = "corpora=[ravdess]"


@pytest.fixture
def preset(tmp_path):
    """Write a preset of a recipe; return the folder of the recipe."""

    def write(text: str, name: str = "mine"):
        path = tmp_path / "conf" / "presets" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return tmp_path

    return write


def refused(*arguments) -> str:
    with refuses() as caught:
        load(*arguments)
    return str(caught.value)


def test_every_key_is_defined_once():
    defined = []
    for path in (ROOT / "conf").glob("*.yaml"):
        if path.stem == "timeline":
            continue  # of a use of models, not of their training
        prefix = "" if path.stem == "experiment" else f"{path.stem}."
        for key, value in yaml.safe_load(path.read_text()).items():
            defined += [f"{prefix}{key}.{inner}" for inner in value] if isinstance(value, dict) else [prefix + key]
    assert sorted(defined) == sorted(set(keys()) - {"preset", "corpora"})
    assert len(keys()) == len(set(keys()))


def test_the_sections_of_augmentation_are_the_transforms_with_their_fields():
    sections = yaml.safe_load((ROOT / "conf" / "augment.yaml").read_text())
    assert list(sections) == ["copies", "chain", "kinds", *KINDS]  # as chain says there, in the order of application
    for name in KINDS:
        fields = dataclasses.fields(from_registry(KINDS, name))
        given = {
            f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        }
        assert set(sections[name]) == given


def test_no_field_has_a_default():
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
    assert (n.prep_layers, n.prep_size, n.lstm.hidden_size, n.tdnn.layers, n.tdnn.size) == (2, 512, 128, 6, 512)
    assert n.dropout == 0.5
    assert (t.learning_rate, t.weight_decay, t.gradient_clip) == (3e-4, 2e-5, 10)
    assert (t.steps_per_epoch, t.patience, t.min_delta, t.max_epochs) == (100, 20, 0.002, 300)
    assert load("strict", None, [CORPORA]).split == "strict"


def test_later_sources_win(preset):
    recipe = preset("split: mine\ntraining:\n  patience: 7\n  max_epochs: 8\n", "strict")
    plain = load("strict", None, [CORPORA])
    assert (plain.split, plain.training.patience, plain.training.max_epochs) == ("strict", 20, 300)
    experiment = load("strict", recipe, [CORPORA, "training.max_epochs=9"])
    assert (experiment.split, experiment.training.patience, experiment.training.max_epochs) == ("mine", 7, 9)
    assert experiment.training.steps_per_epoch == 100
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
    "override",
    [
        "training.patience=many",
        "training.patience=0",
        "training.budget=both",
        "fold=1.5",
        "fold=true",
        "seed=-1",
        "task=mult",
        "network.dropout=1.5",
        "corpora=ravdess",
        "corpora=[1]",
        "training.learning_rate=.nan",
        "features.window=kaiser",
        "training.patience=[1",
        "fold=",
        "training.threads=null",
        "augment.copies=-1",
        "augment.copies=1.5",
        "augment.chain=0",
        "augment.kinds=noise",
        "augment.noise.snr=loud",
        "augment.noise.snr=",
        "augment.noise.folder=3",
        "augment.mp3.kbps=[1.5]",
        "augment.speed.factors=[fast]",  # not in use
        "seed=2024-13-99",
        "seed=!!int abc",
        f"seed={'1' * 5000}",
        f"fold={'[' * 900}",
        "fold='1'",
        "training.learning_rate=inf",
        "training.learning_rate=.inf",
        "training.learning_rate=1e999",
        "features.floor=.inf",
        "features.floor='.inf'",
        "batches.speeds=[1.0, .inf]",
        "batches.speeds=['inf']",
        "batches.speeds=&a [*a]",
        "batches.speeds=[0.001]",
        "batches.speeds=[90, 110]",
        "training.device=gpu",
        "training.device=cuda:x",
        "training.soft_labels=yes",
        "split=1",
        "split={}",
    ],
)
def test_a_wrong_value_names_its_source_and_key(override):
    message = refused("strict", None, [CORPORA, override])
    assert message.startswith(f"command line: key {override.partition('=')[0]} ")
    assert len(message) < 600


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("network.attention.heads=3", "key network.attention.size: 256 cannot be divided among 3 heads"),
        ("network.nin.size=101", "key network.nin.size: 101 cannot be divided among 16 blocks"),
        ("network.nin.hidden=101", "key network.nin.hidden: 101 cannot be divided among 16 blocks"),
    ],
)
def test_sizes_of_a_network_must_be_multiples_of_their_parts(override, message):
    assert message in refused("strict", None, [CORPORA, override])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("kinds=[noice]", "key augment.kinds = 'noice': did you mean noise? there is: speed, "),
        ("kinds=[]", "key augment.kinds = []: must list kinds, each once"),
        ("kinds=[noise, noise]", "each once"),
        ("kinds=[[noise]]", "key augment.kinds = "),
        ("chain=7", "key augment.chain = 7: a copy goes through 6 kinds at most, those of augment.kinds: vtlp, room, "),
        ("vtlp.alfa=[0.9, 1.1]", "unknown key augment.vtlp.alfa; did you mean augment.vtlp.alpha?"),
        ("noise=3", "unknown key augment.noise; did you mean augment.noise."),
        ("room.cache=x", "unknown key augment.room.cache"),
        ("noise.snr=[15, 0]", "key augment.noise.snr = [15.0, 0.0]: must be two rising numbers"),
        ("noise.colours=[blue]", "key augment.noise.colours = ['blue']: not blue; there is: white, pink, brown"),
        ("mp3.kbps=[]", "key augment.mp3.kbps = []: name one"),
        ("room.count=0", "key augment.room.count = "),
        ("speed.factors=[9]", "key augment.speed.factors = "),  # not in use
        # two keys that do not go together: the place of the one that was set, not of the one that is named
        ("band_pass.low=[50, 3300]", "key augment.band_pass.high = [3000.0, 3400.0]: must be "),
        ("vtlp.boundary=0.95", "key augment.vtlp.alpha = [0.9, 1.1]: must be "),
    ],
)
def test_settings_of_augmentation_that_are_wrong(override, words):
    message = refused("strict", None, [CORPORA, f"augment.{override}"])
    assert message.startswith("command line: ")
    assert words in message


def test_a_preset_that_chains_more_kinds_than_are_left(preset):
    recipe = preset("augment:\n  chain: 2\n")
    message = refused("mine", recipe, [CORPORA, "augment.kinds=[noise]"])
    assert message.startswith(f"{recipe / 'conf/presets/mine.yaml'}: key augment.chain = 2: ")


def test_augmentation_comes_from_files_and_options(preset):
    recipe = preset("augment:\n  volume:\n    decibels: [-3, 3]\n")
    path = recipe / "conf" / "augment.yaml"
    path.write_text("copies: 3\nkinds: [volume, noise]\nnoise: {snr: [5, 10]}\nvolume: {decibels: [0, 1]}\n")
    section = load("mine", recipe, [CORPORA, "augment.room.count=7"]).augment
    assert (section["copies"], section["chain"], section["kinds"]) == (3, 1, ["noise", "volume"])  # order of use
    assert (section["noise"]["snr"], section["volume"]["decibels"]) == ([5.0, 10.0], [-3.0, 3.0])
    assert (section["room"]["count"], section["vtlp"]["alpha"]) == (7, [0.9, 1.1])
    assert load("mine", recipe, [CORPORA, "augment={noise: {snr: [1, 2]}}"]).augment["noise"]["snr"] == [1.0, 2.0]
    path.write_text("noise: {snt: [5, 10]}\n")
    message = refused("mine", recipe, [CORPORA])
    assert message.startswith(f"{path}: unknown key augment.noise.snt; did you mean augment.noise.snr?")
    path.write_text("noise: {snr: [10, 5]}\n")
    assert refused("mine", recipe, [CORPORA]).startswith(f"{path}: key augment.noise.snr = [10.0, 5.0]: ")
    path.write_text("noise: {snr: }\n")
    assert refused("mine", recipe, [CORPORA]).startswith(f"{path}: key augment.noise.snr has no value")


@pytest.mark.parametrize("nothing", ["", "''", "null"])
def test_a_folder_of_noise_can_be_taken_back(preset, nothing):
    recipe = preset("augment:\n  noise:\n    folder: /nowhere\n")
    assert load("mine", recipe, [CORPORA]).augment["noise"]["folder"] == "/nowhere"  # looked into where it is used
    experiment = load("mine", recipe, [CORPORA, f"augment.noise.folder={nothing}"])
    assert experiment.augment["noise"]["folder"] == ""


@pytest.mark.parametrize(
    "name",
    ["paper", "strict", *(f"{n}{end}" for n in ("strong", "logmel", "pretrained") for end in ("", "_global"))],
)
def test_copies_and_budgets_of_the_presets(name):
    first, experiment = name in ("paper", "strict"), load(name, None, ["corpora=[tess, ravdess]"])
    assert experiment.augment["copies"] == int(first)
    assert experiment.training.budget == ("total" if first else "per_corpus")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: [\nb: 1\n", "mine.yaml:3: not readable as YAML"),
        ("fold: 1\n\tseed: 2\n", "mine.yaml:2: not readable as YAML"),
        ("fold: 1\nseed: 2\nfold: 3\n", "mine.yaml:3: not readable as YAML (key fold appears twice)"),
        ("training:\n  patience: 1\n  patience: 1\n", "mine.yaml:3: not readable as YAML (key patience appears twice)"),
        ("fold: 1\ntraining:\n  patience: .nan\n", "mine.yaml:3: not readable as YAML"),
        ("- a\n", "mine.yaml: must hold"),
        ("# nothing\n", "mine.yaml: must hold"),
        ("training: 3\n", "mine.yaml: unknown key training"),  # a section is no value
        ("training:\n", "mine.yaml: unknown key training"),
        ("training:\n  patience: many\n", "mine.yaml: key training.patience = 'many': "),
        ("training:\n  patience:\n", "mine.yaml: key training.patience has no value"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_its_line(preset, text, where):
    recipe = preset(text)
    assert refused("mine", recipe, [CORPORA]).startswith(f"{recipe}/conf/presets/{where}")


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "0.001", "1E-3"])
def test_numbers_with_an_exponent_are_numbers_everywhere(preset, text):
    recipe = preset(f"training:\n  learning_rate: {text}\n")
    assert load("mine", recipe, [CORPORA]).training.learning_rate == 0.001
    assert load("strict", None, [CORPORA, f"training.learning_rate={text}"]).training.learning_rate == 0.001


def test_words_with_an_e_are_words():
    experiment = load("strict", None, ["corpora=[tess, ravdess]", "temporal=lstm", "training.device=cuda:0"])
    assert experiment.corpora == ["tess", "ravdess"]
    assert experiment.training.device == "cuda:0"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([CORPORA, "fold"], "fold: expected key=value"),
        ([CORPORA, "training.patience"], "training.patience: expected key=value"),
        ([CORPORA, "preset=paper"], "preset=paper: sets a name and no values; use --preset paper"),
        ([], "key corpora has no value"),
    ],
)
def test_invalid_overrides(overrides, words):
    assert refused("strict", None, overrides).startswith(f"command line: {words}")


def test_an_unknown_preset_lists_those_that_exist(preset):
    others = "paper, pretrained, pretrained_global, strict, strong, strong_global"
    assert refused("stric", None, []).endswith(f"there is: logmel, logmel_global, {others}")
    assert refused("stric", preset("fold: 2\n"), []).endswith(f"there is: logmel, logmel_global, mine, {others}")


def test_save_and_read_give_the_same(tmp_path):
    options = ["training.learning_rate=1e-5", "features.floor=1e-10", "augment.chain=2", "augment.noise.snr=[1, 2]"]
    experiment = load("paper", None, ["corpora=[a, b]", *options])
    write_experiment(experiment, tmp_path / "config.yaml")
    again = read_experiment(tmp_path / "config.yaml")
    assert again == experiment
    write_experiment(again, tmp_path / "again.yaml")
    assert (tmp_path / "again.yaml").read_bytes() == (tmp_path / "config.yaml").read_bytes()


def test_a_saved_file_without_a_key_is_named(tmp_path):
    path = tmp_path / "config.yaml"
    write_experiment(load("paper", None, [CORPORA]), path)
    path.write_text(path.read_text().replace("seed: 0\n", ""))
    with refuses("key seed has no value", where="config.yaml"):
        read_experiment(path)
    with refuses("no such file", where="none.yaml"):
        read_experiment(tmp_path / "none.yaml")


def test_runtime_keys_do_not_affect_results():
    one = load("strict", None, [CORPORA])
    runtime = ["training.threads=3", "training.device=cuda", "training.checkpoint_seconds=1"]
    assert result_affecting(load("strict", None, [CORPORA, *runtime])) == result_affecting(one)
    runtime_and_later = {"training.threads", "training.device", "training.checkpoint_seconds", *ADDED_DEFAULTS}
    affecting = {key for key in keys() if not key.startswith("augment.")} - runtime_and_later
    assert set(result_affecting(one)) == {FIRST_NAMES.get(key, key) for key in affecting}
    assert set(dotted(one)) == set(keys())
    assert result_affecting(load("strict", None, [CORPORA, "training.patience=3"])) != result_affecting(one)


def test_the_folder_of_a_run():
    experiment = load("strict", None, ["corpora=[tess, ravdess]", "fold=2", "seed=3", "task=unified"])
    assert experiment.folder == "tess_ravdess/unified_blstm_mu_sigma2/fold2_seed3"


def test_an_option_that_came_later_leaves_older_results_valid(tmp_path):
    experiment = load("strict", None, [CORPORA])
    write_experiment(experiment, tmp_path / "config.yaml")
    text = "".join(
        line for line in (tmp_path / "config.yaml").read_text().splitlines(True) if "adversarial_weight" not in line
    )
    (tmp_path / "older.yaml").write_text(text)
    assert read_experiment(tmp_path / "older.yaml") == experiment
    assert "training.adversarial_weight" not in result_affecting(experiment)
    assert "training.adversarial_weight" in result_affecting(
        load("strict", None, [CORPORA, "training.adversarial_weight=1"])
    )


def test_a_renamed_key_is_read_under_its_old_name_and_leaves_older_results_valid(tmp_path):
    with pytest.warns(UserWarning, match="command line: network.tdnn_size is now called network.tdnn.size"):
        experiment = load("strict", None, [CORPORA, "network.tdnn_size=7"])
    assert experiment.network.tdnn.size == 7
    assert experiment == load("strict", None, [CORPORA, "network.tdnn.size=7"])
    values = dataclasses.asdict(experiment)
    network = values["network"]
    network["hidden_size"] = network.pop("lstm")["hidden_size"]
    for block in ("tdnn", "attention", "nin"):
        network.update({f"{block}_{key}": value for key, value in network.pop(block).items()})
    (tmp_path / "older.yaml").write_text(json.dumps(values))
    assert read_experiment(tmp_path / "older.yaml") == experiment
    assert result_affecting(experiment)["network.tdnn_size"] == 7
    other = load("strict", None, [CORPORA, "network.tdnn.size=8"])
    assert differences(experiment, other) == {"network.tdnn.size": (7, 8)}


def test_a_budget_affects_results_of_several_corpora_only(tmp_path):
    def experiment(corpora, budget):
        return load("strict", None, [f"corpora={corpora}", f"training.budget={budget}"])

    total, per_corpus = (experiment("[tess, ravdess]", budget) for budget in ("total", "per_corpus"))
    assert differences(total, per_corpus) == {"training.budget": ("total", "per_corpus")}
    assert result_affecting(per_corpus) == {**result_affecting(total), "training.budget": "per_corpus"}
    alone = [experiment("[ravdess]", budget) for budget in ("total", "per_corpus")]
    assert result_affecting(alone[0]) == result_affecting(alone[1])
    assert differences(*alone) == {}
    for one in alone:
        assert differences(one, per_corpus)["training.budget"] == ("total", "per_corpus")
        assert "training.budget" not in differences(one, total)
    write_experiment(total, tmp_path / "config.yaml")
    text = (tmp_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text.replace("  budget: total\n", ""))
    assert read_experiment(tmp_path / "config.yaml") == total


def test_settings_of_other_folds_and_seeds_are_read(tmp_path):
    experiments = [load("strict", None, [CORPORA, f"fold={f}", f"seed={s}"]) for f, s in ((1, 0), (2, 7))]
    for number, experiment in enumerate(experiments):
        write_experiment(experiment, tmp_path / f"{number}.yaml")
    assert [read_experiment(tmp_path / f"{number}.yaml") for number in (0, 1, 0)] == [*experiments, experiments[0]]
    with refuses(where="2.yaml"):
        read_experiment(tmp_path / "2.yaml")


def augment_keys(corpora, *overrides):
    experiment = load("strict", None, [f"corpora={corpora}", *(f"augment.{override}" for override in overrides)])
    return {key.removeprefix("augment.") for key in result_affecting(experiment) if key.startswith("augment.")}


def test_augmentation_affects_results_only_with_copies():
    used = {"copies", "chain", "kinds", "volume.decibels", "mp3.kbps"}
    kinds = "kinds=[volume, mp3]"
    assert augment_keys("[ravdess]", kinds) == set()  # copies = 1: the largest corpus gets none
    assert augment_keys("[tess, ravdess]", kinds, "copies=0") == set()
    assert augment_keys("[ravdess]", kinds, "copies=2") == used
    assert augment_keys("[tess, ravdess]", kinds) == used


def test_settings_of_transforms_affect_results_and_their_order_does_not():
    def settings(*overrides):
        return result_affecting(load("strict", None, ["corpora=[tess, ravdess]", *overrides]))

    both = settings("augment.kinds=[volume, noise]")
    assert settings("augment.kinds=[noise, volume]", "augment.mp3.kbps=[8]", "augment.noise.snr=[0.0, 15]") == both
    assert both["augment.kinds"] == ["noise", "volume"]
    for other in ("augment.noise.snr=[0, 14]", "augment.chain=2", "augment.copies=2", "augment.noise.folder=musan"):
        assert settings("augment.kinds=[volume, noise]", other) != both


def test_differences_are_in_settings_that_affect_either_result():
    def experiment(*overrides):
        return load("strict", None, [CORPORA, "augment.kinds=[noise]", *overrides])

    plain = experiment("augment.copies=0")
    assert differences(plain, experiment("augment.copies=1", "augment.noise.snr=[1, 2]", "training.threads=2")) == {}
    other = experiment("augment.copies=2", "augment.noise.snr=[1, 2]")
    expected = {"augment.copies": (0, 2), "augment.noise.snr": ([0.0, 15.0], [1.0, 2.0])}
    assert differences(plain, other) == expected
    assert differences(other, plain) == {key: (there, here) for key, (here, there) in expected.items()}


def test_settings_of_a_version_without_augmentation(tmp_path):
    path = tmp_path / "config.yaml"
    experiment = load("strict", None, ["corpora=[tess, ravdess]", "augment.copies=0"])
    write_experiment(experiment, path)
    values = yaml.safe_load(path.read_text())
    section = values.pop("augment")
    path.write_text(yaml.safe_dump(values))
    before = read_experiment(path)
    assert before.augment == section == experiment.augment
    assert result_affecting(before) == result_affecting(experiment)
    assert not [key for key in result_affecting(before) if key.startswith("augment")]
    path.write_text(yaml.safe_dump(values | {"augment": {"noise": {"snr": [3, 1]}}}))
    with refuses("key augment.noise.snr =", where="config.yaml"):
        read_experiment(path)


def choices():
    """Dotted keys with a closed set of values, and this set."""
    literals = {key: get_args(kind) for key, kind in _types().items() if get_origin(kind) is Literal}
    return {**literals, **{key: tuple(registry) for key, registry in REGISTRIES.items()}}


@pytest.mark.parametrize("key", sorted(choices()))
def test_help_names_every_choice(key):
    """`run.sh --help` prints the lines of conf/."""
    section, _, name = key.rpartition(".")
    section, *inner = section.split(".") if section else ("experiment",)
    lines = (ROOT / "conf" / f"{section}.yaml").read_text().splitlines()
    start = next((i for i, line in enumerate(lines) if inner and line.startswith(f"{inner[0]}:")), 0)
    line = next(line for line in lines[start:] if line.startswith(f"{'  ' * len(inner)}{name}:"))
    missing = [str(choice) for choice in choices()[key] if not re.search(rf"\b{choice}\b", line.partition(":")[2])]
    assert missing == []


@pytest.mark.parametrize("key", ["temporal", "pooling"])
def test_run_sh_names_every_choice(key):
    comment = re.search(rf"^{key}=[^#]*# (.*)$", (ROOT / "run.sh").read_text(), re.MULTILINE)[1]
    assert set(REGISTRIES[key]) <= set(re.findall(r"\w+", comment))
