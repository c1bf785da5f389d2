"""Corpora that are Kaldi data dirs."""

import numpy as np
import pytest
import soundfile
from lab import LABELS, Lab

from ser.common import read_json
from ser.corpora.cuts import read_cut, read_cuts
from ser.corpora.kaldi import read_table
from ser.corpora.preparers import load_preparer
from ser.corpora.protocol import read_protocol

KEYS = [f"{speaker}-{label}" for speaker in ("ana", "bia", "caio") for label in LABELS]


@pytest.fixture
def lab(tmp_path):
    """A file for each utterance of three speakers in four classes."""
    lab = Lab(tmp_path, "kaldi")
    for key in KEYS:
        lab.noise(f"wav/{key}.wav")
    lab.table("wav.scp", *(f"{key} wav/{key}.wav" for key in KEYS))
    lab.table("utt2spk", *(f"{key} {key.split('-')[0]}" for key in KEYS))
    lab.table("utt2emo", *(f"{key} {key.split('-')[1]}" for key in KEYS))
    return lab


@pytest.fixture
def calls(tmp_path):
    """Four utterances of each of three speakers, each speaker in a recording of its own."""
    lab = Lab(tmp_path, "kaldi")
    for name in ("r1", "r2", "r3"):
        lab.noise(f"{name}.wav", 16000)
    lab.table("wav.scp", *(f"r{n} {lab.corpus}/r{n}.wav" for n in (1, 2, 3)))
    keys = [(f"utt{n}{k}", f"s{n}", f"r{n}", k) for n in (1, 2, 3) for k in range(4)]
    lab.table("segments", *(f"{key} {r} {k / 4} {(k + 2) / 4 if k < 3 else -1}" for key, _, r, k in keys))
    lab.table("utt2spk", *(f"{key} {s}" for key, s, _, _ in keys))
    lab.table("utt2emo", *(f"{key} {LABELS[k]}" for key, _, _, k in keys))
    return lab


def edit(lab, name, change):
    path = lab.corpus / name
    path.write_text(change(path.read_text()))


def test_a_data_dir_needs_no_code(lab):
    lab.table("spk2gender", "ana f", "bia f", "caio m")
    lab.table("utt2text_id", *(f"{key} 7" for key in KEYS))
    assert "12 in the classes (angry 3, happy 3, neutral 3, sad 3)" in lab.prepare()
    test = lab.out / "strict_fold1" / "test"
    assert read_table(test / "wav.scp")["lab_ana-sad"] == str(lab.corpus / "wav" / "ana-sad.wav")
    assert read_table(test / "utt2text_id")["lab_ana-sad"] == "lab_7"
    assert read_table(test / "spk2gender") == {"lab_ana": "f"}
    assert lab.prepare().startswith("lab: up to date")


def test_genders_of_a_data_dir(lab):
    lab.table("spk2gender", "ana M", "bia H", "caio x")
    with pytest.warns(UserWarning, match=r"the gender of 4 utterances is not known.*: 'x' \(4\)"):
        assert {u.speaker: u.gender for u in lab.utterances().values()} == {
            "lab_ana": "f",
            "lab_bia": "m",
            "lab_caio": "",
        }


def test_white_space_line_ends_and_order_do_not_matter(lab):
    before = lab.utterances()
    lab.table("wav.scp", *(f"{key}  wav/{key}.wav" for key in reversed(KEYS)), "", end="\r\n")
    lab.table("utt2spk", *(f"{key}\t{key.split('-')[0]}" for key in reversed(KEYS)), end=" \n")
    lab.table("utt2emo", *(f" {key} {key.split('-')[1].upper()}" for key in KEYS), encoding="utf-8-sig")
    utterances = lab.utterances()
    assert utterances.keys() == before.keys()
    assert utterances["lab_bia-happy"].label == "happy"
    lab.prepare()
    lines = (lab.out / "strict_fold1" / "train" / "utt2spk").read_bytes().splitlines()
    assert lines == sorted(lines)


