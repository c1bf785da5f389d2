"""Recordings that several utterances share: manifests, data dirs and features."""

import os
import subprocess
from pathlib import Path

import lhotse
import numpy as np
import pytest
import soundfile
from conftest import refuses
from lab import LABELS, Lab

from ser.audio import resample
from ser.common import read_json
from ser.config import load
from ser.corpora import validation
from ser.corpora.cuts import read_cut, read_cuts
from ser.corpora.kaldi import read_table, validate
from ser.corpora.utterance import Utterance
from ser.corpora.validation import validate_utterances
from ser.features import FeatureStore
from ser.frontends.log_stft import LogStft, log_stft

HEADER = "path,speaker,emotion,start,end,channel"
CONFIG = load("strict", None, ["corpora=[ravdess]"]).features


@pytest.fixture
def calls(tmp_path):
    """Three calls of two channels, a speaker each, with a segment of each class; 40,001 samples."""
    lab = Lab(tmp_path, "csv")
    rows = [HEADER]
    for number, subtype in enumerate(("PCM_16", "ULAW", "ALAW")):
        lab.noise(f"call{number}.wav", 40001, channels=2, subtype=subtype)
        for channel, who in enumerate(("agent", "client")):
            for k, label in enumerate(LABELS):
                end = -1 if k == 3 else k + 1.1
                rows.append(f"call{number}.wav,{who}{number},{label},{k + 0.1:.1f},{end},{channel}")
    lab.table("calls.csv", *rows)
    return lab


def store_of(lab):
    return FeatureStore(lab.root / "dump", lab.out, LogStft(CONFIG))


def store(lab):
    store = store_of(lab)
    store.compute(1, 1)
    store.finish()
    store.link()
    return store


def test_segments_of_a_recording_are_exact_to_the_sample(calls):
    assert "24 utterances in 3 recordings of 6 speakers" in calls.prepare()
    recordings = lhotse.RecordingSet.from_file(calls.out / "recordings.jsonl.gz").to_eager()
    assert [(r.id, r.num_samples, r.channel_ids) for r in recordings] == [
        (f"lab_call{n}", 40001, [0, 1]) for n in range(3)
    ]
    supervisions = lhotse.SupervisionSet.from_file(calls.out / "supervisions.jsonl.gz").to_eager()
    one = supervisions["lab_client0-call0-002100-003100-1"]
    assert (one.recording_id, one.start, one.duration, one.channel) == ("lab_call0", 2.1, 1.0, 1)
    cuts = lhotse.CutSet.from_file(calls.out / "cuts.jsonl.gz").to_eager()
    lhotse.validate(cuts, read_data=True)
    samples = calls.noise("call1.wav", 40001, channels=2, subtype="ULAW")
    for key, first, last in (("001100-002100", 8800, 16800), ("003100-end", 24800, 40001)):
        cut = cuts[f"lab_client1-call1-{key}-1"]
        assert isinstance(cut, lhotse.MonoCut)
        assert cut.num_samples == last - first
        np.testing.assert_array_equal(cut.load_audio()[0], samples[first:last, 1])
        (ours,) = [c for c in read_cuts(calls.out / "cuts.jsonl.gz") if c.id == cut.id]
        read, rate = read_cut(ours)
        np.testing.assert_array_equal(read, samples[first:last, 1])
        assert (rate, ours.channel, ours.stretch) == (8000, 1, (first, last - first))


def test_a_file_shared_by_utterances_is_read_once(calls, monkeypatch):
    read = []

    def counted(path):
        read.append(path.name)
        return original(path)

    original = validation.read_audio
    monkeypatch.setattr(validation, "read_audio", counted)
    calls.prepare()
    assert sorted(read) == ["call0.wav", "call1.wav", "call2.wav"]


def test_features_are_those_of_the_segment_and_the_channel(calls):
    calls.prepare()
    made = store(calls)
    reader = made.reader()
    samples = calls.noise("call2.wav", 40001, channels=2, subtype="ALAW")
    for channel, who in enumerate(("agent", "client")):
        values = reader.read(f"lab_{who}2-call2-002100-003100-{channel}")
        expected = log_stft(np.ascontiguousarray(samples[16800:24800, channel]), CONFIG)
        np.testing.assert_allclose(values, expected, atol=1e-3)
    cuts = lhotse.CutSet.from_file(made.folder / "cuts.jsonl.gz")
    lhotse.validate(cuts, read_data=True)
    assert {cut.load_features().shape for cut in cuts} == {(59, 257), (115, 257)}


