import kaldiio
import lhotse
import numpy as np
import pytest
import soundfile
from made import Made

from ser.common import InputError
from ser.corpora.kaldi import read_table, validate
from ser.corpora.prepare import prepare
from ser.corpora.preparers import load_preparer
from ser.corpora.protocol import read_protocol
from ser.features import FeatureStore, log_stft


def prepared(made: Made, corpus: str = "two") -> None:
    prepare(
        load_preparer(corpus, made.recipe),
        read_protocol(corpus, made.recipe),
        made.root / corpus,
        made.data_root / corpus,
        allow_partial=False,
    )


def store_of(made: Made, *overrides: str, corpus: str = "two") -> FeatureStore:
    return FeatureStore(made.dump, made.data_root / corpus, made.experiment(*overrides).features)


def test_values_are_those_of_the_audio_for_every_reader(made):
    store = store_of(made, corpus="one")
    cuts = lhotse.CutSet.from_file(store.folder / "cuts.jsonl.gz")
    lhotse.validate(cuts, read_data=True)
    assert all(cut.pad(duration=1).load_features().shape[1] == 257 for cut in cuts)
    arks = kaldiio.load_scp(str(store.folder / "feats.scp"))
    assert len(cuts) == len(arks) == 48
    for cut in cuts:
        samples, _ = soundfile.read(cut.recording.sources[0].source, dtype="float32")
        expected = log_stft(samples, store.config)
        np.testing.assert_allclose(arks[cut.id], expected, atol=1e-3)
        # lhotse takes kaldi_native_io where it is installed, which rounds the last bit otherwise
        np.testing.assert_allclose(cut.load_features(), arks[cut.id], atol=4e-6)
        assert store.num_frames()[cut.id] == len(expected)


def test_data_dirs_get_their_features_and_stay_valid(made):
    test = made.data_root / "one" / "strict_fold1" / "test"
    assert validate(test) == 12
    assert read_table(test / "feats.scp").keys() == read_table(test / "utt2spk").keys()


def test_jobs_share_the_work_and_another_number_of_jobs_goes_on(own_made):
    prepared(own_made)
    store = store_of(own_made)
    assert store.compute(1, 3) == (8, 0)
    with pytest.raises(InputError, match="features of 16 of 24 utterances are missing, two1-angry-01 the first"):
        store.finish()
    assert not store.finished
    assert store.compute(1, 2) == (8, 4)
    assert store.compute(2, 2) == (8, 4)
    assert store.finish() == 24
    assert store.finished
    assert store.compute(1, 1) == (0, 24)


def test_an_interrupted_job_leaves_nothing_that_looks_finished(own_made, monkeypatch):
    prepared(own_made)
    store = store_of(own_made)
    calls = []

    def interrupted(cut, config):
        calls.append(cut.id)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return np.zeros((3, 257), np.float32)

    monkeypatch.setattr("ser.features.store.features_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.compute(1, 1)
    assert list(store.folder.iterdir()) == []


def test_a_moved_store_is_joined_anew(own_made, tmp_path):
    prepared(own_made)
    store = store_of(own_made)
    store.compute(1, 2)
    store.compute(2, 2)
    store.finish()
    own_made.dump.rename(tmp_path / "elsewhere")
    moved = FeatureStore(tmp_path / "elsewhere", own_made.data_root / "two", store.config)
    assert not moved.finished
    assert moved.compute(1, 2) == (0, 12)
    moved.finish()
    assert moved.finished
    assert moved.reader().read("two1-sad-00").shape[1] == 257
    next(moved.folder.glob("*.ark")).unlink()
    assert not moved.finished
    assert moved.compute(1, 1)[0] == 12


def test_an_archive_that_shrank_is_an_error_and_no_crash(own_made):
    prepared(own_made)
    store = store_of(own_made)
    store.compute(1, 1)
    store.finish()
    reader = store.reader()
    reader.read("two2-sad-02")
    archive = next(store.folder.glob("*.ark"))
    with archive.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(InputError, match="the archive ends within it"):
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
def test_other_settings_have_another_key(made, override):
    assert store_of(made, override).key != store_of(made).key
    with pytest.raises(InputError, match="no features of .* under these settings; run stage 3"):
        store_of(made, override).reader()


def test_other_audio_has_another_key(own_made):
    prepared(own_made)
    before = store_of(own_made).key
    soundfile.write(own_made.root / "two" / "two1_sad_00.wav", np.random.default_rng(5).random(2000) * 0.1, 8000)
    prepared(own_made)
    assert store_of(own_made).key != before


def test_too_short_for_a_frame_is_refused_by_name(own_made):
    soundfile.write(own_made.root / "two" / "two1_sad_00.wav", np.random.default_rng(5).random(500) * 0.1, 8000)
    prepared(own_made)
    with pytest.raises(InputError, match=r"two1_sad_00\.wav: two1-sad-00: 500 samples .* name it under `drop`"):
        store_of(own_made).compute(1, 1)


def test_each_file_is_read_at_its_own_rate(own_made):
    for number, rate in enumerate((8000, 16000, 44100)):
        t = np.arange(rate) / rate
        soundfile.write(own_made.root / "two" / f"two1_sad_{number:02d}.wav", 0.5 * np.sin(2 * np.pi * 1000 * t), rate)
    prepared(own_made)
    store = store_of(own_made)
    store.compute(1, 1)
    store.finish()
    reader = store.reader()
    for number in range(3):
        values = reader.read(f"two1-sad-{number:02d}")
        assert abs(len(values) - 59) <= 1
        assert values[20].argmax() == 64  # 1000 Hz at 8000 Hz and 512 points
