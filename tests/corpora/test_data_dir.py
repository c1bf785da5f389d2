"""Stage 1 and `ser predict` read a Kaldi data dir in the same way, and also the data dirs of stage 1."""

import numpy as np
import pytest
from lab import LABELS, Lab

from ser.audio import read_audio
from ser.corpora.cuts import read_cut, read_cuts
from ser.corpora.kaldi import read_table
from ser.inference.predict.inputs import scratch, sources_of
from ser.inference.predict.sound import read_mono

SPEAKERS = "abcd"


def samples_of(folder):
    """Read the samples as `ser predict` does: id -> samples."""
    with scratch() as temporary:
        return {source.id: read_mono(source, 8000) for source in sources_of(str(folder), temporary)}


def assert_equal_samples(lab):
    """Check that the samples of every utterance are equal in the cuts and data dirs of stage 1; returns them by id."""
    cuts = {cut.id: read_cut(cut)[0] for cut in read_cuts(lab.out / "cuts.jsonl.gz")}
    parts = [path.parent for path in (lab.out / "strict_fold1").glob("*/wav.scp")]
    samples_by_id = {key: samples for part in parts for key, samples in samples_of(part).items()}
    assert samples_by_id.keys() == cuts.keys()
    for key, samples in samples_by_id.items():
        np.testing.assert_allclose(samples, cuts[key], atol=1e-7)
    with scratch() as temporary:
        manifest = sources_of(str(lab.out / "cuts.jsonl.gz"), temporary)
        for source in manifest:
            np.testing.assert_allclose(read_mono(source, 8000), cuts[source.id], atol=1e-7)
    return cuts


@pytest.fixture
def table(tmp_path):
    """A table of four channels, each a speaker, in four recordings."""
    lab = Lab(tmp_path, "csv")
    rows = ["path,speaker,emotion,channel"]
    for n, label in enumerate(LABELS):
        lab.noise(f"r{n}.wav", channels=4, subtype="FLOAT")
        rows += [f"r{n}.wav,{speaker},{label},{channel}" for channel, speaker in enumerate(SPEAKERS)]
    lab.table("t.csv", *rows)
    return lab, rows


def test_four_channels_of_a_table(table):
    lab, _ = table
    lab.prepare()
    samples_by_id = assert_equal_samples(lab)
    for n in range(4):
        file = read_audio(lab.corpus / f"r{n}.wav").samples
        for channel, speaker in enumerate(SPEAKERS):
            (samples,) = [x for key, x in samples_by_id.items() if key.startswith(f"lab_{speaker}-r{n}")]
            np.testing.assert_array_equal(samples, file[channel])
    train = lab.out / "strict_fold1" / "train"
    assert set(read_table(train / "reco2channel").values()) <= set("0123")
    assert not (train / "reco2file_and_channel").exists()


def test_single_channels_and_a_recording_mixed_down(table):
    lab, rows = table
    lab.noise("mixed.wav", channels=2)
    lab.table("t.csv", *rows, "mixed.wav,a,sad,")
    lab.prepare()
    samples_by_id = assert_equal_samples(lab)
    (mixed,) = [x for key, x in samples_by_id.items() if "mixed" in key]
    np.testing.assert_allclose(mixed, read_audio(lab.corpus / "mixed.wav").samples.mean(0), atol=1e-7)


def test_two_channels_are_kaldis_letters(table):
    lab, rows = table
    lab.noise("r4.wav", channels=2)
    lab.table("t.csv", rows[0], *(row for row in rows[1:] if row.endswith((",0", ",1"))), "r4.wav,e,sad,0")
    lab.prepare()
    assert_equal_samples(lab)
    train = lab.out / "strict_fold1" / "train"
    assert {value.split()[-1] for value in read_table(train / "reco2file_and_channel").values()} <= set("AB")
    assert not (train / "reco2channel").exists()


@pytest.fixture
def calls(tmp_path):
    """A Kaldi data dir with a byte order mark, blank lines and line ends of Windows in every table."""
    lab = Lab(tmp_path, "kaldi")
    names = [f"r{n}" for n in range(len(LABELS))]
    for name in names:
        lab.noise(f"{name}.wav", channels=4, subtype="FLOAT")
    lab.noise("mono.wav", 4000)
    sides = [(f"{name}-{side}", name, side) for name in names for side in "ABCD"]
    utterances = [(f"{side}-{name}", f"{name}-{side}", side, LABELS[int(name[1])]) for _, name, side in sides]
    utterances.append(("B-mono", "mono", "B", "sad"))
    end = {"end": "\r\n\r\n", "encoding": "utf-8-sig"}
    lab.table("wav.scp", *(f"{key}\t{name}.wav " for key, name, _ in sides), "mono mono.wav", **end)
    lab.table("reco2file_and_channel", *(f"{key} {name} {s}" for key, name, s in sides), "mono mono B", **end)
    lab.table("segments", *(f"{key} {reco} 0.1 -1" for key, reco, _, _ in utterances), **end)
    lab.table("utt2spk", *(f"{key}  {speaker}" for key, _, speaker, _ in utterances), **end)
    lab.table("utt2emo", *(f"{key} {label}" for key, _, _, label in utterances), **end)
    return lab


def test_a_data_dir_with_letters_up_to_d(calls):
    calls.prepare()
    prepared = assert_equal_samples(calls)
    given = samples_of(calls.corpus)
    assert len(given) == len(prepared) == 17
    for key, samples in given.items():
        np.testing.assert_allclose(samples, prepared[f"lab_{key}"], atol=1e-7)
    np.testing.assert_array_equal(given["D-r2"], read_audio(calls.corpus / "r2.wav").samples[3, 800:])
    np.testing.assert_array_equal(given["B-mono"], read_audio(calls.corpus / "mono.wav").samples[0, 800:])


def test_speakers_paths_and_times_are_equal(calls):
    utterances = calls.utterances()
    with scratch() as temporary:
        for source in sources_of(str(calls.corpus), temporary):
            u = utterances[f"lab_{source.id}"]
            assert (u.speaker, u.path, u.start, u.end) == (
                f"lab_{source.speaker}",
                source.path,
                source.start,
                source.end,
            )


def test_a_letter_beyond_the_channels_is_named(calls):
    calls.table("reco2file_and_channel", *(f"r{n}-{s} r{n} {s.replace('D', 'E')}" for n in range(4) for s in "ABCD"))
    calls.refused("segments:7: ", "channel 4", "channels 0 to 3")


def test_our_own_data_dir_of_four_channels_is_read_again(table, tmp_path):
    lab, _ = table
    lab.prepare()
    part = lab.out / "strict_fold1" / "train"
    again = Lab(tmp_path / "again", "kaldi")
    for path in part.iterdir():
        (again.corpus / path.name).write_bytes(path.read_bytes())
    utterances = again.utterances()
    channels = {key: utterances[key].channel for key in read_table(part / "utt2spk")}
    assert set(channels.values()) <= {0, 1, 2, 3}
    for key, channel in channels.items():
        assert SPEAKERS[channel] == utterances[key].speaker.removeprefix("lab_")
