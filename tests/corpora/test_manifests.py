import numpy as np
import soundfile
from conftest import write_noise
from lhotse import CutSet, MonoCut, MultiCut, RecordingSet, SupervisionSet

from ser.common import read_json
from ser.corpora.kaldi import read_table, validate


def test_every_data_dir_is_valid_for_kaldi(small):
    small.prepare()
    folders = sorted(path.parent for path in small.out.rglob("utt2spk"))
    names = [f"{fold}/{part}" for fold in ["paper_fold1", *(f"strict_fold{k}" for k in range(1, 7))]
             for part in ("test", "train", "valid")]  # fmt: skip
    assert [str(folder.relative_to(small.out)) for folder in folders] == names
    report = read_json(small.out / "report.json")
    assert report["parts"] == {name: validate(small.out / name) for name in names}
    for folder in folders:
        for table in folder.iterdir():
            lines = table.read_bytes().splitlines()
            assert lines == sorted(lines, key=lambda line: line.split()[0])
    test = small.out / "strict_fold1" / "test"
    assert (test / "spk2gender").read_text() == "ravdess_01 m\nravdess_11 m\nravdess_20 f\nravdess_21 m\n"
    key = "ravdess_20-03-01-05-01-01-01-20"
    assert read_table(test / "wav.scp")[key] == str(small.file(20, "05"))
    assert read_table(test / "utt2emo")[key] == "angry"
    assert read_table(test / "utt2dur")[key] == "0.300000"
    assert read_table(test / "utt2spk")[key] == "ravdess_20"
    assert read_table(test / "spk2utt")["ravdess_20"].split()[-1] == key
    assert read_table(test / "utt2text_id")[key] == "ravdess_01"


def test_lhotse_reads_the_manifests_back(small_ravdess):
    small = small_ravdess(stereo={(1, "03")})
    small.prepare()
    recordings = RecordingSet.from_file(small.out / "recordings.jsonl.gz").to_eager()
    supervisions = SupervisionSet.from_file(small.out / "supervisions.jsonl.gz").to_eager()
    cuts = CutSet.from_file(small.out / "cuts.jsonl.gz").to_eager()
    assert (len(recordings), len(supervisions), len(cuts)) == (120, 120, 96)
    key = "ravdess_01-03-01-03-01-01-01-01"
    recording, supervision, cut = recordings[key], supervisions[key], cuts[key]
    assert (recording.sampling_rate, recording.num_samples, recording.duration) == (16000, 4800, 0.3)
    assert recording.channel_ids == [0, 1]
    assert (supervision.recording_id, supervision.start, supervision.duration) == (key, 0, 0.3)
    assert (supervision.speaker, supervision.gender, supervision.language) == ("ravdess_01", "m", "en")
    assert supervision.channel == [0, 1]
    custom = dict(supervision.custom)
    assert len(custom.pop("audio_digest")) == len(custom.pop("samples_digest")) == 16
    assert custom == {"emotion": "happy", "label": "happy", "text_id": "ravdess_01", "intensity": "normal",
                      "repetition": "01"}  # fmt: skip
    assert supervisions["ravdess_01-03-01-02-01-01-01-01"].custom["emotion"] is None
    assert isinstance(cut, MultiCut)
    assert cut.load_audio().shape == (2, 4800)
    assert cut.supervisions[0] == supervision
    other = cuts["ravdess_02-03-01-03-01-01-01-02"]
    assert isinstance(other, MonoCut)
    np.testing.assert_array_equal(other.load_audio()[0], soundfile.read(small.file(2, "03"), dtype="float32")[0])


def test_durations_between_milliseconds_are_exact(small):
    write_noise(small.file(1, "03"), 1, seconds=4801 / 16000)
    small.prepare()
    key = "ravdess_01-03-01-03-01-01-01-01"
    assert read_table(small.out / "strict_fold1/test/utt2dur")[key] == "0.300063"
    cut = CutSet.from_file(small.out / "cuts.jsonl.gz").to_eager()[key]
    assert cut.num_samples == cut.recording.num_samples == 4801
