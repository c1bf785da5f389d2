"""`ser init-corpus`: from a table as people have it to a recipe."""

import os
import subprocess

import numpy as np
import pytest
import soundfile
import yaml
from openpyxl import Workbook

from ser.cli import main
from ser.common import InputError
from ser.corpora.init_corpus import recognise

EMOTIONS = {"Wütend": "angry", "Freude": "happy", "NEUTRAL": "neutral", "traurig": "sad"}


@pytest.fixture
def rows(tmp_path):
    """Four speakers, a recording of each emotion; German names, of which one is of no class."""
    rng = np.random.default_rng(0)
    found = []
    for speaker in ("Anna", "Ben", "Cleo", "Dan"):
        for emotion in (*EMOTIONS, "gemischt"):
            name = f"{speaker}_{emotion}.wav"
            soundfile.write(tmp_path / name, rng.normal(0, 0.1, 8000), 8000)
            found.append([name, speaker, emotion, "x"])
    return found


def written(path, rows, header=("Datei", "Sprecher", "Gefühl", "Notiz")):
    if path.suffix == ".xlsx":
        book = Workbook()
        for row in (header, *rows):
            book.active.append(list(row))
        book.save(path)
    else:
        text = "".join(";".join(row) + "\n" for row in (header, *rows))
        path.write_text(text, encoding="utf-8-sig")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_a_table_becomes_a_recipe_that_is_complete(rows, tmp_path, capsys, suffix):
    table = written(tmp_path / f"liste{suffix}", rows)
    assert main(["init-corpus", "mine", str(table), "--out", str(tmp_path / "mine")]) == 0
    text = capsys.readouterr().out
    assert "columns: Datei -> path, Sprecher -> speaker, Gefühl -> emotion" in text
    assert "kept as they are: Notiz" in text
    assert "left out, for their class is not known: gemischt (4)" in text
    assert "mine: complete" in text
    protocol = yaml.safe_load((tmp_path / "mine" / "conf" / "corpora" / "mine.yaml").read_text())
    assert protocol["labels"] == {**EMOTIONS, "gemischt": None}
    assert protocol["expected"] == {"utterances": 20, "speakers": 4}
    assert protocol["splits"] == {"strict": {"groups": "speakers"}}
    run = tmp_path / "mine" / "run.sh"
    assert os.access(run, os.X_OK)
    assert str(table) in run.read_text()
    assert subprocess.run([run, "--help"], capture_output=True, check=False).returncode == 0
    with Refused(capsys, "there already"):
        main(["init-corpus", "mine", str(table), "--out", str(tmp_path / "mine")])
    assert main(["init-corpus", "mine", str(table), "--out", str(tmp_path / "mine"), "--force"]) == 0


class Refused:
    """A command that ends with an error of one line."""

    def __init__(self, capsys, text):
        self.capsys, self.text = capsys, text

    def __enter__(self):
        self.capsys.readouterr()

    def __exit__(self, *error):
        found = self.capsys.readouterr().err
        assert self.text in found
        assert found.count("\n") == 1


def test_all_problems_are_reported_at_once(rows, tmp_path, capsys):
    (tmp_path / rows[0][0]).unlink()
    (tmp_path / rows[1][0]).write_bytes(b"no sound")
    soundfile.write(tmp_path / rows[3][0], soundfile.read(tmp_path / rows[2][0])[0], 8000)  # of another label
    table = written(tmp_path / "liste.csv", [*rows, ["too", "few"]])
    assert main(["init-corpus", "mine", str(table), "--out", str(tmp_path / "mine")]) == 1
    text = capsys.readouterr().out
    for part in (rows[0][0], rows[1][0], "equal audio", "2 fields, but 4 columns", "mine: not complete"):
        assert part in text
    assert (tmp_path / "mine" / "run.sh").is_file()


def test_equal_recordings_under_two_ids_are_counted(rows, tmp_path, capsys):
    soundfile.write(tmp_path / "again.wav", soundfile.read(tmp_path / rows[2][0])[0], 8000)
    table = written(tmp_path / "liste.csv", [*rows, ["again.wav", *rows[2][1:]]])
    assert main(["init-corpus", "mine", str(table), "--out", str(tmp_path / "mine")]) == 0
    assert "mine: complete; 1 recordings stand twice, under two ids" in capsys.readouterr().out


def test_columns_and_labels_by_hand(rows, tmp_path):
    table = written(tmp_path / "t.csv", rows, ("A", "B", "C", "D"))
    columns = {"path": "A", "speaker": "B", "emotion": "C"}
    found = recognise(table, columns, {"gemischt": "mixed", "traurig": ""})
    assert found.columns == columns
    assert found.labels == {**EMOTIONS, "traurig": None, "gemischt": "mixed"}
    with pytest.raises(InputError, match="no column for path was found.*no column for emotion was found"):
        recognise(table, {"speaker": "B"}, {})
    with pytest.raises(InputError, match="--column emotion=Gefuehl: .* has no such column"):
        recognise(table, {"path": "A", "speaker": "B", "emotion": "Gefuehl"}, {})


@pytest.mark.parametrize(
    "labels",
    [
        ["raiva", "Alegria", "neutro", "TRISTE"],
        ["en colère", "joie", "neutre", "tristesse"],
        ["enojado", "feliz", "neutral", "tristeza"],
        ["arrabbiata", "felice", "neutrale", "tristezza"],
        ["ang", "hap", "neu", "sad"],
    ],
)
def test_labels_of_six_languages_are_mapped(tmp_path, labels):
    table = written(tmp_path / "t.csv", [[f"{i}.wav", f"s{i}", label, ""] for i, label in enumerate(labels)])
    assert list(recognise(table, {}, {}).labels.values()) == ["angry", "happy", "neutral", "sad"]


def test_what_cannot_be_a_recipe_isRefused(rows, tmp_path, capsys):
    table = written(tmp_path / "t.csv", [row for row in rows if row[1] in ("Anna", "Ben")])
    for arguments, text in (
        (["Mine", table], "a name of lower-case letters"),
        (["mine", table], "2 speakers; to train, validate and test on other speakers takes three"),
        (["mine", tmp_path / "none.csv"], "no such file"),
        (["mine", written(tmp_path / "u.csv", [["a", "b", "c", "d"]])], "labels of 0 classes were recognised"),
    ):
        with Refused(capsys, text):
            assert main(["init-corpus", *map(str, arguments), "--out", str(tmp_path / "out")]) == 1
        assert not (tmp_path / "out").exists()
