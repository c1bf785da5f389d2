import gzip
import json
from pathlib import Path

import kaldiio
import lhotse
import numpy as np
import pytest
import soundfile
from made import Made, filled

import ser.features.store as module
from ser.audio import read_audio
from ser.common import InputError, digest, read_json
from ser.corpora.kaldi import read_table, validate
from ser.features import FeatureStore
from ser.features.index import bucket_of, local_copy
from ser.frontends import build_frontend


def computed(made: Made) -> FeatureStore:
    store = filled(made.store())
    store.link()
    return store


def archives(made: Made) -> list[Path]:
    return sorted(made.dump.glob("*/archives/*/feats.*.ark"))


def overwrite(made: Made, name: str, seed: int, samples: int = 2000) -> None:
    """Put other audio in place of an utterance of corpus two."""
    values = np.random.default_rng(seed).uniform(-0.1, 0.1, samples)
    soundfile.write(made.root / "two" / name, values, 8000)


def test_values_are_those_of_the_audio_for_every_reader(made):
    store = made.store(corpus="one")
    cuts = lhotse.CutSet.from_file(store.folder / "cuts.jsonl.gz")
    lhotse.validate(cuts, read_data=True)
    assert all(cut.pad(duration=1).load_features().shape[1] == 257 for cut in cuts)
    arks = kaldiio.load_scp(str(store.folder / "feats.scp"))
    assert len(cuts) == len(arks) == 48
    for cut in cuts:
        samples, _ = soundfile.read(cut.recording.sources[0].source, dtype="float32")
        expected = store.frontend.extract(samples)
        np.testing.assert_allclose(arks[cut.id], expected, atol=1e-3)
        # lhotse takes kaldi_native_io where it is installed, which rounds the last bit otherwise
        np.testing.assert_allclose(cut.load_features(), arks[cut.id], atol=4e-6)
        assert store.num_frames()[cut.id] == len(expected)


def test_data_dirs_get_their_features_and_stay_valid(made):
    test = made.data_root / "one" / "strict_fold1" / "test"
    assert validate(test) == 12
    assert read_table(test / "feats.scp").keys() == read_table(test / "utt2spk").keys()


def test_the_key_of_originals_never_changes(made):
    """The formula of version 1, which no change of the code may change, and a digest worked out by it once."""
    store = made.store()
    names = [[cut.id, cut.audio_digest, cut.start, cut.duration] for cut in store.cuts]
    assert store.key == digest(1, store.frontend.identity(), names)
    settings = {"sampling_rate": 8000, "frame_length": 512, "frame_shift": 128, "window": "hann", "floor": 1e-10}
    assert store.frontend.identity() == {**settings, "storage": "int16"}
    row = ["a-1", "0123456789abcdef", 0.5, 1.25, 1]
    assert digest(1, store.frontend.identity(), [row]) == "09dc9990ed6a4b6d"


def test_a_content_is_computed_once_whatever_its_id(two):
    """The same audio with other ids, as if the preparer of a corpus named speakers differently."""
    computed(two)
    before = archives(two)
    preparer = two.recipe / "local" / "prepare_two.py"
    preparer.write_text(preparer.read_text().replace('f"{match[1]}-', 'f"{match[1]}-again-'))
    two.prepare("two")
    store = two.store()
    assert not store.finished
    assert store.compute(1, 1) == (0, 24)
    assert store.finish() == 24
    assert archives(two) == before
    wave = read_audio(two.root / "two" / "two1_sad_00.wav")
    np.testing.assert_allclose(store.reader().read("two1-again-sad-00"), store.frontend.extract(wave.mono), atol=1e-3)


def test_equal_audio_shares_one_entry(own_made):
    wave = own_made.root / "two" / "two1_sad_00.wav"
    (own_made.root / "two" / "two1_sad_01.wav").write_bytes(wave.read_bytes())
    own_made.prepare("two")
    store = own_made.store()
    assert store.compute(1, 1) == (23, 0)
    assert store.finish() == 24
    places = read_table(store.folder / "feats.scp")
    assert places["two1-sad-00"] == places["two1-sad-01"]
    assert len(set(places.values())) == 23


def test_small_corpora_have_few_archives(two):
    store = two.store()
    store.compute(1, 2)
    store.compute(2, 2)
    assert len(archives(two)) == 2


def test_archives_have_whole_buckets_and_a_limited_size(own_made, monkeypatch):
    monkeypatch.setattr(module, "ARCHIVE_UTTERANCES", 5)
    own_made.prepare("two")
    store = computed(own_made)
    indexes = [read_json(path.with_suffix(".json"))["entries"] for path in archives(own_made)]
    assert sum(map(len, indexes)) == 24
    assert all(len(entries) <= 5 for entries in indexes)
    assert 24 / 5 <= len(indexes) < 24
    assert [store.reader().shape(cut.id)[0] for cut in store.cuts] == list(store.num_frames().values())
    spread = sorted(bucket_of(f"{number:02x}") for number in range(256))
    assert spread == sorted(list(range(64)) * 4)


