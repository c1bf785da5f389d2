"""What a stage wrote and somebody or something changed since is refused by the stage that reads it next."""

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from packed import finish
from scored import edited, recorded_again

from ser.common import InputError, guarded
from ser.common.records import read_record, unchecked, unchecked_note, write_record
from ser.features import index
from ser.grid.state import find_problem
from ser.inference.pack import pack
from ser.scoring.curves import read_curves
from ser.scoring.decode import Decoder
from ser.scoring.pooled import read_pools
from ser.scoring.result import score_experiment
from ser.scoring.results_table import read_results
from ser.training import Trainer
from ser.training.checkpoint import load_tensors, save_tensors


def flip(path: Path, place: int = -2) -> None:
    """Change one bit; the place is a byte, from the end where it is below 0."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@pytest.fixture(scope="module")
def finished(made, tmp_path_factory):
    """An experiment after stage 6; not to be written into."""
    return finish(made, tmp_path_factory.mktemp("finished"), made.experiment("training.max_epochs=1"))


@pytest.fixture
def own(finished, tmp_path):
    """A copy of it, below exp/."""
    folder = tmp_path.joinpath(*finished.parts[-4:])
    shutil.copytree(finished, folder)
    return folder


@pytest.fixture
def data(made):
    return made.open(made.experiment("training.max_epochs=1"))


def refused(read, name):
    with pytest.raises(InputError, match=name) as caught:
        read()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", [-1, -1000, 9, 300])
def test_weights_before_decoding_and_packing(own, data, made, tmp_path, place):
    flip(own / "model.safetensors", place)
    refused(lambda: Decoder(data.experiment, own), "model.safetensors")
    refused(lambda: pack(own, tmp_path / "m", made.recipe, made.data_root, made.dump), "model.safetensors")


def test_weights_of_another_training_before_decoding(own, data):
    tensors, meta = load_tensors(own / "model.safetensors")
    save_tensors(own / "model.safetensors", {k: v + 1 for k, v in tensors.items()}, meta)
    refused(lambda: Decoder(data.experiment, own), "model.safetensors: changed since it was written")


def test_settings_of_another_training_before_decoding(own, made):
    other = made.open(made.experiment("training.max_epochs=2"))
    refused(lambda: Decoder(other.experiment, own).decode_parts(other, "test"), "another config than its config.yaml")


@pytest.mark.parametrize("name", ["train.json", "result.json"])
def test_what_to_do_about_a_damaged_file_is_no_dead_end(own, name):
    for damage in (lambda path: path.write_text("{"), lambda path: path.unlink()):
        damage(own / name)
        with pytest.raises(InputError) as caught:
            read_record(own / name, dict[str, Any], "the way out")
        assert caught.value.fix == "the way out"


@pytest.mark.parametrize("name", ["decode_test/post.ark", "decode_valid/post.ark", "decode.json"])
def test_answers_before_scoring_and_a_decoding_again_fixes_them(own, data, name):
    path = own / name
    whole = path.read_bytes()
    if path.suffix == ".ark":
        flip(path)
    else:
        edited(path, test={**json.loads(whole)["test"], "sha256": "0"})
    refused(lambda: score_experiment(data, own, "test"), f"{name}: changed since it was written")
    Decoder(data.experiment, own).decode_parts(data, "test")
    assert path.read_bytes() == whole
    score_experiment(data, own, "test")


@pytest.mark.parametrize(
    "change", [{"notes": ["best of all"]}, {"seed": 3}, {"recorded": {"values": "0", "files": {}}}]
)
def test_an_edited_result_before_tables_pool_and_grid(own, data, change):
    edited(own / "result.json", **change)
    for read in (lambda: read_results([own.parents[2]]), lambda: read_pools([own.parents[2]])):
        refused(read, r"result\.json: changed since it was written")
    assert "result.json: changed" in find_problem(own, data.experiment)


def test_an_edited_score_is_found_without_a_record(own):
    found = json.loads((own / "result.json").read_text())
    del found["recorded"]
    found["targets"]["one"]["ua"] += 0.01
    (own / "result.json").write_text(json.dumps(found))
    refused(lambda: read_results([own.parents[2]]), r"result\.json: targets\.one: ua does not follow from confusion")


def test_edited_answers_before_pooling(own):
    path = own / "result.tsv"
    path.write_text(path.read_text().replace("angry", "sad", 1))
    refused(lambda: read_pools([own.parents[2]]), "result.tsv: changed since it was written")


def test_edited_epochs_before_a_picture(own):
    path = own / "epochs.jsonl"
    path.write_text(path.read_text().replace('"num_bad_epochs": 0', '"num_bad_epochs": 1'))
    refused(lambda: read_curves(own), "epochs.jsonl: changed since it was written")


@pytest.mark.parametrize("place", [-1, -4000, 30])
def test_a_checkpoint_before_it_goes_on(made, data, tmp_path, place):
    def trainer():
        parts = data.parts("train"), data.parts("valid")
        return Trainer(data.experiment, tmp_path, data.heads, *parts, data.hashes())

    first = trainer()
    first.run_steps(2)
    first._save()
    flip(tmp_path / "checkpoint.safetensors", place)
    refused(lambda: trainer()._restore(), "checkpoint.safetensors")


def test_an_archive_before_training(made, data, tmp_path):
    """One bit of one value: the reader of the features refuses the file, once it is not as its index has it."""
    shutil.copytree(made.dump, tmp_path / "dump")
    store = data.stores["one"]
    reader = store.reader()
    key = next(iter(reader.positions))
    path, offset = reader.positions[key]
    copy = tmp_path / "dump" / Path(path).relative_to(made.dump.resolve())
    reader.positions = {k: (str(copy), at) for k, (_, at) in reader.positions.items()}
    reader.read(key)
    flip(copy, offset + 40)
    refused(
        lambda: moved(store.reader(), copy).read(key), f"{copy.name}: not the bytes that were written; run steps/store"
    )
    copy.with_suffix(".json").unlink()
    unchecked.clear()
    moved(store.reader(), copy).read(key)
    assert list(unchecked) == [copy]


def moved(reader, archive):
    reader.positions = {
        key: (str(archive), at) for key, (path, at) in reader.positions.items() if Path(path).name == archive.name
    }
    return reader


def test_an_archive_is_compared_once_in_a_process(made, data, monkeypatch):
    calls = []
    crc32 = index.zlib.crc32
    monkeypatch.setattr(index.zlib, "crc32", lambda data: calls.append(len(data)) or crc32(data))
    monkeypatch.setattr(index, "_checked", set())
    store = data.stores["one"]
    archives = {path for path, _ in store.reader().positions.values()}
    for _ in range(2):
        reader = store.reader()
        for key in reader.positions:
            reader.read(key)
    assert sorted(calls) == sorted(Path(path).stat().st_size for path in archives)


def test_files_without_a_record_are_read_and_counted_in_one_line(own, data, capsys):
    for path in own.rglob("*.json"):
        found = json.loads(path.read_text())
        found.pop("recorded", None)
        path.write_text(json.dumps(found))

    @guarded
    def main():
        Decoder(data.experiment, own).decode_parts(data, "test")
        score_experiment(data, own, "test")
        return len(read_results([own.parents[2]])) - 1

    unchecked_note()
    assert main() == 0
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    # train.json, the model that it does not vouch for, and decode.json
    assert warning.startswith("warning: 3 files were written by an older version")
    assert unchecked_note() == ""


@pytest.mark.parametrize("text", ["[]", "3", "null", "{}", '{"a": "x"}', '{"a": NaN}', '{"a": 1, "recorded": []}', "{"])
def test_a_record_of_another_kind_is_named(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    refused(lambda: read_record(tmp_path / "a.json", dict[str, int], "run it again", ["b"]), "a.json|b: no such file")


def test_a_record_is_read_back_and_names_what_has_changed(tmp_path):
    (tmp_path / "b").write_bytes(struct.pack("<d", 1.5))
    value = {"a": [1, 2.5, None, "ü\ud7ff"], "b": {"10": 1, "9": 2}}
    write_record(tmp_path / "a.json", {**value, "b": {10: 1, 9: 2}}, [tmp_path / "b"])
    assert read_record(tmp_path / "a.json", dict, "run it again", None) == value
    flip(tmp_path / "b")
    assert read_record(tmp_path / "a.json", dict, "run it again") == value
    refused(lambda: read_record(tmp_path / "a.json", dict, "run it again", None), "b: changed since .* run it again")
    recorded_again(tmp_path / "a.json")
    assert read_record(tmp_path / "a.json", dict, "run it again", None) == value