def test_recordings_whose_speakers_are_in_several_parts_are_counted(calls):
    # leave one speaker out: agent0 is tested and agent1 validates, so fold 1 divides two of the three calls
    summary = calls.prepare()
    assert read_json(calls.out / "report.json")["parted"]["strict_fold1"] == 2
    assert "  strict_fold1: 2 recordings have speakers in several parts" in summary


def test_data_dirs_have_segments_and_a_recording_for_each_channel(calls):
    calls.prepare()
    train = calls.out / "strict_fold1" / "train"
    assert read_table(train / "segments")["lab_client1-call1-003100-end-1"] == "lab_call1-1 3.100000000 5.000125000"
    wav = read_table(train / "wav.scp")
    assert wav["lab_call2-0"] == wav["lab_call2-1"] == str(calls.corpus / "call2.wav")
    assert read_table(train / "reco2file_and_channel")["lab_call1-1"] == "lab_call1 B"
    assert read_table(train / "reco2dur")["lab_call1-1"] == "5.000125"
    assert read_table(train / "utt2dur")["lab_client1-call1-003100-end-1"] == "1.900125"
    assert validate(train) == 16
    (train / "text").write_text("".join(f"{key} x\n" for key in read_table(train / "utt2spk")))  # lhotse needs it
    recordings, supervisions, _ = lhotse.kaldi.load_kaldi_data_dir(train, 8000)
    assert recordings["lab_call1-1"].num_samples == 40001
    assert supervisions["lab_client1-call1-003100-end-1"].duration == 1.900125


def test_kaldis_own_validator_accepts_the_data_dirs(calls, tmp_path):
    utils = Path(os.environ.get("KALDI_ROOT", "/opt/kaldi")) / "egs" / "wsj" / "s5" / "utils"
    if not utils.is_dir():
        pytest.skip(f"{utils}: no Kaldi there; set KALDI_ROOT")
    calls.prepare()
    store(calls)
    folders = sorted(path.parent for path in calls.out.rglob("utt2spk"))
    assert len(folders) == 18
    for folder in folders:
        command = [utils / "validate_data_dir.sh", "--no-text", folder]
        run = subprocess.run(command, cwd=utils.parent, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout
        assert "Successfully validated" in run.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("b-1 r 1 2\na-1 r 0 1\n", "segments: not sorted"),
        ("a-1 r 0 1\n", "segments: b-1 is in only one of segments and utt2spk"),
        ("a-1 r 0 1\nb-1 s 1 2\n", "wav.scp: s is in only one of wav.scp and segments"),
        ("a-1 r 0 1\nb-1 r 2 2\n", "segments: b-1 r 2 2: must be a recording, a start and an end after it"),
        ("a-1 r 0 1\nb-1 r 1\n", "segments: b-1 r 1: must be a recording"),
        ("a-1 r -1 1\nb-1 r 1 x\n", "segments: a-1 r -1 1: must be a recording"),
    ],
)
def test_damaged_segments_are_named(tmp_path, text, message):
    tables = {"utt2spk": "a-1 a\nb-1 b\n", "spk2utt": "a a-1\nb b-1\n", "wav.scp": "r /x.wav\n"}
    for name, content in {**tables, "segments": "a-1 r 0 1\nb-1 r 1 2\n"}.items():
        (tmp_path / name).write_text(content)
    assert validate(tmp_path) == 2
    (tmp_path / "segments").write_text(text)
    where, what = message.split(": ", 1)
    with refuses(what, where=tmp_path / where):
        validate(tmp_path)


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000])
def test_8001_samples_are_8001_at_any_rate(tmp_path, rate):
    lab = Lab(tmp_path, "csv")
    rows = ["path,speaker,emotion,start,end"]
    for n, label in enumerate(LABELS):
        for s in "abc":
            lab.noise(f"{s}{n}.flac", 8001, rate)
            rows.append(f"{s}{n}.flac,{s},{label},{1000 / rate:.9f},{7003 / rate:.9f}")
    lab.noise("a4.flac", 8001, rate)
    lab.table("x.csv", *rows, "a4.flac,a,sad,,")
    lab.prepare()
    for cut in lhotse.CutSet.from_file(lab.out / "cuts.jsonl.gz"):
        assert cut.recording.num_samples == 8001
        assert cut.load_audio().shape == (1, 8001 if "a4" in cut.id else 6003)
    made = store(lab)
    samples = lab.noise("b2.flac", 8001, rate)[1000:7003, 0]
    key = next(cut.id for cut in made.cuts if "-b2-" in cut.id)
    np.testing.assert_allclose(
        made.reader().read(key), log_stft(resample(samples, rate, CONFIG.sampling_rate), CONFIG), atol=1e-3
    )
    lhotse.validate(lhotse.CutSet.from_file(made.folder / "cuts.jsonl.gz"), read_data=True)


