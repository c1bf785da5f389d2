import hashlib
import json
import pickle
import shutil

import pytest
import torch
from conftest import refuses
from packed import edit
from safetensors.torch import load_file, save_file

from ser.cli import main
from ser.common import InputError
from ser.inference.card import model_card, training_hashes
from ser.inference.model import FILES, experiment_from, open_model, read_description, write_sums
from ser.inference.pack import pack
from ser.training.checkpoint import load_tensors, save_tensors


@pytest.fixture
def own(packed, tmp_path):
    """A copy of a model package, to be damaged."""
    shutil.copytree(packed, tmp_path / "own")
    return tmp_path / "own"


def refused(folder, message):
    with pytest.raises(InputError, match=message) as caught:
        open_model(folder)
    assert "\n" not in str(caught.value)


def test_what_a_folder_holds(made, packed_with):
    folder, model = packed_with()
    assert sorted(path.name for path in model.iterdir()) == sorted([*FILES, "SHA256SUMS"])
    assert (model / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    found = json.loads((model / "model.json").read_text())
    assert found["heads"] == {name: ["angry", "happy", "neutral", "sad"] for name in ("one", "two")}
    assert found["corpora"]["one"]["licence"] == "none"
    result = json.loads((folder / "result.json").read_text())
    assert found["metrics"]["test"]["one"]["ua"] == result["targets"]["one"]["ua"]
    low, high = found["trained"]["seconds"]
    assert 0.2 <= low < high < 0.5
    assert found["trained"]["sampling_rates"] == {"8000": 36}
    for head, n in (("one", 12), ("two", 12), ("mean", 24)):
        own = found["calibration"][head]
        assert own["n"] == len(own["confidence"]) == len(own["right"]) == n
        assert own["confidence"] == sorted(own["confidence"])


def test_a_temperature_that_is_not_applied_is_in_the_card(own):
    rejected = {"temperature": 1.0, "rejected": {"temperature": 2.5, "ece": 0.25}}
    edit(own, lambda values: values["calibration"]["mean"].update(rejected))
    description = read_description(own)
    text = model_card(description)
    assert "each corpus by its own head" in " ".join(text.split())
    one = {"unified": ["angry", "happy", "neutral", "sad"]}
    assert "all by one head" in " ".join(model_card({**description, "heads": one}).split())
    assert "mean: the fitted temperature 2.50 is not applied, for ECE would be 25.0 %" in text


def test_the_folder_opens_as_the_experiment_was(made, packed_with):
    folder, model = packed_with("batches.normalisation=speaker")
    opened = open_model(model)
    assert opened.experiment == made.experiment("training.max_epochs=1", "batches.normalisation=speaker")
    weights = load_file(folder / "model.safetensors")
    assert all(torch.equal(value, weights[name]) for name, value in opened.network.state_dict().items())
    assert not opened.network.training
    assert opened.description["group_statistics"]["groups"] == 3
    assert opened.description["calibration"].keys() == opened.description["calibration_without_speakers"].keys()


def test_seen_names_the_training_utterances_and_no_others(made, packed):
    seen = (packed / "seen.txt").read_text().split()
    assert seen == sorted(seen)
    train = [line.split()[0] for line in (made.data_root / "one/strict_fold1/train/utt2spk").read_text().splitlines()]
    train_two = (made.data_root / "two/strict_fold1/train/utt2spk").read_text().splitlines()
    names = [f"one/{key}" for key in train] + [f"two/{line.split()[0]}" for line in train_two]
    assert set(seen) == {hashlib.sha256(name.encode()).hexdigest() for name in names}


def test_a_list_of_training_utterances_that_is_no_text_is_named(own):
    (own / "seen.txt").write_bytes(b"\xff\n")
    write_sums(own)
    with refuses("not text", where="seen.txt"):
        training_hashes(own)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_and_a_changed_file_are_refused(own, name):
    data = (own / name).read_bytes()
    (own / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    refused(own, f"{name}: not the file that was packed")
    (own / name).unlink()
    refused(own, f"{name}: missing")


class Trap:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return (open, ("unpickled", "w"))


@pytest.mark.parametrize("renewed", [False, True], ids=["tampered", "with new sums"])
@pytest.mark.parametrize("write", [lambda f: pickle.dump(Trap(), f), lambda f: torch.save(Trap(), f)])
def test_a_pickle_is_refused_and_not_run(own, monkeypatch, tmp_path, write, renewed):
    monkeypatch.chdir(tmp_path)
    with (own / "model.safetensors").open("wb") as file:
        write(file)
    if renewed:
        write_sums(own)
    refused(own, "model.safetensors: a pickle, which may hold code and is not opened")
    assert not (tmp_path / "unpickled").exists()


def test_weights_of_another_network_or_label_set_are_refused(own, packed_with):
    edit(own, lambda values: values["heads"].update(one=["angry", "sad"]))
    refused(own, r"the weights answer one \(angry happy neutral sad\).*model.json has one \(angry sad\)")
    edit(own, lambda values: values["heads"].update(one=["sad", "happy", "neutral", "angry"]))
    refused(own, "the weights answer")
    edit(own, lambda values: values["heads"].update(one=["angry", "happy", "neutral", "sad"]))
    open_model(own)
    edit(own, lambda values: values["settings"]["network"]["lstm"].update(hidden_size=9))
    refused(own, "weights of another network than in model.json")


def test_weights_without_a_head_are_refused(own):
    from safetensors import safe_open

    with safe_open(own / "model.safetensors", "pt") as file:
        meta = file.metadata()
    tensors = load_file(own / "model.safetensors")
    del tensors["heads.one.bias"]
    save_file(tensors, own / "model.safetensors", meta)
    write_sums(own)
    refused(own, "model.safetensors: damaged")
    described = json.loads(meta["meta"])
    described.pop("checksum")
    save_tensors(own / "model.safetensors", tensors, described)
    write_sums(own)
    refused(own, r"weights of another network .*heads.one.bias")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(format=2), "format 2, and this version reads 1; update"),
        (lambda v: v.pop("format"), "format None"),
        (lambda v: v["settings"].update(temporal="os:system"), "os:system is none of"),
        (lambda v: v["settings"]["network"]["lstm"].update(hidden_size=-3), "not a description of a model"),
        (
            lambda v: v["settings"]["network"]["lstm"].update(hidden_size="8"),
            "network.lstm.hidden_size = '8', expected a whole number",
        ),
        (lambda v: v["settings"]["network"].update(new=1), "network.new is unknown"),
        (lambda v: v["settings"].pop("features"), "features is missing"),
        (lambda v: v["settings"]["batches"].update(normalisation="file"), "normalisation = 'file', expected one of"),
        (lambda v: v.update(heads={}), "no heads"),
        (lambda v: v.pop("trained"), "trained"),
        (lambda v: v["trained"].update(seconds=["a", 2]), r"trained.seconds\[0\] = 'a', expected a number"),
        (lambda v: v["trained"].update(seconds=[3]), "trained.seconds"),
        (lambda v: v.update(calibration=[]), r"calibration = \[\], expected an object"),
        (lambda v: v["calibration"]["one"].update(temperature=float("nan")), "one.temperature = nan"),
        (lambda v: v["metrics"]["test"]["one"].update(n=True), "metrics.test.one.n = True"),
        (lambda v: v.update(corpora={}), "corpora: none"),
        (lambda v: v["trained"].update(sampling_rates={"fast": 1}), "trained.sampling_rates"),
        (lambda v: v["calibration"]["one"].update(right=[]), "calibration.one"),
    ],
)
def test_a_description_that_is_none_is_refused(own, change, message):
    edit(own, change)
    refused(own, message)


