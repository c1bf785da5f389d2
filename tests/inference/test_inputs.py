"""Every way in which audio is given, good and bad."""

import gzip
import io
import json
import struct
import sys
import warnings
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from conftest import refuses
from openpyxl import Workbook

from ser.cli import main
from ser.inference.model import open_model
from ser.inference.predict import sound
from ser.inference.predict.answers import Answers
from ser.inference.predict.inputs import Source, scratch, sources_of
from ser.inference.predict.sheets import read_rows
from ser.inference.predictor import Predictor

pytestmark = pytest.mark.filterwarnings("ignore:.*no speakers are named")


def noise(seconds=0.3, rate=8000, channels=1, seed=0, level=0.1):
    samples = np.random.default_rng(seed).normal(0, level, (round(seconds * rate), channels))
    return samples.astype(np.float32)


def write(path, samples, rate=8000, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **options)
    return path


def values(answer):
    assert not answer.error
    return np.array(list(answer.posteriors.values()))


def assert_same(one, two, tolerance=1e-5):
    np.testing.assert_allclose(values(one), values(two), atol=tolerance)


# -- kinds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "aiff", "w64"])
def test_every_kind_of_file_at_any_rate(model, tmp_path, suffix):
    samples = np.round(noise(0.3, 44100)[:, 0] * 2**15) / 2**15
    path = write(tmp_path / f"a.{suffix}", samples, 44100)
    answer, wanted = model.predict(path)[0], model.predict(samples, 44100)[0]
    assert answer.seconds == pytest.approx(0.3, abs=0.05)
    assert_same(answer, wanted, 0.05 if suffix in ("mp3", "ogg") else 1e-5)


def test_standard_input(packed, tmp_path, monkeypatch, capsys, recwarn):
    """As ffmpeg or sox write to a pipe: the header cannot tell the size."""
    path = write(tmp_path / "a.wav", noise())
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = struct.pack("<I", 0xFFFFFFFF)
    monkeypatch.setattr(sys, "stdin", type("In", (), {"buffer": io.BytesIO(bytes(data))}))
    assert main(["predict", str(packed), "-", str(path), "--format", "jsonl"]) == 0
    piped, file = map(json.loads, capsys.readouterr().out.splitlines())
    assert piped["file"] == "-"
    assert piped["posteriors"] == file["posteriors"]
    assert not [w for w in recwarn if "gives no size" in str(w.message)]


def kaldi(folder, segments="", **tables):
    write(folder / "audio" / "long.wav", np.concatenate([noise(seed=s) for s in range(3)]))
    folder.joinpath("wav.scp").write_text("rec audio/long.wav\n")
    if segments:
        folder.joinpath("segments").write_text(segments)
    for name, text in tables.items():
        folder.joinpath(name).write_text(text)
    return folder


def test_segments(model, tmp_path):
    folder = kaldi(tmp_path, "x rec 0.3 0.6\ny rec 0.6 -1\nz rec 0 0.605\nlate rec 0.5 3\nno other 0 1\nodd rec 2 1\n")
    x, y, z, late, no, odd = model.predict(folder)
    assert [a.id for a in (x, y, z, late, no, odd)] == ["x", "y", "z", "late", "no", "odd"]
    assert (x.seconds, y.seconds, z.seconds) == pytest.approx((0.3, 0.3, 0.605))
    whole = soundfile.read(folder / "audio" / "long.wav", dtype="float32")[0]
    assert_same(x, model.predict(whole[2400:4800], 8000)[0])
    assert "lies between 0.5 and 3 s of a recording of 0.9 s" in late.error
    assert "recording other is not in wav.scp" in no.error
    assert "segments:6: odd starts at 2 s and ends at 1 s" in odd.error