def validate_all(lab, *utterances):
    return validate_utterances(lab.protocol, utterances)


def segment(lab, start, end, channel=None, key="1"):
    path = lab.corpus / "r.wav"
    return Utterance(f"s-{key}", path, "s", "sad", start=start, end=end, channel=channel, origin="segments:7")


def test_the_end_of_a_segment(tmp_path):
    lab = Lab(tmp_path, "csv")
    lab.noise("r.wav", 8001)
    (item,), _ = validate_all(lab, segment(lab, 0.5, -1))
    assert (item.first_sample, item.num_samples) == (4000, 4001)
    (item,), _ = validate_all(lab, segment(lab, 0.5, None))
    assert (item.first_sample, item.num_samples) == (4000, 4001)
    # an end up to a frame of 128 samples after the recording is moved to its end
    (item,), _ = validate_all(lab, segment(lab, 0.5, (8001 + 128) / 8000))
    assert (item.first_sample, item.num_samples) == (4000, 4001)
    none, issues = validate_all(lab, segment(lab, 0.5, (8001 + 129) / 8000))
    assert none == []
    assert str(issues["s-1"]).startswith("segments:7: s-1 lies between 0.5 s and 1.01625 s, and ")
    assert "ends at 1.00012 s (8001 samples at 8000 Hz); fix the times" in str(issues["s-1"])


def test_segments_may_overlap_and_only_silent_ones_are_refused(tmp_path):
    lab = Lab(tmp_path, "csv")
    samples = lab.noise("r.wav", 8000, channels=2)
    samples[4000:, 1] = 0
    soundfile.write(lab.corpus / "r.wav", samples, 8000)
    items, issues = validate_all(
        lab,
        segment(lab, 0, 0.6, 0, "1"),
        segment(lab, 0.3, 1, 0, "2"),
        segment(lab, 0.5, 1, 1, "3"),
        segment(lab, 0.4, 1, 1, "4"),
    )
    assert [item.utterance.id for item in items] == ["s-1", "s-2", "s-4"]
    assert list(issues) == ["s-3"]
    assert issues["s-3"].args == (
        "silent",
        "silence from end to end",
        f"{lab.corpus / 'r.wav'}: s-3 (0.5 s to 1 s)",
        f"replace it by an intact copy, or name s-3 under `drop` in {lab.protocol.path}",
    )


def test_channels_that_cancel_each_other_are_silence_unless_one_is_chosen(tmp_path):
    lab = Lab(tmp_path, "csv")
    samples = lab.noise("r.wav", 8000)[:, 0]
    soundfile.write(lab.corpus / "r.wav", np.stack([samples, -samples], 1), 8000, subtype="FLOAT")
    items, issues = validate_all(lab, segment(lab, 0, 1, None, "1"), segment(lab, 0, 1, 0, "2"))
    assert [item.utterance.id for item in items] == ["s-2"]
    assert issues["s-1"].kind == "silent"


def test_equal_audio_is_found_between_mono_and_stereo(tmp_path):
    lab = Lab(tmp_path, "csv")
    samples = lab.noise("a.wav", 8000)[:, 0]
    soundfile.write(lab.corpus / "b.wav", np.stack([samples, samples], 1), 8000)
    lab.table("t.csv", "path,speaker,emotion", "a.wav,ana,sad", "b.wav,ana,happy")
    lab.refused("t.csv:2 and ", "t.csv:3: equal audio with two labels")


