"""Features of training utterances together with augmented copies of them."""

import gzip
import json
import os
import shutil
import subprocess
from pathlib import Path

import lhotse
import numpy as np
import programs
import pytest
import soundfile
from conftest import ROOT
from made import Made, filled, make

import ser.features.store as module
from ser.audio import read_audio
from ser.augment import build_augment
from ser.augment.babble_pool import BabblePool
from ser.augment.copies import apply_transforms
from ser.common import InputError, digest
from ser.config import write_experiment
from ser.corpora.cuts import read_cut, read_cuts
from ser.corpora.kaldi import read_table, spk2utt, validate, write_table
from ser.features import FeatureStore
from ser.features.index import bucket_of
from ser.frontends import build_frontend

LOUDER, QUIETER = {"kind": "volume", "decibels": 20.0}, {"kind": "volume", "decibels": -6.0}
WHITE = {"kind": "noise", "snr": 10.0, "colour": "white", "seed": 7}
KINDS = ("augment.copies=1", "augment.kinds=[volume,noise]")


def write_train_set(made: Made, steps: dict[str, list], name: str = "train_0123456789abcdef", corpus="two") -> Path:
    """As stage 2 does: the training utterances, and a copy with the steps of each of those that are named."""
    train = made.data_root / corpus / "strict_fold1" / "train"
    folder = train.with_name(name)
    utt2spk = read_table(train / "utt2spk")
    with gzip.open(made.data_root / corpus / "cuts.jsonl.gz", "rt") as file:
        rows = {row["id"]: row for line in file if (row := json.loads(line))["id"] in utt2spk}
    for key, done in steps.items():
        row = json.loads(json.dumps(rows[key]))
        row["id"] = row["supervisions"][0]["id"] = f"{key}-copy1"
        row["supervisions"][0]["custom"]["copy"] = {"of": key, "number": 1, "steps": done}
        rows[row["id"]] = row
        utt2spk[row["id"]] = utt2spk[key]
    for name, table in {"utt2spk": utt2spk, "spk2utt": spk2utt(utt2spk)}.items():
        write_table(folder / name, table)
    with gzip.open(folder / "cuts.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(rows[key]) + "\n" for key in sorted(rows))
    return folder


def store_of(made: Made, folder: Path, *overrides: str) -> FeatureStore:
    experiment = made.experiment(*KINDS, *overrides)
    augment = build_augment(experiment.augment, made.dump / "rooms")
    return FeatureStore(made.dump, folder, build_frontend(experiment), augment)


def computed(made: Made, folder: Path, *overrides: str) -> FeatureStore:
    store = filled(store_of(made, folder, *overrides))
    store.link()
    return store


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """Features of corpus two, and of its training utterances with three copies."""
    made = make(tmp_path_factory.mktemp("copied"))
    steps = {"two1-sad-00": [LOUDER], "two1-sad-01": [WHITE, QUIETER], "two1-angry-00": [LOUDER]}
    return made, computed(made, write_train_set(made, steps))


def samples_of(store: FeatureStore, key: str) -> np.ndarray:
    return read_audio(next(cut.path for cut in store.cuts if cut.id == key)).mono


def test_copies_are_transformed_originals(copied):
    _, store = copied
    reader, frames = store.reader(), store.num_frames()
    assert len(frames) == 15
    louder = reader.read("two1-sad-00-copy1") - reader.read("two1-sad-00")
    assert np.median(louder) == pytest.approx(2 * np.log(10), abs=1e-3)  # 20 dB
    babble_pool = BabblePool({cut.id: cut for cut in store.cuts}, {})
    expected = apply_transforms(samples_of(store, "two1-sad-01"), 8000, [WHITE, QUIETER], store.augment, babble_pool)
    np.testing.assert_allclose(reader.read("two1-sad-01-copy1"), store.frontend.extract(expected), atol=1e-3)


def test_originals_are_not_computed_again(copied):
    made, store = copied
    originals = FeatureStore(made.dump, made.data_root / "two", store.frontend)
    places, with_copies = (read_table(s.folder / "feats.scp") for s in (originals, store))
    utterances = read_table(made.data_root / "two" / "strict_fold1" / "train" / "utt2spk")
    assert {key: with_copies[key] for key in utterances} == {key: places[key] for key in utterances}


def test_the_set_is_in_the_folder_of_its_corpus_and_has_its_counts(copied):
    made, store = copied
    assert store.folder.parent == made.dump / "two"
    info = json.loads((store.folder / "info.json").read_text())
    assert (info["corpus"], info["utterances"], info["copies"]) == ("two", 15, 3)


def test_only_its_own_data_dir_is_linked(copied):
    made, store = copied
    train = made.data_root / "two" / "strict_fold1" / "train"
    assert validate(store.data_dir) == 15
    assert "two1-sad-00-copy1" in read_table(store.data_dir / "feats.scp")
    before = {path: path.read_text() for path in (train / "feats.scp", store.data_dir / "feats.scp")}
    originals = FeatureStore(made.dump, made.data_root / "two", store.frontend)
    originals.link()
    assert {path: path.read_text() for path in before} == before


def test_a_relative_data_dir_finds_its_corpus(copied, monkeypatch):
    made, store = copied
    monkeypatch.chdir(made.data_root / "two" / "strict_fold1")
    relative = FeatureStore(made.dump, Path(store.data_dir.name), store.frontend)
    assert (relative.key, relative.folder) == (store.key, store.folder)
    assert relative.finished


def test_lhotse_reads_copies_as_cuts_without_recording(copied):
    _, store = copied
    cuts = lhotse.CutSet.from_file(store.folder / "cuts.jsonl.gz").to_eager()
    lhotse.validate(cuts, read_data=True)
    assert len(cuts) == 15
    for key in ("two1-sad-00-copy1", "two1-sad-01-copy1"):
        cut = cuts[key]
        assert not cut.has_recording
        assert (cut.start, cut.num_frames) == (0, store.num_frames()[key])
        assert cut.duration == pytest.approx(cut.num_frames * 128 / 8000)
        np.testing.assert_allclose(cut.load_features(), store.reader().read(key), atol=4e-6)
        (supervision,) = cut.supervisions
        assert supervision.id == key
        assert supervision.speaker == "two1"
        assert supervision.custom["emotion"] == "sad"
        assert supervision.custom["copy"]["of"] == key.removesuffix("-copy1")
    assert cuts["two1-sad-00-copy1"].supervisions[0].custom["copy"]["steps"] == [LOUDER]
    assert cuts["two1-sad-00"].has_recording


def test_other_steps_have_another_key_and_only_they_are_computed(copied):
    made, _ = copied
    before = store_of(made, write_train_set(made, {"two1-sad-00": [LOUDER]}, "train_a"))
    other = {**LOUDER, "decibels": 20.5}
    store = store_of(made, write_train_set(made, {"two1-sad-00": [other], "two1-angry-00": [LOUDER]}, "train_b"))
    assert store.key != before.key
    assert not store.finished
    assert store.compute(1, 1) == (1, 13)
    store.finish()
    assert np.median(store.reader().read("two1-sad-00-copy1") - store.reader().read("two1-sad-00")) > 4.7


def test_another_version_of_the_transforms_has_other_copies_and_the_same_originals(copied, monkeypatch):
    made, store = copied
    key = FeatureStore(made.dump, made.data_root / "two", store.frontend).key
    monkeypatch.setattr(module, "COPIES_VERSION", module.COPIES_VERSION + 1)
    assert FeatureStore(made.dump, made.data_root / "two", store.frontend).key == key
    newer = store_of(made, store.data_dir)
    assert newer.key != store.key
    missing = [cut.id for cut in newer.cuts if newer.content_of(cut) not in newer.archives.entries()]
    assert missing == ["two1-angry-00-copy1", "two1-sad-00-copy1", "two1-sad-01-copy1"]


def test_other_audio_has_other_copies(copied, tmp_path):
    """Audio that is made again under the same name, with the same steps."""
    made = make(tmp_path)
    steps = {"two1-sad-00": [LOUDER]}
    before = computed(made, write_train_set(made, steps))
    soundfile.write(made.root / "two" / "two1_sad_00.wav", np.random.default_rng(5).uniform(-0.1, 0.1, 2000), 8000)
    with pytest.raises(InputError, match="has changed since it was prepared; run stage 1"):
        computed(made, write_train_set(made, {**steps, "two1-angry-00": [LOUDER]}, "train_other"))
    for path in made.data_root.rglob("cuts.jsonl.gz"):  # as if the file had changed before stage 1 ended
        os.utime(path)
    with pytest.raises(InputError, match="has changed since it was prepared; run stage 1"):
        computed(made, write_train_set(made, {**steps, "two1-angry-00": [LOUDER]}, "train_third"))
    shutil.rmtree(made.data_root / "two")
    made.prepare("two")
    store = store_of(made, write_train_set(made, steps))
    assert store.key != before.key
    assert store.compute(1, 1) == (2, 11)


def test_babble_is_of_the_training_utterances(copied):
    made, _ = copied
    folder = write_train_set(made, {}, "train_voices", corpus="one")
    cuts = {cut.id: cut for cut in read_cuts(folder / "cuts.jsonl.gz")}
    babble_pool = BabblePool(cuts, read_table(folder / "utt2spk"))
    overrides = ("augment.noise.colours=[babble]",)
    augment = store_of(made, folder, *overrides).augment
    key = next(iter(cuts))
    speaker = babble_pool.speakers[key]
    step = {
        "kind": "noise",
        **augment.kinds["noise"].randomize_parameters(np.random.default_rng(1), babble_pool.exclude_speaker(speaker)),
    }
    assert step["colour"] == "babble"
    store = computed(made, write_train_set(made, {key: [step]}, "train_babble", corpus="one"), *overrides)
    expected = apply_transforms(samples_of(store, key), 8000, [step], augment, babble_pool)
    np.testing.assert_allclose(store.reader().read(f"{key}-copy1"), store.frontend.extract(expected), atol=1e-3)


def test_a_transform_that_is_not_in_use_is_an_error(copied):
    made, _ = copied
    folder = write_train_set(made, {"two1-sad-00": [{"kind": "speed", "factor": 1.1}]}, "train_speed")
    with pytest.raises(InputError, match="train_speed: speed is not among augment.kinds; run stage 2"):
        store_of(made, folder).compute(1, 1)


def test_a_copy_too_short_for_its_transform_is_named(copied):
    made, _ = copied
    steps = [{"kind": "speed", "factor": 8.0}, {"kind": "mp3", "kbps": 16}]
    folder = write_train_set(made, {"two1-sad-00": steps}, "train_short")
    with pytest.raises(InputError, match=r"two1-sad-00-copy1: 0.0\d+ s; mp3 takes 0.1 s or more; take that kind out"):
        store_of(made, folder, "augment.kinds=[speed,mp3]").compute(1, 1)


def test_a_copy_shorter_than_a_frame_is_padded_and_named(copied):
    made, _ = copied
    folder = write_train_set(made, {"two1-sad-00": [{"kind": "speed", "factor": 8.0}]}, "train_fast")
    store = computed(made, folder, "augment.kinds=[speed]")
    assert store.padded() == ["two1-sad-00-copy1"]
    assert store.num_frames()["two1-sad-00-copy1"] == 1
    lhotse.validate(lhotse.CutSet.from_file(store.folder / "cuts.jsonl.gz"), read_data=True)


def stage_3(made: Made, folder: Path, *overrides: str, kinds: str = "volume,noise") -> subprocess.CompletedProcess:
    experiment = made.experiment("augment.copies=1", f"augment.kinds=[{kinds}]", *overrides)
    config = made.root / f"config_{digest(list(overrides), kinds)}.yaml"
    write_experiment(experiment, config)
    return subprocess.run(
        [ROOT / "steps" / "extract_features.sh", "--nj", "2", config, folder, made.dump],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{programs.environment()}/bin:{os.environ['PATH']}"},
    )


@pytest.mark.slow
def test_stage_3_makes_the_rooms_before_its_jobs(copied):
    made, _ = copied
    small = ("augment.room.count=2",)
    augment = build_augment(made.experiment("augment.kinds=[room]", *small).augment, made.dump / "rooms")
    elsewhere = build_augment(made.experiment("augment.kinds=[room]", *small).augment, made.root / "elsewhere")
    step = {"kind": "room", **elsewhere.kinds["room"].randomize_parameters(np.random.default_rng(0))}
    folder = write_train_set(made, {"two1-sad-00": [step]}, "train_room")
    bank = augment.kinds["room"].bank
    assert not bank.is_file()
    store_of(made, folder, "augment.kinds=[room]", *small).prepare()
    assert bank.is_file()
    bank.unlink()
    run = stage_3(made, folder, *small, kinds="room")
    assert run.returncode == 0, run.stderr
    assert bank.is_file()
    assert "two: features of 13 utterances, 1 of them copies, in" in run.stdout


@pytest.mark.slow
def test_stage_3_reports_what_was_padded_and_is_a_no_op_again(copied):
    made, _ = copied
    folder = write_train_set(made, {"two1-sad-00": [{"kind": "speed", "factor": 8.0}]}, "train_faster")
    first = stage_3(made, folder, kinds="speed")
    assert first.returncode == 0, first.stderr
    assert "  1 shorter than one frame were padded: two1-sad-00-copy1 (all in " in first.stdout
    scp = folder / "feats.scp"
    before = scp.stat().st_mtime_ns
    again = stage_3(made, folder, kinds="speed")
    assert again.stdout == first.stdout
    assert scp.stat().st_mtime_ns == before


def test_a_job_has_an_utterance_with_all_its_copies_and_reads_it_once(copied, monkeypatch):
    made, _ = copied
    folder = write_train_set(
        made, {f"two1-sad-0{n}": [{**LOUDER, "decibels": 11.0 + n}] for n in range(3)}, "train_once"
    )
    frontend, augment = build_frontend(made.experiment()), store_of(made, folder).augment
    store = FeatureStore(made.root / "elsewhere", folder, frontend, augment)
    for cut in store.cuts:
        if cut.original:
            original = next(other for other in store.cuts if other.id == cut.original)
            assert bucket_of(store.content_of(cut)) == bucket_of(store.content_of(original))
    read = []
    monkeypatch.setattr(module, "read_cut", lambda cut: (read.append(cut.path), read_cut(cut))[1])
    assert sum(store.compute(job, 2)[0] for job in (1, 2)) == 15
    assert len(read) == len(set(read)) == 12