def test_a_channel_of_a_list(model, tmp_path):
    stereo = np.concatenate([noise(level=0.3), noise(seed=1, level=0.01)], axis=1)
    write(tmp_path / "s.wav", stereo)
    (tmp_path / "wav.scp").write_text("a s.wav\nb s.wav\nc s.wav\n")
    (tmp_path / "reco2file_and_channel").write_text("a s A\nb s B\n")
    a, b, c = model.predict(tmp_path / "wav.scp")
    assert_same(a, model.predict(stereo.T, 8000, channel="0")[0], 1e-4)
    assert_same(b, model.predict(stereo.T, 8000, channel="1")[0], 1e-4)
    assert_same(c, model.predict(stereo.T, 8000)[0], 1e-4)
    assert np.abs(values(a) - values(b)).max() > 1e-3


def test_pipes_only_when_they_are_allowed(packed, model, tmp_path, monkeypatch, capsys):
    path = write(tmp_path / "a.wav", noise())
    marker = tmp_path / "ran"
    (tmp_path / "wav.scp").write_text(
        f"piped touch {marker}; cat {path} |\nfails cat {path}; exit 3 |\nplain {path}\ngone {tmp_path}/none.wav\n"
    )
    given = ["predict", str(packed), str(tmp_path / "wav.scp"), "--format", "jsonl"]
    assert main(given) == 1
    rows = {row["file"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert "--allow-pipes true" in rows["piped"]["error"]
    assert not marker.exists()
    assert "gone: " in rows["gone"]["error"]
    assert "no such file" in rows["gone"]["error"]
    assert main([*given, "--allow-pipes", "true"]) == 1
    rows = {row["file"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert marker.exists()
    assert rows["piped"]["posteriors"] == rows["plain"]["posteriors"]
    assert "fails: the command ended with status 3" in rows["fails"]["error"]


def cut(key, path, start=0.0, duration=0.3, channel=0, kind="file", **recording):
    source = {"type": kind, "channels": [0], "source": str(path)}
    about = {"id": "r", "sources": [source], "sampling_rate": 8000, "num_samples": 2400, "duration": 0.3, **recording}
    return {"id": key, "start": start, "duration": duration, "channel": channel, "recording": about, "type": "MonoCut"}


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_a_cut_manifest(model, tmp_path, suffix):
    path = write(tmp_path / "a.wav", noise())
    rows = [
        cut("whole", path),
        cut("part", path, 0.1, 0.15),
        cut("command", "touch ran", kind="command"),
        cut("faster", path, transforms=[{"name": "Speed", "kwargs": {"factor": 1.1}}]),
        {"id": "mixed", "start": 0, "duration": 1, "type": "MixedCut"},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    manifest = tmp_path / f"cuts.{suffix}"
    manifest.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    whole, part, command, faster, mixed = model.predict(manifest)
    samples = soundfile.read(path, dtype="float32")[0]
    assert_same(whole, model.predict(samples, 8000)[0])
    assert_same(part, model.predict(samples[800:2000], 8000)[0])
    assert "a source of type command; if you trust" in command.error
    assert "changed by lhotse (Speed)" in faster.error
    assert "cuts." in mixed.error
    assert "not a cut of a recording" in mixed.error


# -- channels and samples ---------------------------------------------------------------------------------------------


def test_channels(packed, model, tmp_path, capsys):
    stereo = np.concatenate([noise(level=0.3), noise(seed=1, level=0.01)], axis=1)
    path = write(tmp_path / "s.wav", stereo, subtype="FLOAT")
    mixed, (left, right) = model.predict(path)[0], model.predict(path, channel="each")
    assert_same(mixed, model.predict(stereo.mean(1), 8000)[0])
    assert_same(left, model.predict(stereo[:, 0], 8000)[0])
    assert_same(right, model.predict(path, channel=1)[0])
    assert [a.channel for a in (mixed, left, right)] == [None, 0, 1]
    assert "has channels 0 to 1, and none is 2" in model.predict(path, channel="2")[0].error
    assert main(["predict", str(packed), str(path), "--channel", "each"]) == 0
    assert f"{path}:1" in capsys.readouterr().out
    assert main(["predict", str(packed), str(path), "--channel", "left"]) == 1
    assert "channel left: must be mix, each or a number" in capsys.readouterr().err


def test_samples_that_are_wrong(model):
    good = noise()[:, 0]
    for odd, message in (
        (np.array([]), "give .samples"),
        (np.zeros((2, 3, 4)), "give .samples"),
        (np.zeros((2400, 2)), "give .samples"),
        (np.array(0.5), "give .samples"),
        (np.where(np.arange(2400) == 7, np.nan, good), "sample 7 is not a number"),
    ):
        one, two = model.predict([odd, good], 8000)
        assert one.label is None
        assert not two.error
        with pytest.raises(AssertionError, match=message):
            raise AssertionError(one.error)
    with refuses("samples without their rate"):
        model.predict(good)
    with refuses("samples of type int16"):
        model.predict((good * 32767).astype(np.int16), 8000)
    with refuses("a sampling rate of 8k Hz"):
        model.predict(good, "8k")
    with refuses("1 speakers for 2"):
        model.predict([good, good], 8000, speakers=["a"])


# -- a bad file --------------------------------------------------------------------------------------------------------


def test_a_bad_stretch_of_a_long_file_is_an_error_of_that_file(model, tmp_path, monkeypatch):
    monkeypatch.setattr("ser.inference.predict.answers.WINDOW", 1.0)
    spoilt = noise(5, channels=2)
    spoilt[30000] = np.inf
    path = write(tmp_path / "long.wav", spoilt, subtype="FLOAT")
    other = write(tmp_path / "other.wav", noise())
    left, right, good = model.predict([path, other], channel="each")
    assert "sample 30000 is inf, far beyond full scale" in left.error
    assert "sample 30000 is inf, far beyond full scale" in right.error
    assert good.id == str(other)
    assert not good.error


# -- length and rate --------------------------------------------------------------------------------------------------


def test_what_is_outside_of_training_is_warned_of(model, tmp_path):
    low, high = model.model.description["trained"]["seconds"]
    frame = model.model.experiment.features.frame_length
    inside, tiny, long, narrow, silent = model.predict(
        [
            noise((low + high) / 2)[:, 0],
            noise(0.001)[:, 0],
            noise(high + 0.1)[:, 0],
            write(tmp_path / "n.wav", noise((low + high) / 2, 6000), 6000),
            np.zeros(round(8000 * high), np.float32),
        ],
        8000,
    )
    span = f"the {low:.1f} to {high:.1f} s of training"
    assert frame > 8
    assert inside.warnings == ()
    assert tiny.warnings == (f"shorter than {span}", "less than one frame, padded with zeros")
    assert long.warnings == (f"longer than {span}",)
    assert narrow.warnings == ("sampled at 6000 Hz, so without the upper part of the trained band",)
    assert silent.warnings == ("silent",)
    assert all(a.label for a in (tiny, long, narrow, silent))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_a_long_file_is_the_mean_of_equal_windows(packed, tmp_path, monkeypatch, rate, channels):
    monkeypatch.setattr("ser.inference.predict.answers.WINDOW", 0.7)
    monkeypatch.setattr(sound, "read_blocks", lambda *given: read_blocks(*given, block=1000))
    from ser.audio import read_audio, read_blocks, resample

    path = write(tmp_path / "long.wav", noise(3, rate, channels, level=0.3), rate, subtype="FLOAT")
    predictor = Predictor(open_model(packed))
    answers = list(Answers(predictor, [Source("x", path)], "each"))
    assert len(answers) == channels
    for answer, samples in zip(answers, read_audio(path).samples, strict=True):
        whole = resample(samples, rate, 8000)
        edges = [len(whole) * i // 5 for i in range(6)]  # five windows of 0.6 s, none above 0.7 s
        prepared = [predictor.prepare(predictor.spectrum(whole[a:b])) for a, b in pairwise(edges)]
        np.testing.assert_allclose(values(answer), predictor.posteriors(prepared).mean(0), atol=1e-4)
        assert "the mean of its windows" in answer.warnings[0]


@pytest.mark.slow
def test_ten_hours_are_never_held(packed, tmp_path, monkeypatch):
    """The network is left out; what is held at once is what counts."""
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 8000, 1) as file:
        block = noise(360)[:, 0]
        for _ in range(100):
            file.write(block)
    answers = Answers(Predictor(open_model(packed)), [Source("x", path)])
    held, seconds = [], 0.0

    def predict_batch(batch):
        nonlocal seconds
        held.append(sum(frames.nbytes for _, frames, _ in batch))
        for row, _, duration in batch:
            row.total, row.weight, row.num_waiting = np.full(4, 0.25), 1.0, row.num_waiting - 1
            seconds += duration

    monkeypatch.setattr(answers, "_predict_batch", predict_batch)
    monkeypatch.setattr(answers.predictor, "spectrum", lambda samples: np.zeros((len(samples) // 128, 257), np.float32))
    (found,) = answers
    assert found.seconds == seconds == 36000
    assert max(held) < 25e6


def test_scratch_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "stdin", type("In", (), {"buffer": io.BytesIO(b"x")}))
    with scratch() as folder, warnings.catch_warnings():
        assert sources_of("-", folder)[0].path.read_bytes() == b"x"
    assert not list(tmp_path.iterdir())


def test_a_column_of_paths_has_a_name_in_any_of_six_languages(tmp_path):
    (tmp_path / "eins.wav").write_bytes(b"")
    (tmp_path / "tabelle.csv").write_text("Datei;Sprecher\neins.wav;A\n")
    with scratch() as folder:
        (source,) = sources_of(str(tmp_path / "tabelle.csv"), folder)
    assert (source.path, source.path_column) == (tmp_path / "eins.wav", "Datei")


@pytest.mark.parametrize("column", ["File", "file"])
def test_columns_are_named_in_upper_or_lower_case(tmp_path, column):
    (tmp_path / "a.wav").write_bytes(b"")
    (tmp_path / "t.csv").write_text("File,audio,Speaker ID\na.wav,x, ann \na.wav,y,\n")
    with scratch() as folder:
        sources = sources_of(str(tmp_path / "t.csv"), folder, path_column=column)
    assert [(source.path_column, source.speaker) for source in sources] == [("File", "ann"), ("File", "")]


def test_two_columns_of_speakers_name_none(tmp_path):
    (tmp_path / "t.csv").write_text("file,speaker,spk\na.wav,ann,bob\n")
    with scratch() as folder:
        assert sources_of(str(tmp_path / "t.csv"), folder)[0].speaker == ""


def test_a_table_names_segments_and_channels(tmp_path):
    (tmp_path / "calls").mkdir()
    stereo = np.stack([np.full(8000, 0.1), np.full(8000, 0.2)], 1)
    soundfile.write(tmp_path / "calls" / "a.wav", stereo, 8000)
    (tmp_path / "t.csv").write_text(
        "file;Start;end;duration;channel\ncalls\\a.wav;0,25;-1;;1\ncalls\\a.wav;0,25;;0,5;\ncalls\\a.wav;0,5;0,25;;0\n"
        "calls\\a.wav;0,25;;-1;1,0\n"
    )
    with scratch() as folder:
        first, second, third, fourth = sources_of(str(tmp_path / "t.csv"), folder)
    assert (first.start, first.end, first.channels) == (fourth.start, fourth.end, fourth.channels)
    assert (first.start, first.end, first.channels) == (0.25, None, (1,))
    assert (second.start, second.end, second.channels) == (0.25, 0.75, ())
    assert third.problem.endswith("row 3 below the header: starts at 0.5 s and ends at 0.25 s. Fix it")
    with sound.open_samples(first, "mix", 8000, 60.0) as opened:
        (samples,) = [window[0] for window in opened.windows]
    np.testing.assert_allclose(samples, np.full(6000, 0.2), atol=1e-4)
    assert first.path == tmp_path / "calls" / "a.wav"


@pytest.mark.parametrize(
    ("name", "cell", "why"),
    [
        ("start", "2024-05-01 10:00", r"start '2024-05-01 10:00': a number of seconds"),
        ("channel", "phone", r"channel 'phone'"),
        ("channel", "0.5", "channel '0.5': a number from 0"),
        ("channel", "9" * 400, "channel '99"),
    ],
)
def test_a_column_of_another_meaning_is_not_used_with_a_warning(tmp_path, name, cell, why):
    (tmp_path / "t.csv").write_text(f"file,{name}\na.wav,{cell}\na.wav,\n")
    with scratch() as folder, pytest.warns(UserWarning, match=f"t.csv: the column {name} is not used.*{why}"):
        sources = sources_of(str(tmp_path / "t.csv"), folder)
    assert {(source.start, source.end, source.channels) for source in sources} == {(0.0, None, ())}


@pytest.mark.parametrize(("name", "cell", "end"), [("end", "-3", "-3"), ("end", "0", "0"), ("duration", "0", "1")])
def test_impossible_times_are_refused_in_each_row(tmp_path, name, cell, end):
    (tmp_path / "t.csv").write_text(f"file,start,{name}\na.wav,1,{cell}\n")
    with scratch() as folder:
        (source,) = sources_of(str(tmp_path / "t.csv"), folder)
    assert f"row 1 below the header: starts at 1 s and ends at {end} s" in source.problem


def test_times_with_other_names_are_not_used_with_a_warning(tmp_path):
    (tmp_path / "t.csv").write_text("file,Start Time,stop,to\na.wav,1.5,2,Bob\n")
    with scratch() as folder, pytest.warns(UserWarning, match="Start Time, stop: not used as times; .* start and end"):
        (source,) = sources_of(str(tmp_path / "t.csv"), folder)
    assert (source.start, source.end) == (0.0, None)


def test_a_list_of_files_as_text_tells_what_a_list_is(tmp_path):
    (tmp_path / "calls.txt").write_text("a.wav\n")
    with scratch() as folder:
        (source,) = sources_of(str(tmp_path / "calls.txt"), folder)
    assert "a list of files is a table (.csv, .tsv, .xlsx)" in source.problem


def test_blank_rows_above_the_header_of_a_workbook(tmp_path):
    book = Workbook()
    for row in (["", None], [None, None], ["file", "n"], ["a.wav", 0]):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    column, (row,), _ = read_rows(tmp_path / "t.xlsx")
    assert (column, row) == ("file", {"file": "a.wav", "n": 0})


def test_a_cell_that_is_no_number_is_a_problem_of_its_row(tmp_path):
    (tmp_path / "t.csv").write_text("file,start,end\na.wav,10,12\na.wav,nan,15\na.wav,20,22\n")
    with scratch() as folder:
        first, second, third = sources_of(str(tmp_path / "t.csv"), folder)
    assert [(source.start, source.end) for source in (first, third)] == [(10, 12), (20, 22)]
    assert "row 2 below the header: start 'nan': a number of seconds" in second.problem


def test_a_duration_without_a_start_is_that_of_the_file(tmp_path):
    (tmp_path / "t.csv").write_text("file,duration\na.wav,3.5\n")
    with scratch() as folder:
        assert sources_of(str(tmp_path / "t.csv"), folder)[0].end is None


def test_a_closed_standard_input_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with refuses("standard input is closed", where="input -", fix="send audio there, or give files"):
        sources_of("-", tmp_path)