def test_ids_without_their_speaker_get_it_as_prefix(calls):
    utterances = calls.utterances()
    assert list(utterances)[:2] == ["lab_s1-utt10", "lab_s1-utt11"]
    one = utterances["lab_s2-utt23"]
    assert (one.start, one.end, one.recording) == (0.75, None, "lab_r2")
    assert one.origin == f"{calls.corpus / 'segments'}:8"
    assert "12 utterances in 3 recordings of 3 speakers" in calls.prepare()
    assert read_table(calls.out / "strict_fold2" / "test" / "segments")["lab_s2-utt23"] == (
        "lab_r2 0.750000000 2.000000000"
    )


def test_our_own_data_dirs_are_read_again(calls, tmp_path):
    calls.prepare()
    again = Lab(tmp_path / "again", "kaldi")
    part = calls.out / "strict_fold1" / "train"
    for path in part.iterdir():
        (again.corpus / path.name).write_bytes(path.read_bytes())
    again_utterances, originals = again.utterances(), calls.utterances()
    assert set(again_utterances) == set(read_table(part / "utt2spk"))
    for key, u in again_utterances.items():
        one = originals[key]
        assert (u.start, u.path, u.speaker, u.recording) == (one.start, one.path, one.speaker, one.recording)


def test_paths_relative_to_the_folder_of_the_experiment(lab):
    """Paths in wav.scp of a Kaldi experiment are relative to the parent of data/."""
    (lab.corpus / "wav").rename(lab.root / "wav")
    assert lab.utterances()["lab_ana-sad"].path.resolve() == lab.root / "wav" / "ana-sad.wav"


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("utt2emo", "bia-sad sad\n", "", "utt2spk:8: bia-sad is not in utt2emo; remove the line"),
        ("wav.scp", "bia-sad wav/bia-sad.wav\n", "", "utt2spk:8: bia-sad is not in wav.scp"),
        ("utt2spk", "bia-sad bia\n", "", "utt2emo:8: bia-sad is not in {corpus}/utt2spk; remove the line"),
        ("utt2spk", "bia-sad bia", "bia-sad", "utt2spk:8: expected `key value`, found 'bia-sad'"),
        ("utt2spk", "bia-sad bia", "bia-sad bia x", "utt2spk:8: expected `utterance speaker`, found bia-sad 'bia x'"),
        ("utt2spk", "bia-sad bia", "bia-sad ana", "utt2spk:8: becomes"),
        ("utt2emo", "bia-sad sad", "bia-sad sade", "utt2emo:8: unknown label 'sade' (did you mean sad?)"),
        ("utt2emo", "bia-sad sad", "bia-happy sad", "utt2emo:8: bia-happy is in {corpus}/utt2emo:6 too"),
        ("wav.scp", "wav/bia-sad.wav", "wav/none.wav", "wav.scp:8: wav/none.wav: no such file"),
        ("wav.scp", "wav/bia-sad.wav", "x.ark:123", "wav.scp:8: x.ark:123: a place in an archive"),
        ("wav.scp", "wav/bia-sad.wav", "cat x.wav |", "wav.scp:8: a command (cat x.wav); if you trust every command"),
        ("wav.scp", "wav/bia-sad.wav", "| play", "wav.scp:8: | play: a command that takes audio"),
    ],
)
def test_every_mistake_is_named_with_its_line(lab, name, old, new, message):
    if message.endswith("becomes"):
        edit(lab, "utt2spk", lambda text: text.replace("ana-sad ana", "ana-ana-sad ana").replace("ana-ana", "ana-bia"))
        edit(lab, "utt2emo", lambda text: text.replace("ana-sad", "ana-bia-sad"))
        edit(lab, "wav.scp", lambda text: text.replace("ana-sad wav", "ana-bia-sad wav"))
        message += " the same utterance as {corpus}/utt2spk:4 (lab_ana-bia-sad); rename one"
    edit(lab, name, lambda text: text.replace(old, new, 1))
    assert lab.refused().startswith(f"{lab.corpus}/{message.format(corpus=lab.corpus)}")


