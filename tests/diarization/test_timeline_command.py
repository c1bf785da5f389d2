"""`ser timeline` as a user runs it."""

import json
import os
import re
import shutil
import sys
import types

import numpy as np
import pytest
import soundfile
from read_timelines import read_rttm, read_textgrid

from ser.cli import main
from ser.common import InputError
from ser.diarization import decoders, k2_decoder, viterbi

RATE = 8000


@pytest.fixture
def call(tmp_path):
    """Two speakers in turn, each on a channel."""
    rng = np.random.default_rng(0)
    speech = rng.normal(0, 0.1, (3, 3 * RATE))
    silence = np.zeros(3 * RATE)
    left = np.concatenate([speech[0], silence, np.convolve(speech[1], np.ones(4) / 4, "same")])
    right = np.concatenate([silence, speech[2], silence])
    soundfile.write(tmp_path / "call.wav", np.stack([left, right], axis=1), RATE)
    return tmp_path / "call.wav"


def test_a_call_gives_a_timeline_a_speaker(packed, call, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--decoder", "viterbi", "--posteriors", "true", "--window", "1", "--minimum", "0.5"]
    assert main(["timeline", str(packed), str(call), "--out", str(out), *options]) == 0
    assert "call.wav: 9.00 s; channel 1: " in capsys.readouterr().out
    assert len(list(out.iterdir())) == 6
    segments = read_rttm(out / "call.rttm")
    assert set(segments) == {("call", 1), ("call", 2)}
    for (_, channel), own in segments.items():
        spoken = [(0, 3), (6, 9)] if channel == 1 else [(3, 6)]
        covered = sum(s.end - s.start for s in own)
        assert covered == pytest.approx(3 * len(spoken), abs=0.51)
        assert all(any(a - 0.26 <= s.start and s.end <= b + 0.26 for a, b in spoken) for s in own)
        assert all(s.end - s.start >= 0.5 for s in own)
    assert list(read_textgrid(out / "call.TextGrid")) == ["channel 1", "channel 2"]
    found = json.loads((out / "call.json").read_text())
    assert len(found["channels"][0]["posteriors"]) == 36


def test_statistics_are_reported_and_labels_abstained_from(packed_with, call, tmp_path, capsys):
    model = packed_with("batches.normalisation=speaker")[1]
    (tmp_path / "utt2spk").write_text(f"{call}:1 anna\n")
    options = ["--out", str(tmp_path), "--decoder", "viterbi", "--format", "json", "--statistics-minimum", "5"]
    assert main(["timeline", str(model), str(call), *options, "--utt2spk", str(tmp_path / "utt2spk")]) == 0
    printed = capsys.readouterr()
    assert "statistics of anna (6.0 s of speech)" in printed.out
    warning = [line for line in printed.err.splitlines() if line.startswith("warning: ") and "channel 2: 3.0 s" in line]
    assert len(warning) == 1
    channels = json.loads((tmp_path / "call.json").read_text())["channels"]
    assert [c["statistics"]["source"] for c in channels] == ["speaker", "training"]
    description = json.loads((model / "model.json").read_text())
    kinds = "calibration", "calibration_without_speakers"
    assert [c["temperature"] for c in channels] == [description[kind]["mean"]["temperature"] for kind in kinds]
    wanted = description["calibration"]["mean"]["right"]
    assert main(["timeline", str(model), str(call), *options, "--abstain", str(sum(wanted) / len(wanted))]) == 0
    printed = capsys.readouterr()
    assert re.search(r"labels from confidence 0\.\d+ on: \d of \d segments here; on validation", printed.err)
    for channel in json.loads((tmp_path / "call.json").read_text())["channels"]:
        for segment in channel["segments"]:
            assert (segment["emotion"] is None) == (segment["confidence"] < channel["threshold"])
    assert main(["timeline", str(model), str(call), *options, "--abstain", "1.1"]) == 1
    assert "precision 1.1: not reached" in capsys.readouterr().err


def test_a_page_a_recording(packed, call, tmp_path, capsys):
    options = ["--out", str(tmp_path / "out"), "--decoder", "viterbi", "--format", "csv", "--html"]
    assert main(["timeline", str(packed), str(call), *options]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["call.csv", "call.html"]
    assert "call.html" in capsys.readouterr().out
    assert 'src="data:audio/ogg;base64,' in (tmp_path / "out" / "call.html").read_text()


def test_one_speaker_of_several_channels_is_refused(packed, call, tmp_path, capsys):
    (tmp_path / "utt2spk").write_text(f"{call} anna\n")
    assert main(["timeline", str(packed), str(call), "--utt2spk", str(tmp_path / "utt2spk")]) == 1
    assert "several channels; name the speaker of each" in capsys.readouterr().err


def test_a_settings_file_decides(packed, call, tmp_path):
    (tmp_path / "own.yaml").write_text("window: 1\nminimum: 9\nno_speech_cost: 50\nno_speech_decibels: 90\n")
    arguments = ["timeline", str(packed), str(call), "--out", str(tmp_path), "--format", "rttm", "--decoder", "viterbi"]
    assert main([*arguments, "--settings", str(tmp_path / "own.yaml")]) == 0
    assert len(read_rttm(tmp_path / "call.rttm")[("call", 1)]) == 1


def test_bad_files_do_not_lose_the_others(packed, call, tmp_path, capsys):
    (tmp_path / "text.wav").write_text("no audio at all\n")
    (tmp_path / "empty.wav").write_bytes(b"")
    bad = np.full(RATE, 0.1)
    bad[77] = np.nan
    soundfile.write(tmp_path / "nan.wav", bad, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "short.wav", bad[:8], RATE)
    shutil.copy(call, os.fsencode(tmp_path) + b"/caf\xe9.wav")
    names = ("text", "empty", "nan", "absent", "caf\udce9", "short")
    files = [str(tmp_path / f"{name}.wav") for name in names] + [str(call)]
    out = tmp_path / "out"
    code = main(["timeline", str(packed), *files, "--out", str(out), "--format", "csv", "--decoder", "viterbi"])
    printed = capsys.readouterr().err.splitlines()
    assert code == 1
    errors = ["text, not audio (Format not recognised)", "empty file", "sample 77 is not a number", "no such file"]
    errors += ["its name is not UTF-8 text"]
    assert [line.partition(".wav: ")[2].split(";")[0] for line in printed[:5]] == errors
    assert printed[5] == "5 of 7 files have no timeline"
    assert sorted(path.name for path in out.iterdir()) == ["call.csv", "short.csv"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "rttm,doc"], "--format doc: give one or more of rttm, textgrid, csv, json, png"),
        (["--format", ","], "--format: give one or more of"),
        (["--decoder", "beam"], "--decoder beam: give one of auto, k2, viterbi"),
        (["--html", "--html-audio", "wav"], "--html-audio wav: give one of opus, mp3, none"),
        (["--hop", "9"], "hop = 9.0 s, window = 2.0 s"),
        (["--head", "three"], "no head three"),
    ],
)
def test_wrong_options_are_one_line(packed, call, capsys, options, message):
    assert main(["timeline", str(packed), str(call), "--decoder", "viterbi", *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_all_recordings_of_a_folder_have_timelines(packed, call, tmp_path, capsys):
    calls = tmp_path / "calls"
    (calls / "monday").mkdir(parents=True)
    for name in ("a.wav", "monday/a.WAV", "._a.wav"):
        shutil.copy(call, calls / name)
    (calls / "notes.txt").write_text("of calls")
    command = ["timeline", str(packed), str(calls), "--format", "csv", "--decoder", "viterbi", "--out"]
    assert main([*command, str(tmp_path / "out")]) == 3
    printed = capsys.readouterr()
    assert [line.partition(": ")[0] for line in printed.out.splitlines()] == [f"{calls}/a.wav", f"{calls}/monday/a.WAV"]
    written = [path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.*")]
    assert sorted(map(str, written)) == ["a.csv", "monday/a.csv"]
    assert f"warning: {calls}/notes.txt: left out: not named as audio\n" in printed.err
    assert printed.err.endswith("2 files that are not audio, or hidden, are left out\n")
    (calls / "notes.txt").unlink()
    (calls / "._a.wav").unlink()
    assert main([*command, str(calls)]) == main([*command, str(calls)]) == 0
    assert (calls / "monday" / "a.csv").is_file()
    (calls / "broken.wav").write_bytes(b"")
    assert main([*command, str(calls)]) == 1
    assert "1 of 3 files have no timeline" in capsys.readouterr().err


def test_two_recordings_of_one_name_are_refused(packed, call, capsys):
    assert main(["timeline", str(packed), str(call), "b/call.flac"]) == 1
    assert "b/call.flac: would be written over what comes of" in capsys.readouterr().err


@pytest.mark.filterwarnings("error")
def test_without_k2_auto_is_viterbi_and_k2_is_refused_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "k2", None)
    assert decoders.find_decoder("auto") is viterbi.best_path
    message = r"k2 cannot be imported .*install it with: pip install --pre k2 torch==\S+ -f"
    with pytest.raises(InputError, match=message):
        decoders.find_decoder("k2")


def test_auto_warns_of_a_k2_that_fails_and_decodes_with_viterbi(tmp_path, monkeypatch):
    """Built for another torch, say."""
    (tmp_path / "k2.py").write_text("raise ImportError('undefined symbol')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "k2", raising=False)
    with pytest.warns(UserWarning, match=r"undefined symbol.* pip install --pre k2 .* Decoded with Viterbi"):
        assert decoders.find_decoder("auto") is viterbi.best_path


def test_auto_is_k2_as_far_as_that_goes_and_k2_refuses_more(monkeypatch):
    """A stand-in that can be imported; real k2 has tests of its own."""
    monkeypatch.setitem(sys.modules, "k2", types.ModuleType("k2"))
    monkeypatch.setattr(k2_decoder, "best_path", lambda graph, scores: "k2")
    monkeypatch.setattr(viterbi, "best_path", lambda graph, scores: "viterbi")
    auto = decoders.find_decoder("auto")
    assert [auto(None, np.zeros((windows, 2))) for windows in (65_534, 65_535)] == ["k2", "viterbi"]
    with pytest.raises(InputError, match="65535 windows, and k2 takes 65534"):
        decoders.find_decoder("k2")(None, np.zeros((65_535, 2)))
