"""Answers that a later run goes on with, and tables as input and output."""

import csv
import json
import os
import shutil

import openpyxl
import pytest
from conftest import write_noise

from ser import load_model
from ser.cli import main
from ser.common import InputError, progress
from ser.inference.model import write_sums
from ser.inference.predict import answers as answers_module
from ser.inference.predictor import Predictor


@pytest.fixture
def folder(tmp_path):
    """Five files of noise."""
    for number in range(5):
        write_noise(tmp_path / "in" / f"{number}.wav", seed=number)
    return tmp_path / "in"


@pytest.fixture
def calls(monkeypatch):
    """Batches of one file; `calls.stop` = n interrupts the n-th; `calls.count` counts them."""

    class Calls:
        stop, count = 0, 0

    posteriors = Predictor.posteriors

    def counted(self, prepared):
        Calls.count += bool(prepared)
        if Calls.count == Calls.stop:
            raise KeyboardInterrupt
        return posteriors(self, prepared)

    monkeypatch.setattr(answers_module, "BATCH_FRAMES", (1, 1))
    monkeypatch.setattr(Predictor, "posteriors", counted)
    return Calls


def predict(*arguments):
    return main(["predict", *map(str, arguments)])


@pytest.mark.parametrize(("form", "lines"), [("table", 3), ("csv", 3), ("jsonl", 2)])
def test_an_interrupted_run_leaves_its_answers_under_another_name(packed, folder, calls, capsys, form, lines):
    out = folder / "out" / "answers"
    out.parent.mkdir()
    out.write_text("of an earlier run")
    calls.stop = 3
    assert predict(packed, *sorted(folder.glob("*.wav")), "--format", form, "--out", out) == 130
    assert out.read_text() == "of an earlier run"
    assert f"warning: {out}.partial: holds the answers" in capsys.readouterr().err
    found = out.with_name("answers.partial").read_text().splitlines()
    assert len(found) == lines
    assert all(f"{number}.wav" in line for number, line in enumerate(found[-2:]))


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("options", "stop", "there", "left"),
    [([], 4, 3, 2), (["--channel", "each"], 6, 1, 8)],  # of the last file there may be more channels
    ids=["mix", "each"],
)
def test_an_interrupted_run_goes_on(packed, folder, calls, capsys, form, options, stop, there, left):
    for path in folder.iterdir():
        write_noise(path, channels=2)
    out, whole = folder / f"answers.{form}", folder.parent / f"whole.{form}"
    given = [packed, folder, *options]
    assert predict(*given, "--out", whole) == 0
    calls.count, calls.stop = 0, stop
    assert predict(*given, "--out", out) == 130
    partial = out.with_name(f"{out.name}.partial")
    with partial.open("a") as file:
        file.write(str(folder / "3.wa"))  # a line that is cut short
    calls.count, calls.stop = 0, 0
    capsys.readouterr()
    assert predict(*given, "--out", out) == 0
    assert calls.count == left
    assert f"{there} answers are there" in capsys.readouterr().err
    assert out.read_text() == whole.read_text()
    assert not partial.exists()


def test_answers_of_another_model_or_options_are_not_gone_on_with(packed, folder, calls, capsys):
    out = folder / "answers.csv"
    calls.stop = 3
    assert predict(packed, folder, "--out", out) == 130
    before = (folder / "answers.csv.partial").read_bytes()
    calls.stop = 0
    capsys.readouterr()
    assert predict(packed, folder, "--out", out, "--head", "one") == 1
    assert "head: mean, not one" in capsys.readouterr().err
    assert (folder / "answers.csv.partial").read_bytes() == before
    assert predict(packed, folder, "--out", out, "--head", "one", "--resume", "false") == 0
    assert len(out.read_text().splitlines()) == 6


def test_new_files_alone_are_answered_and_errors_count_still(packed, folder, calls):
    out, model = folder / "answers.csv", folder.parent / "model"
    shutil.copytree(packed, model)
    (folder / "bad.wav").touch()
    assert predict(model, folder, "--out", out) == 1
    first = out.read_text()
    write_noise(folder / "new.wav", seed=9)
    calls.count = 0
    with (model / "README.md").open("a") as card:  # as `ser check --card true` does
        card.write("more")
    write_sums(model)
    assert predict(model, folder, "--out", out, "--append", "true") == 1
    assert calls.count == 1
    assert out.read_text().startswith(first)
    (row,) = csv.DictReader([first.splitlines()[0], out.read_text().splitlines()[-1]])
    assert row["file"] == str(folder / "new.wav")
    calls.count = 0
    assert predict(packed, folder, "--out", out, "--append", "true", "--raw") == 1
    assert calls.count == 0


def test_a_damaged_file_can_be_repaired_and_appended_to(packed, folder):
    out = folder / "answers.csv"
    assert predict(packed, folder, "--out", out) == 0
    intact = out.read_text()
    out.write_text(f"{intact}x\n")
    assert predict(packed, folder, "--out", out, "--append", "true") == 1
    out.write_text(intact)
    assert predict(packed, folder, "--out", out, "--append", "true") == 0
    assert out.read_text() == intact