def test_a_file_in_a_folder_that_may_not_be_entered(lab, closed):
    closed(lab.corpus / "wav")
    lab.refused(f"wav.scp:1: {lab.corpus}/wav/ana-angry.wav: cannot be read (Permission denied); change the perm")


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("segments", "r1 0.25 0.75", "r1 0.25 0.25", "segments:2: utt11 starts at 0.25 s and ends at 0.25 s"),
        ("segments", "r1 0.25 0.75", "r1 0.75 0.25", "segments:2: utt11 starts at 0.75 s and ends at 0.25 s"),
        ("segments", "r1 0.25 0.75", "r1 0.25", "segments:2: expected `utterance recording start end` (and a"),
        ("segments", "r1 0.25 0.75", "r1 0.25 x", "segments:2: time 'x': a number of seconds"),
        ("segments", "r1 0.25 0.75", "r1 0.25 2.1", "segments:2: lab_s1-utt11 lies between 0.25 s and 2.1 s"),
        ("segments", "r1 0.25 0.75", "r1 0.25 0.75 1", "segments:2: lab_s1-utt11 needs channel 1, and"),
        ("segments", "r1 0.25 0.75", "r4 0.25 0.75", "segments:2: recording r4 is not in wav.scp; add it"),
        ("segments", "utt11 r1 0.25 0.75\n", "", "utt2spk:2: utt11 is not in segments"),
        ("wav.scp", "r1 ", "r0 ", "wav.scp:1: r0 is not in {corpus}/segments; remove the line"),
    ],
)
def test_mistakes_in_segments(calls, name, old, new, message):
    edit(calls, name, lambda text: text.replace(old, new, 1))
    assert calls.refused().startswith(f"{calls.corpus}/{message.format(corpus=calls.corpus)}")


def test_channels_by_letter_and_by_number(calls):
    calls.noise("r1.wav", 16000, channels=2)
    calls.table("reco2file_and_channel", "r1 r1 B", "r2 r2 B", "r3 r3 A")
    utterances = calls.utterances()
    assert utterances["lab_s1-utt10"].channel == 1
    assert utterances["lab_s2-utt20"].channel is None  # the file holds this channel only
    edit(calls, "segments", lambda text: text.replace("r1 0.25 0.75", "r1 0.25 0.75 0", 1))
    assert calls.utterances()["lab_s1-utt11"].channel == 0
    calls.table("reco2file_and_channel", "r1 r1 1")
    calls.refused("reco2file_and_channel:1: channel '1': A for the first, B for the second")


def test_durations_that_reveal_a_wrong_rate(calls):
    calls.table("reco2dur", "r1 2.0", "r2 2.03", "r3 1.0")
    calls.refused(
        f"{calls.corpus}/reco2dur:3: 1 s, and by its header {calls.corpus}/r3.wav has 2 s (16000 samples at 8000 Hz), "
        "which would be right at 16000 Hz"
    )
    calls.table("reco2dur", "r1 2.0")
    calls.table("utt2dur", "utt11 0.5", "utt12 0.8")
    calls.refused(f"{calls.corpus}/utt2dur:2: 0.8 s, and by its header {calls.corpus}/r1.wav has 0.5 s (16000")
    calls.table("utt2dur", "utt11 0.5", "utt13 1.26")
    calls.prepare()


def test_a_folder_without_the_three_tables(lab):
    (lab.corpus / "utt2emo").unlink()
    lab.refused(f"{lab.corpus}: has no utt2emo; give a data dir with wav.scp, utt2spk, utt2emo")


def audio_dir(lab):
    return lab.out.with_name(f"{lab.out.name}.audio")


def piped(lab, command, keys=("bia-sad",)):
    lab.table("wav.scp", *(f"{key} {command if key in keys else f'wav/{key}.wav'}" for key in KEYS))