def test_jobs_share_the_work_and_another_number_of_jobs_goes_on(two):
    store = two.store()
    one = store.compute(1, 3)
    assert 0 < one[0] < 24
    assert one[1] == 0
    missing = 24 - one[0]
    with pytest.raises(InputError, match=f"features of {missing} of 24 utterances are missing, two\\S+ the first"):
        store.finish()
    assert not store.finished
    two = [store.compute(job, 2) for job in (1, 2)]
    assert sum(new for new, _ in two) == missing
    assert sum(old for _, old in two) == one[0]
    assert store.finish() == 24
    assert store.finished
    assert store.compute(1, 1) == (0, 24)


def test_an_interrupted_job_keeps_finished_archives_only(two, monkeypatch):
    store = two.store()
    calls = []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return right(*arguments)

    right = module.read_samples
    monkeypatch.setattr(module, "ARCHIVE_UTTERANCES", 3)
    monkeypatch.setattr(module, "read_samples", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.compute(1, 1)
    assert not list(two.dump.rglob(".tmp*"))
    done = [read_json(path.with_suffix(".json")) for path in archives(two)]
    kept = sum(len(index["entries"]) for index in done)
    assert 0 < kept <= 8
    assert store.compute(1, 1) == (24 - kept, kept)
    assert store.finish() == 24


def test_an_archive_without_index_is_not_used(two):
    computed(two)
    (archive,) = archives(two)
    archive.with_suffix(".json").unlink()
    again = two.store()
    assert again.compute(1, 1) == (24, 0)


def test_a_truncated_archive_is_not_taken_for_another_set(two):
    computed(two)
    (archive,) = archives(two)
    with archive.open("r+b") as file:
        file.truncate(archive.stat().st_size - 1)
    overwrite(two, "two1_sad_00.wav", 5)
    two.prepare("two")
    store = two.store()
    assert store.compute(1, 1) == (24, 0)
    assert store.finish() == 24
    assert len(store.reader().read("two2-sad-02")) == store.num_frames()["two2-sad-02"]


def test_archives_are_copied_once_to_a_disk_of_the_machine_and_read_there(two, tmp_path):
    store = computed(two)
    local = FeatureStore(store.dump_dir, store.data_dir, store.frontend, local=str(tmp_path / "scratch"))
    expected, reader = store.reader(), local.reader()
    for key in expected.positions:
        np.testing.assert_array_equal(reader.read(key), expected.read(key))
    copies = sorted((tmp_path / "scratch").rglob("*.ark"))
    assert sorted({path for path, _ in reader.positions.values()}) == [str(path) for path in copies]
    before = [path.stat().st_mtime_ns for path in copies]
    local.reader()
    assert [path.stat().st_mtime_ns for path in copies] == before
    copies[0].write_bytes(copies[0].read_bytes()[:-1] + b"?")
    damaged = local.reader()
    key = next(key for key, (path, _) in damaged.positions.items() if path == str(copies[0]))
    with pytest.raises(InputError, match="not the bytes that were written"):
        damaged.read(key)


def test_a_damaged_index_is_named_with_the_fix(two):
    computed(two)
    (archive,) = archives(two)
    archive.with_suffix(".json").write_text('{"entries": {"ab": 3}}')
    again = two.store()
    with pytest.raises(InputError, match=r"\.json: not the index of an archive .*; run steps/store\.py verify"):
        again.compute(1, 1)


def test_a_moved_store_is_joined_again(two, tmp_path):
    store = two.store()
    store.compute(1, 2)
    store.compute(2, 2)
    store.finish()
    two.dump.rename(tmp_path / "elsewhere")
    moved = FeatureStore(tmp_path / "elsewhere", two.data_root / "two", store.frontend)
    assert not moved.finished
    assert moved.compute(1, 1) == (0, 24)
    moved.finish()
    assert moved.finished
    assert moved.reader().read("two1-sad-00").shape[1] == 257
    gone = sorted(tmp_path.glob("elsewhere/two/archives/*/*.ark"))[0]
    lost = len(read_json(gone.with_suffix(".json"))["entries"])
    gone.unlink()
    assert not moved.finished
    assert moved.compute(1, 1) == (lost, 24 - lost)
    assert moved.finish() == 24


def test_a_set_whose_archives_are_elsewhere_is_not_finished(two, tmp_path):
    """Though they are there: the other store may be removed."""
    computed(two)
    (two.root / "other").mkdir()
    other = FeatureStore(two.root / "other", two.data_root / "two", build_frontend(two.experiment()))
    other.folder.parent.mkdir()
    two.store().folder.rename(other.folder)
    assert not other.finished


def test_an_archive_that_shrank_is_an_error_and_no_crash(two):
    store = computed(two)
    reader = store.reader()
    reader.read("two2-sad-02")
    with archives(two)[0].open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(InputError, match=r"the archive ends within it; run steps/store\.py verify"):
        reader.read("two2-sad-02")


@pytest.mark.parametrize(
    "override",
    [
        "features.frame_shift=64",
        "features.window=hamming",
        "features.floor=1e-8",
        "features.storage=float32",
        "features.sampling_rate=4000",
    ],
)
def test_other_settings_have_another_key_and_other_archives(made, override):
    other = made.store(override)
    assert other.key != made.store().key
    assert other.archives.folder != made.store().archives.folder
    assert other.archives.entries() == {}
    with pytest.raises(InputError, match="no features of .* under these settings; run stage 3"):
        other.reader()


def test_other_audio_has_another_key_and_only_it_is_computed(two):
    before = computed(two).key
    overwrite(two, "two1_sad_00.wav", 5)
    two.prepare("two")
    store = two.store()
    assert store.key != before
    assert store.compute(1, 1) == (1, 23)
    store.finish()
    wave = read_audio(two.root / "two" / "two1_sad_00.wav")
    np.testing.assert_allclose(store.reader().read("two1-sad-00"), store.frontend.extract(wave.mono), atol=1e-3)


def test_audio_that_changed_since_stage_1_is_refused(two):
    overwrite(two, "two1_sad_00.wav", 5)
    with pytest.raises(InputError, match=r"two1_sad_00\.wav: has changed since .*run stage 1 with --recheck true"):
        two.store().compute(1, 1)
    assert archives(two) == []


def test_a_new_modification_time_of_the_same_audio_is_accepted(two):
    wave = two.root / "two" / "two1_sad_00.wav"
    wave.write_bytes(wave.read_bytes())
    assert two.store().compute(1, 1) == (24, 0)


def test_labels_change_no_features_and_the_cuts_have_the_new_ones(two):
    before = computed(two)
    protocol = two.recipe / "conf" / "corpora" / "two.yaml"
    protocol.write_text(
        protocol.read_text().replace("happy: happy, neutral: neutral", "happy: neutral, neutral: happy")
    )
    two.prepare("two")
    store = two.store()
    assert store.key == before.key
    assert store.finished
    assert store.compute(1, 1) == (0, 24)
    store.finish()
    with gzip.open(store.folder / "cuts.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    custom = {row["id"]: row["supervisions"][0]["custom"] for row in rows}
    assert custom["two1-happy-00"]["emotion"] == "neutral"
    assert all("features" in row for row in rows)
    store.link()
    assert validate(two.data_root / "two" / "strict_fold1" / "train") == 12


@pytest.mark.parametrize("samples", [500, 100])
def test_less_than_a_frame_is_padded_counted_and_named(own_made, samples):
    overwrite(own_made, "two1_sad_00.wav", 5, samples)
    overwrite(own_made, "two2_sad_01.wav", 6, samples)
    own_made.prepare("two")
    store = computed(own_made)
    assert store.padded() == ["two1-sad-00", "two2-sad-01"]
    assert read_json(store.folder / "info.json")["padded"] == store.padded()
    assert store.num_frames()["two1-sad-00"] == 1
    wave = read_audio(own_made.root / "two" / "two1_sad_00.wav").mono
    expected = store.frontend.extract(np.pad(wave, (0, 512 - samples)))
    np.testing.assert_allclose(store.reader().read("two1-sad-00"), expected, atol=1e-3)
    lhotse.validate(lhotse.CutSet.from_file(store.folder / "cuts.jsonl.gz"), read_data=True)


def test_each_file_is_read_at_its_own_rate(own_made):
    for number, rate in enumerate((8000, 16000, 44100)):
        t = np.arange(rate) / rate
        soundfile.write(own_made.root / "two" / f"two1_sad_{number:02d}.wav", 0.5 * np.sin(2 * np.pi * 1000 * t), rate)
    own_made.prepare("two")
    reader = filled(own_made.store()).reader()
    for number in range(3):
        values = reader.read(f"two1-sad-{number:02d}")
        assert abs(len(values) - 59) <= 1
        assert values[20].argmax() == 64  # 1000 Hz at 8000 Hz and 512 points


def test_a_local_copy_of_an_archive_without_an_index_names_the_fix(tmp_path):
    archive = tmp_path / "dump" / "one" / "archives" / "settings" / "feats.00.a.ark"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"values")
    with pytest.raises(InputError, match=r"feats\.00\.a\.ark: has no index feats\.00\.a\.json .*stage 3.*local_dump"):
        local_copy(archive, tmp_path / "local")
    assert not (tmp_path / "local").exists()
    archive.with_suffix(".json").write_text("{}")
    assert local_copy(archive, tmp_path / "local").read_bytes() == b"values"
