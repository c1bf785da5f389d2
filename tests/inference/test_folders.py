"""What `ser predict` makes of a folder, and that one bad file loses no answer, whatever the output."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import kaldiio
import programs
import pytest
from conftest import ROOT, write_noise

from ser import load_model
from ser.audio import AUDIO_SUFFIXES
from ser.cli import main
from ser.common import InputError
from ser.inference.predict import sound
from ser.inference.predict.inputs import scratch, sources_of

pytestmark = pytest.mark.filterwarnings("ignore:.*left out")
NAMES = {"WAV": "wav wave", "OGG": "ogg oga", "AU": "au snd", "CAF": "caf", "VOC": "voc", "AIFF": "aiff aif aifc"}


def sources(folder):
    with scratch() as own:
        return sources_of(str(folder), own)


def test_a_link_to_itself_and_a_folder_that_cannot_be_entered_stop_no_other(packed, tmp_path, monkeypatch, capsys):
    write_noise(tmp_path / "a.wav")
    (tmp_path / "loop").symlink_to("loop")
    closed = tmp_path / "closed" / "b.wav"
    stat = os.stat

    def refused(path, *args, **kwargs):
        if str(path).startswith(str(closed.parent)):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", refused)
    assert main(["timeline", str(packed), str(tmp_path / "a.wav"), str(closed), "--out", str(tmp_path / "t")]) == 1
    assert "1 of 2 files have no timeline" in capsys.readouterr().err
    assert main(["predict", str(packed), str(tmp_path / "a.wav"), str(closed), "--format", "csv"]) == 1
    assert "1 of 2 could not be read" in capsys.readouterr().err
    assert main(["timeline", str(packed), str(tmp_path), "--out", str(tmp_path / "t")]) == 3


# -- folders ----------------------------------------------------------------------------------------------------------


def test_all_that_can_be_read_when_named_is_answered(packed, tmp_path):
    names = [(form, suffix) for form, suffixes in NAMES.items() for suffix in suffixes.split()]
    files = [
        write_noise(tmp_path / f"{n}.{s.upper() if n % 2 else s}", format=form) for n, (form, s) in enumerate(names)
    ]
    answers = load_model(packed).predict(tmp_path)
    assert sorted(answer.id for answer in answers) == sorted(map(str, files))
    assert not any(answer.error for answer in answers)


def test_every_suffix_of_the_reader_and_no_other(tmp_path):
    others = (".txt", ".csv", ".TextGrid", "")
    for suffix in (*AUDIO_SUFFIXES, *others):
        (tmp_path / f"x{suffix}").touch()
    found = sources(tmp_path)
    assert {source.path.suffix for source in found if not source.left_out} == set(AUDIO_SUFFIXES)
    assert {source.path.suffix for source in found if source.left_out} == set(others)


@pytest.mark.parametrize("form", ["table", "csv", "jsonl"])
def test_what_is_left_out_is_listed_in_the_output(packed, tmp_path, capsys, form):
    write_noise(tmp_path / "a.wav")
    others = [".DS_Store", "in/._a.wav", "notes.txt", *(f"in/{n}.csv" for n in range(7))]
    for name in others:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert main(["predict", str(packed), str(tmp_path), "--format", form]) == 3
    found = capsys.readouterr()
    answered, listed = rows_of(form, found.out.encode())
    assert answered == [str(tmp_path / "a.wav")]
    assert sorted(listed) == sorted(str(tmp_path / name) for name in others)
    assert "10 files" in found.err
    write_noise(tmp_path / "b.wav").write_bytes(b"")
    assert main(["predict", str(packed), str(tmp_path), "--format", form]) == 1


def test_links_that_lead_round_in_circles_or_nowhere(packed, tmp_path):
    write_noise(tmp_path / "in" / "a.wav")
    (tmp_path / "in" / "up").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "in")
    (tmp_path / "self.wav").symlink_to(tmp_path / "self.wav")
    (tmp_path / "gone.wav").symlink_to(tmp_path / "none.wav")
    answers = load_model(packed).predict(tmp_path)
    assert sum(bool(answer.label) for answer in answers) == 1
    assert {answer.id for answer in answers if answer.error} == {f"{tmp_path}/self.wav", f"{tmp_path}/gone.wav"}


def test_a_folder_that_may_not_be_listed_is_an_error_row(packed, tmp_path, monkeypatch):
    write_noise(tmp_path / "a.wav")
    for name in ("closed", ".hidden"):
        (tmp_path / name).mkdir()
    scandir = os.scandir

    def refused(path):
        if str(path).endswith(("closed", ".hidden")):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    hidden, good, closed = load_model(packed).predict(tmp_path)
    assert good.label
    for answer, name in ((hidden, ".hidden"), (closed, "closed")):
        assert answer.id == str(tmp_path / name)
        assert answer.id in answer.error


def test_no_file_and_an_empty_name(packed, tmp_path):
    (tmp_path / "a.txt").touch()
    for given, words in ((tmp_path, "holds no audio files"), ("", "an empty name")):
        with pytest.raises(InputError, match=words):
            load_model(packed).predict(given)


# -- one bad file -----------------------------------------------------------------------------------------------------


@pytest.fixture
def mixed(tmp_path):
    """A folder of good files and bad ones; the ids of the good ones, and of the bad ones as they are printed."""
    folder = tmp_path / "mixed"
    good = [folder / name for name in ("a.wav", "naïve ☃.wav", "quo\"te, 'x'.wav", "z.wav")]
    for number, path in enumerate(good):
        write_noise(path, seed=number)
    write_noise(folder / "one.wav", seconds=1 / 48000, rate=48000)
    (folder / "zero.wav").touch()
    raw = os.fsencode(folder) + b"/caf\xe9.wav"
    with open(raw, "wb") as file:
        file.write(good[0].read_bytes())
    return folder, sorted(map(str, good)), sorted([f"{folder}/one.wav", f"{folder}/zero.wav", f"{folder}/caf\\xe9.wav"])


def ser(*arguments):
    return programs.run("-m", "ser", *arguments, text=False)


def rows_of(form, content):
    """Ids answered, and ids with an error, of what was written."""
    text = content.decode("utf-8")
    if form == "jsonl":
        rows = [json.loads(line) for line in text.splitlines()]
        return [row["file"] for row in rows if "label" in row], [row["file"] for row in rows if "error" in row]
    if form == "csv":
        found = list(csv.DictReader(text.splitlines()))
        return [row["file"] for row in found if row["label"]], [row["file"] for row in found if row["error"]]
    lines = text.splitlines()[1:]
    names = [re.split(r"  +(?=error: |angry |happy |neutral |sad )", line) for line in lines]
    good = [name for name, rest in names if not rest.startswith("error: ")]
    return good, [name for name, rest in names if rest.startswith("error: ")]


@pytest.mark.parametrize("form", ["table", "csv", "jsonl"])
@pytest.mark.parametrize("place", ["stdout", "out"])
def test_bad_files_are_rows_and_the_others_are_answered(packed, mixed, tmp_path, form, place):
    folder, good, bad = mixed
    out = ["--out", tmp_path / "answers"] if place == "out" else []
    run = ser("predict", packed, folder, "--format", form, *out)
    assert run.returncode == 1
    assert b"Traceback" not in run.stderr
    answered, failed = rows_of(form, (tmp_path / "answers").read_bytes() if out else run.stdout)
    assert (sorted(answered), sorted(failed)) == (good, bad)
    assert run.stderr.decode().count("error: ") == 3
    assert "3 of 7 could not be read" in run.stderr.decode()
    left = ["answers", *(["answers.run.json"] if form != "table" else [])] if out else []
    assert sorted(path.name for path in tmp_path.iterdir() if path != folder) == left


def test_an_ark_has_the_good_ones(packed, mixed, tmp_path):
    folder, good, _ = mixed
    assert ser("predict", packed, folder, "--format", "ark", "--out", tmp_path / "o.ark").returncode == 1
    found = kaldiio.load_scp(str(tmp_path / "o.scp"))
    assert sorted(found) == sorted(name.replace(" ", "%20") for name in good)
    assert all(found[key].sum() == pytest.approx(1, abs=1e-5) for key in found)


def test_keys_of_an_ark_are_as_different_as_the_names(packed, tmp_path):
    names = ("a b.wav", "a%20b.wav", "a\tb.wav")
    for number, name in enumerate(names):
        write_noise(tmp_path / name, seed=number)
    assert main(["predict", str(packed), str(tmp_path), "--out", str(tmp_path / "o.ark")]) == 0
    found = kaldiio.load_scp(str(tmp_path / "o.scp"))
    assert sorted(found) == sorted(f"{tmp_path}/{key}" for key in ("a%20b.wav", "a%2520b.wav", "a%09b.wav"))


@pytest.mark.slow
def test_an_answer_in_a_full_workbook_is_one_line(packed, tmp_path):
    """A file may not be larger than 512 bytes, as if the disk were full."""
    write_noise(tmp_path / "a.wav")
    command = "trap '' XFSZ; ulimit -f 1; exec \"$@\""
    words = [sys.executable, "-m", "ser", "predict", packed, tmp_path / "a.wav", "--out", tmp_path / "o.xlsx"]
    run = subprocess.run(["bash", "-c", command, "-", *words], capture_output=True, text=True, cwd=ROOT, check=False)
    assert run.returncode == 1
    errors = [line for line in run.stderr.splitlines() if not line.startswith("warning: ")]
    assert len(errors) == 1, run.stderr
    assert errors[0].startswith(f"error: {tmp_path}/o.xlsx: cannot be written (File too large)")
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


ASCII, C = {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.slow
@pytest.mark.parametrize(("form", "environment"), [("table", ASCII), ("table", C), ("csv", ASCII), ("jsonl", C)])
def test_an_output_that_cannot_hold_a_name(packed, mixed, form, environment):
    if "LC_ALL" in environment and not sys.prefix.isascii():
        pytest.skip(f"{sys.prefix}: a C locale cannot import packages from such a path")
    _, good, _ = mixed
    run = subprocess.run(
        [sys.executable, "-m", "ser", "predict", packed, *good, "--format", form],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )
    assert run.returncode == 0
    answered, failed = rows_of(form, run.stdout)
    assert failed == []
    if form == "table":
        good = [name.encode("ascii", "backslashreplace").decode() for name in good]
    assert answered == good


def test_whatever_goes_wrong_in_a_file_is_an_error_of_that_file(packed, tmp_path, monkeypatch, capsys):
    paths = [write_noise(tmp_path / f"{name}.wav") for name in "abc"]
    read_audio = sound.read_audio

    def broken(path, *given):
        if path == paths[1]:
            raise ZeroDivisionError("of the decoder")
        return read_audio(path, *given)

    monkeypatch.setattr(sound, "read_audio", broken)
    assert main(["predict", str(packed), *map(str, paths), "--format", "jsonl"]) == 1
    one, two, three = map(json.loads, capsys.readouterr().out.splitlines())
    assert one["label"]
    assert three["label"]
    assert two["file"] == str(paths[1])
    assert "ZeroDivisionError" in two["error"]


# -- interrupted ------------------------------------------------------------------------------------------------------


def test_a_killed_run_leaves_its_answers(packed, tmp_path):
    """The rest never comes: a list whose second half is a pipe that sleeps."""
    write_noise(tmp_path / "a.wav", seconds=30)
    (tmp_path / "wav.scp").write_text("a a.wav\nb sleep 600 |\n")
    command = [sys.executable, "-m", "ser", "predict", packed, tmp_path / "wav.scp", "--allow-pipes", "true"]
    out = tmp_path / "o" / "o.csv"
    run = subprocess.Popen(
        [*map(str, command), "--format", "csv", "--out", str(out)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while run.poll() is None and not any(path.read_bytes().count(b"\n") == 2 for path in out.parent.glob("*")):
            time.sleep(0.1)
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    assert not out.exists()
    partial = out.with_name("o.csv.partial")
    assert rows_of("csv", partial.read_bytes()) == (["a"], [])