def test_one_id_for_two_recordings_is_refused(tmp_path):
    lab = Lab(tmp_path, "lab")
    lab.noise("a.wav")
    lab.noise("b.wav")
    lab.write_preparer(
        "from ser.corpora import Utterance\n"
        "def utterances(corpus_dir):\n"
        "    for name in 'ab':\n"
        "        yield Utterance(f's-{name}', corpus_dir / f'{name}.wav', 's', 'sad', recording='r')\n"
    )
    lab.refused(f"{lab.corpus / 'b.wav'}: recording r is {lab.corpus / 'b.wav'} here and {lab.corpus / 'a.wav'} in ")


# Changes of a table or a protocol: stored features that no longer apply are not used.


def rows(**changed: str) -> list[str]:
    """Make a table: two calls of two channels, each a speaker with a segment of each class; `changed` replaces rows."""
    by_name = {}
    for number in range(2):
        for channel, who in enumerate(("agent", "client")):
            for k, label in enumerate(LABELS):
                name = f"{who}{number}_{label}"
                by_name[name] = f"call{number}.wav,{who}{number},{label},{k + 0.1:.1f},{k + 1.1:.1f},{channel}"
    return [HEADER, *(by_name | changed).values()]


def prepared_store(lab):
    lab.prepare()
    return store_of(lab)


@pytest.fixture
def stored(tmp_path):
    """The calls of `rows`, with features."""
    lab = Lab(tmp_path, "csv")
    for number in range(2):
        lab.noise(f"call{number}.wav", 40001, channels=2)
    lab.table("calls.csv", *rows())
    store = prepared_store(lab)
    store.compute(1, 1)
    store.finish()
    return lab, store


@pytest.mark.parametrize(
    "row",
    [
        "call0.wav,agent0,angry,0.2,1.1,0",  # start
        "call0.wav,agent0,angry,0.1,1.2,0",  # end
        "call0.wav,agent0,angry,4.2,4.9,1",  # channel
        "call1.wav,agent0,angry,4.2,4.9,0",  # file
    ],
)
def test_a_changed_row_gets_new_features(stored, row):
    lab, before = stored
    lab.table("calls.csv", *rows(agent0_angry=row))
    store = prepared_store(lab)
    assert store.key != before.key
    assert not store.finished
    assert store.compute(1, 1) == (1, 15)
    store.finish()
    for cut in store.cuts:
        expected = log_stft(read_cut(cut)[0], CONFIG)
        np.testing.assert_allclose(store.reader().read(cut.id), expected, atol=1e-3)


def test_a_changed_label_or_protocol_keeps_the_features(stored):
    lab, before = stored
    lab.table("calls.csv", *rows(agent0_angry="call0.wav,agent0,Raiva,0.1,1.1,0"))  # mapped to angry
    lab.write(description="another")
    store = prepared_store(lab)
    assert store.key == before.key
    assert store.finished


def test_a_dropped_utterance_makes_another_set_of_the_same_features(stored):
    lab, before = stored
    lab.table("calls.csv", *rows(agent0_angry="call0.wav,agent0,other,0.1,1.1,0"))  # in no class
    store = prepared_store(lab)
    assert store.key != before.key
    assert store.compute(1, 1) == (0, 15)
    assert store.finish() == 15


def test_another_file_of_the_same_row_gets_new_features(stored):
    lab, before = stored
    (lab.corpus / "call0.wav").write_bytes((lab.corpus / "call1.wav").read_bytes())
    lab.noise("call1.wav", 40001, channels=2)
    values = lab.noise("call2.wav", 40001, channels=2)
    (lab.corpus / "call2.wav").rename(lab.corpus / "call0.wav")
    store = prepared_store(lab)
    assert store.key != before.key
    assert store.compute(1, 1) == (8, 8)
    store.finish()
    key = next(cut.id for cut in store.cuts if cut.path.name == "call0.wav" and cut.channel == 1)
    expected = log_stft(np.ascontiguousarray(values[800:8800, 1]), CONFIG)
    np.testing.assert_allclose(store.reader().read(key), expected, atol=1e-3)