@pytest.mark.parametrize("line", ["../../etc/passwd", "/etc/passwd", "sub/file", ".hidden", "a b"])
def test_a_path_out_of_the_folder_is_refused(own, line):
    sums = own / "SHA256SUMS"
    sums.write_text(sums.read_text() + f"{'0' * 64}  {line}\n")
    refused(own, "SHA256SUMS:5: not `<SHA-256>  <name of a file in this folder>`")


def test_a_link_and_a_file_that_is_not_named_are_refused(own):
    sums = own / "SHA256SUMS"
    text = sums.read_text()
    sums.write_text("".join(line for line in text.splitlines(True) if "seen.txt" not in line))
    refused(own, "does not name seen.txt")
    sums.write_text(text)
    shutil.move(own / "seen.txt", own.parent / "seen.txt")
    (own / "seen.txt").symlink_to(own.parent / "seen.txt")
    refused(own, "seen.txt: missing, or a link")


def test_folders_that_are_no_models(tmp_path):
    refused(tmp_path / "none", "no such folder")
    refused(tmp_path, "no model package, for it has no SHA256SUMS")


def test_settings_that_came_later_are_off_and_old_names_are_read():
    from dataclasses import asdict

    from ser.config import load

    experiment = load("strong", None, ["corpora=[ravdess]"])
    settings = json.loads(json.dumps(asdict(experiment)))
    assert experiment_from(settings) == experiment
    del settings["training"]["gender_weight"]
    settings["network"]["hidden_size"] = settings["network"].pop("lstm")["hidden_size"]
    assert experiment_from(settings) == experiment