def test_an_allowed_pipe_runs_once_and_its_audio_is_stored(lab):
    piped(lab, "echo x >> ran; cat wav/bia-sad.wav |")
    lab.refused("a command (echo x >> ran; cat wav/bia-sad.wav); if you trust every command", "--allow-pipes true")
    assert not (lab.corpus / "ran").exists()
    lab.prepare(allow_pipes=True)
    (cut,) = [cut for cut in read_cuts(lab.out / "cuts.jsonl.gz") if cut.id == "lab_bia-sad"]
    assert cut.path.parent == audio_dir(lab)
    assert cut.path.suffix == ".flac"
    np.testing.assert_array_equal(read_cut(cut)[0], soundfile.read(lab.corpus / "wav/bia-sad.wav", dtype="float32")[0])
    assert "|" not in read_table(lab.out / "strict_fold2" / "test" / "wav.scp")["lab_bia-sad"]
    assert lab.prepare(allow_pipes=True).startswith("lab: up to date")
    edit(lab, "utt2emo", lambda text: text.replace("bia-sad sad", "bia-sad Raiva"))
    assert not lab.prepare(allow_pipes=True).startswith("lab: up to date")
    assert cut.path.is_file()
    assert (lab.corpus / "ran").read_text() == "x\n"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "head -c 4000 wav/bia-sad.wav; echo broken >&2; exit 1 |",
            "the command ended with status 1 (broken), so",
        ),
        ("(head -c 4000 wav/bia-sad.wav; exit 1) | cat |", "the command ended with status 1 (and printed nothing)"),
        ("no_such_program x |", "the command ended with status 127 ("),
        ("true |", "the command gives no audio (empty file); fix it: true"),
        ("echo hello |", "the command gives no audio ("),
        ("head -c 4000 wav/bia-sad.wav |", "the command gives no audio (truncated: "),
    ],
)
def test_a_failing_pipe_is_an_error(lab, command, message):
    piped(lab, command)
    assert lab.refused(allow_pipes=True).startswith(f"{lab.corpus}/wav.scp:8: {message}")


def test_a_failing_pipe_is_left_out_of_a_partial_corpus(lab):
    piped(lab, "head -c 4000 wav/bia-sad.wav; exit 1 |")
    assert "1 lines of tables that cannot be used left out" in lab.prepare(allow_pipes=True, allow_partial=True)
    assert read_json(lab.out / "report.json")["utterances"] == 11
    assert "wav.scp:8\tthe command ended with status 1" in (lab.out / "left_out.tsv").read_text()


def test_a_wav_of_unknown_size_in_a_pipe_gives_no_warning(lab, recwarn):
    content = bytearray((lab.corpus / "wav/bia-sad.wav").read_bytes())
    content[4:8] = content[40:44] = b"\xff" * 4
    (lab.corpus / "piped.wav").write_bytes(content)
    piped(lab, "cat piped.wav |")
    lab.prepare(allow_pipes=True)
    assert not [w for w in recwarn if "no size" in str(w.message)]


def test_samples_beyond_16_bits_are_stored_as_float(lab):
    values = np.random.default_rng(3).normal(size=4000).astype(np.float32)
    soundfile.write(lab.corpus / "float.wav", values, 8000, subtype="FLOAT")
    piped(lab, "cat float.wav |")
    lab.prepare(allow_pipes=True)
    (path,) = audio_dir(lab).iterdir()
    assert path.suffix == ".wav"
    np.testing.assert_array_equal(soundfile.read(path, dtype="float32")[0], values)


def test_a_failure_after_the_pipes_can_be_fixed_and_run_again(lab):
    piped(lab, "echo x >> ran; cat wav/bia-sad.wav |")
    (lab.corpus / "wav" / "caio-sad.wav").write_bytes(b"")
    with pytest.raises(Exception, match="empty file"):
        lab.prepare(allow_pipes=True)
    assert not lab.out.exists()
    lab.noise("wav/caio-sad.wav")
    lab.prepare(allow_pipes=True)
    assert (lab.corpus / "ran").read_text() == "x\n"


def test_allow_pipes_on_the_command_line(lab, one_line):
    piped(lab, "cat wav/bia-sad.wav |")
    assert "have them run with --allow-pipes true" in one_line(lab.command())
    run = lab.command("--allow-pipes", "true")
    assert (run.returncode, run.stderr) == (0, "")
    assert read_json(lab.out / "report.json")["utterances"] == 12


def test_the_private_corpus_may_be_a_data_dir(lab):
    """A protocol of two lines takes labels and splits from customer_ptbr, and another preparer."""
    path = lab.recipe / "conf" / "corpora" / "customer_ptbr.yaml"
    path.write_text("base: customer_ptbr\npreparer: kaldi\n")
    protocol = read_protocol("customer_ptbr", lab.recipe)
    assert protocol.preparer == "kaldi"
    assert protocol.labels["raiva"] == "angry"
    utterances = load_preparer(protocol.preparer).utterances(lab.corpus, protocol=protocol)
    assert next(utterances).id == "customer_ptbr_ana-angry"