def test_two_runs_do_not_write_one_file(packed, folder, capsys):
    import fcntl

    out = folder / "answers.csv"
    with (folder / "answers.csv.partial").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert predict(packed, folder, "--out", out) == 1
    assert "another process" in capsys.readouterr().err


def test_a_log_gets_rate_and_time_left(monkeypatch, capsys):
    times = iter([0.0, 10.0, 70.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    rate = progress.Rate("predict", 100, "file")
    rate.update()
    assert capsys.readouterr().err == ""
    rate.count = 34
    rate.update()
    assert capsys.readouterr().err == "predict: 35 of 100, 0.5 files/s, 0:02:10 left\n"


# -- tables -----------------------------------------------------------------------------------------------------------


def test_a_table_keeps_its_columns(packed, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    text = 'Path;speaker;label;note\nin/1.wav;s1;happy;"a; b"\nin/none.wav;s2;sad;\n;s3;sad;\n'
    (folder.parent / "t.csv").write_text(text, encoding="utf-8-sig")
    assert predict(packed, "t.csv", "--out", "o.csv") == 1
    rows = list(csv.DictReader((folder.parent / "o.csv").open()))
    assert [*rows[0]][:8] == ["Path", "speaker", "label", "note", "channel", "seconds", "predicted_label", "confidence"]
    assert [[row[name] for name in ("Path", "speaker", "label", "note")] for row in rows] == [
        ["in/1.wav", "s1", "happy", "a; b"],
        ["in/none.wav", "s2", "sad", ""],
        ["", "s3", "sad", ""],
    ]
    (answer,) = load_model(packed).predict(folder / "1.wav")
    assert rows[0]["predicted_label"] == answer.label
    assert float(rows[0][answer.label]) == pytest.approx(answer.confidence, abs=1e-6)
    assert "no such file" in rows[1]["error"]
    assert "row 3" in rows[2]["error"]
    assert predict(packed, "t.csv", "--out", "o.jsonl") == 1
    assert json.loads((folder.parent / "o.jsonl").read_text().splitlines()[0])["table"]["note"] == "a; b"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,b\n1,2\n", "--path-column"),
        ("path,file\n1,2\n", "--path-column"),
        ("path,path\n1,2\n", "column path"),
        ("path,b\n1\n", "1 fields"),
        ("path\n", "no rows"),
    ],
)
def test_a_table_that_is_not_understood(packed, tmp_path, text, reason):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=reason):
        load_model(packed).predict(tmp_path / "t.csv")


def test_the_column_of_paths_by_name(packed, folder):
    (folder / "t.csv").write_text("which,file\n0.wav,x\n")
    out = folder / "o.csv"
    assert predict(packed, folder / "t.csv", "--path-column", "which", "--out", out) == 0
    (answer,) = load_model(packed).predict(folder / "t.csv", path_column="which")
    assert answer.columns == {"which": "0.wav", "file": "x"}
    (row,) = csv.DictReader(out.open())
    assert (row["which"], row["file"]) == ("0.wav", "x")


def test_csv_for_excel_with_decimal_commas(packed, folder):
    out = folder / "o.csv"
    assert predict(packed, folder / "0.wav", "--excel", "--decimal", "comma", "--out", out) == 0
    assert out.read_bytes().startswith(b"\xef\xbb\xbffile;channel;")
    (row,) = csv.DictReader(out.open(encoding="utf-8-sig"), delimiter=";")
    (answer,) = load_model(packed).predict(folder / "0.wav")
    assert row["confidence"] == str(round(answer.confidence, 7)).replace(".", ",")
    assert predict(packed, folder / "0.wav", "--excel", "--format", "jsonl") == 1


def test_a_workbook_in_and_out(packed, folder):
    book = openpyxl.Workbook()
    for cells in (["file", "age", "note"], ["0.wav", 31, "=1+1"], ["none.wav", 4.5, None]):
        book.active.append(cells)
    book.active["C2"].data_type = "s"
    book.save(folder / "t.xlsx")
    assert predict(packed, folder / "t.xlsx", "--out", folder / "o.xlsx") == 1
    sheet = openpyxl.load_workbook(folder / "o.xlsx").active
    assert sheet.freeze_panes == "A2"
    head, good, bad = (dict(enumerate(row)) for row in sheet.iter_rows(values_only=True))
    names = {name: index for index, name in head.items()}
    assert [*names][:3] == ["file", "age", "note"]
    assert [good[index] for index in range(3)] == ["0.wav", 31, "=1+1"]
    assert sheet.cell(2, 3).data_type == "s"
    (answer,) = load_model(packed).predict(folder / "0.wav")
    assert good[names["confidence"]] == pytest.approx(answer.confidence, abs=1e-6)
    assert good[names[answer.label]] == good[names["confidence"]]
    assert "no such file" in bad[names["error"]]
    assert not [name for name in os.listdir(folder) if name.startswith(".tmp")]