def test_pack_finds_the_folders_of_a_recipe(made, packed_with, tmp_path, monkeypatch, capsys):
    folder, _ = packed_with()
    recipe = tmp_path / "recipe"
    shutil.copytree(made.recipe, recipe)
    (recipe / "data").symlink_to(made.data_root)
    shutil.copytree(folder.parents[2], recipe / "exp")
    own = recipe / "exp" / folder.relative_to(folder.parents[2])
    assert main(["pack", str(own), str(tmp_path / "model"), "--dump", str(made.dump)]) == 0
    assert open_model(tmp_path / "model").heads.keys() == {"one", "two"}
    assert main(["pack", str(own), str(tmp_path / "model"), "--dump", str(made.dump)]) == 0  # again
    (recipe / "data").unlink()
    assert main(["pack", str(own), str(tmp_path / "other"), "--dump", str(made.dump)]) == 1
    assert "no prepared corpora in" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def damage_weights(folder):
    tensors, meta = load_tensors(folder / "model.safetensors")
    tensors["heads.one.bias"] += 1
    save_tensors(folder / "model.safetensors", tensors, meta)


def damage_settings(folder):
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("frame_step: 1", "frame_step: 2"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: (folder / "result.json").unlink(),
            "not finished, for it has no result.json; run stages 4 to 6",
        ),
        (damage_weights, "model.safetensors: changed since it was written"),
        (damage_settings, "trained with another config"),
        (lambda folder: (folder / "config.yaml").unlink(), "no experiment, for it has no config.yaml"),
    ],
)
def test_an_unfinished_or_edited_experiment_is_not_packed(made, packed_with, tmp_path, damage, message):
    own = tmp_path / "exp"
    shutil.copytree(packed_with()[0], own)
    damage(own)
    with pytest.raises(InputError, match=message):
        pack(own, tmp_path / "model", made.recipe, made.data_root, made.dump)
    assert not (tmp_path / "model").exists()


def test_a_folder_of_something_else_is_not_replaced(made, packed_with, tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with refuses("exists"):
        pack(packed_with()[0], tmp_path, made.recipe, made.data_root, made.dump)
    model = tmp_path / "model"
    given = made.recipe, made.data_root, made.dump
    pack(packed_with(corpora="one")[0], model, *given)
    with refuses("a model package of one", where=model):
        pack(packed_with()[0], model, *given)
    assert list(open_model(model).heads) == ["one"]
    pack(packed_with(corpora="one")[0], model, *given)  # of the same corpora, again
    (model / "model.json").write_text("{")
    pack(packed_with()[0], model, *given)  # in place of a damaged one
    assert list(open_model(model).heads) == ["one", "two"]


def test_the_card(own, capsys):
    first = (own / "README.md").read_text()
    for text in ("| one | test |", "| one | validation |", "Licence: none", "0.5 s, recorded at 8,000 Hz", "| mean |"):
        assert text in " ".join(first.split())
    (own / "check.md").write_text("measured")
    assert main(["card", str(own)]) == 0
    assert "[check.md](check.md)" in (own / "README.md").read_text()
    open_model(own)
    capsys.readouterr()
    assert main(["card", str(own), "--seen", "one/one3-angry-00", "one/one1-angry-00", "two/one3-angry-00"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["trained on", "not trained on", "not trained on"]
    assert main(["card", str(own), "--seen", "three/one3-angry-00"]) == 0
    expected = "three/one3-angry-00: not trained on, nor on any of three: its corpora are one, two\n"
    assert capsys.readouterr().out == expected
    for name in ("one3-angry-00", "one/", "one/one3-angry-00.wav"):
        assert main(["card", str(own), "--seen", name]) == 1
        assert f"--seen {name}: <corpus>/<utterance id>" in capsys.readouterr().err


def test_the_card_names_an_incomplete_copy_of_a_corpus(made, packed_with, tmp_path, monkeypatch):
    monkeypatch.setattr("ser.inference.pack.incompleteness", lambda folder: ["40 of 48 utterances"])
    pack(packed_with()[0], tmp_path / "model", made.recipe, made.data_root, made.dump)
    assert "An incomplete copy of the corpus (40 of 48 utterances)." in (tmp_path / "model" / "README.md").read_text()
