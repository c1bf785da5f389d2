"""`ser init-corpus` makes a recipe from a user's table."""

import os
import re
import subprocess

import numpy as np
import pytest
import soundfile
import yaml
from conftest import ROOT, refuses
from openpyxl import Workbook, load_workbook

from ser.cli import main
from ser.common import InputError
from ser.corpora.init_corpus import recognise
from ser.corpora.preparers import load_preparer
from ser.corpora.protocol import read_protocol

EMOTIONS = {"Wütend": "angry", "Freude": "happy", "NEUTRAL": "neutral", "traurig": "sad"}


@pytest.fixture
def rows(tmp_path):
    """Four speakers with a recording of each emotion; German labels, one of them in no class."""
    rng = np.random.default_rng(0)
    table_rows = []
    for speaker in ("Anna", "Ben", "Cleo", "Dan"):
        for emotion in (*EMOTIONS, "gemischt"):
            name = f"{speaker}_{emotion}.wav"
            soundfile.write(tmp_path / name, rng.normal(0, 0.1, 8000), 8000)
            table_rows.append([name, speaker, emotion, "x"])
    return table_rows


def write_table(path, rows, header=("Datei", "Sprecher", "Gefühl", "Notiz")):
    if path.suffix == ".xlsx":
        book = Workbook()
        for row in (header, *rows):
            book.active.append(list(row))
        book.save(path)
    else:
        text = "".join(";".join(row) + "\n" for row in (header, *rows))
        path.write_text(text, encoding="utf-8-sig")
    return path


@pytest.fixture
def init(tmp_path, capsys):
    """Run the command; returns its exit code and its output."""

    def run(table, *options, name="mine"):
        capsys.readouterr()
        code = main(["init-corpus", name, str(table), "--out", str(tmp_path / "mine"), *options])
        printed = capsys.readouterr()
        assert printed.err.count("\n") == (not printed.out)
        return code, printed.out + printed.err

    return run


def test_a_corpus_of_the_toolkit_is_not_replaced(rows, tmp_path, init):
    code, text = init(write_table(tmp_path / "t.csv", rows), "--force", "true", name="savee")
    assert code == 1
    assert "error: savee: the name of a corpus of the toolkit; choose another name" in text


def reserved_variables():
    """The variables of bash and of the shell scripts, in upper case, without those of the corpora."""
    bash = subprocess.run(["bash", "-c", "compgen -v"], env={}, capture_output=True, text=True, check=True).stdout
    scripts = [ROOT / "path.sh", ROOT / "cmd.sh", ROOT / "run.sh", *sorted((ROOT / "utils").glob("*.sh"))]
    used = (name for path in scripts for name in re.findall(r"\$\{?([A-Z][A-Z0-9_]+)", path.read_text()))
    return {*bash.split(), *used} - {"_"}


def test_the_variables_of_the_shell_are_no_names(rows, tmp_path, init):
    names = {"home", "path", "lang", "shell", "random", "uid", "ifs", "seconds", "pwd", "term", "ser_root", "lc_all"}
    names |= {variable.lower() for variable in reserved_variables()}
    assert len(names) > 40
    table = write_table(tmp_path / "t.csv", rows)
    for name in sorted(names):
        code, text = init(table, name=name)
        assert (code, (tmp_path / "mine").exists()) == (1, False), name
        assert f"names the variable {name.upper()}" in text, name
        assert f"choose another name, such as my_{name}" in text


def test_a_variable_that_is_set_to_something_else_is_no_name(rows, tmp_path, init, monkeypatch):
    table = write_table(tmp_path / "t.csv", rows)
    monkeypatch.setenv("MINE", str(tmp_path / "other"))
    code, text = init(table)
    assert code == 1
    assert f"which is set to {tmp_path / 'other'}" in text
    assert "or unset MINE" in text
    monkeypatch.setenv("MINE", str(table))
    assert init(table)[0] == 0


def test_a_label_that_the_table_lacks_is_refused(rows, tmp_path):
    with refuses("no such label in the column Gefühl, which has Wütend", where="--label Wutend=angry"):
        recognise(write_table(tmp_path / "t.csv", rows), {}, {"Wutend": "angry"})


@pytest.mark.parametrize(("part", "is_split"), [("train", True), ("1", False)])
def test_columns_of_german_tables(tmp_path, part, is_split):
    header = ("Dateiname", "Sprecherin", "Stimmung", "Anfang", "Endzeit", "Kanal", "Transkript", "Sprache", "Teil")
    table = write_table(tmp_path / "t.csv", [("a.wav", "Anna", "Wut", "0", "1", "0", "Ja.", "de", part)], header)
    columns = ["path", "speaker", "emotion", "start", "end", "channel", "text_id", "language", "split"]
    expected = dict(zip(columns, header, strict=True))
    recognised = recognise(table, {}, {})
    assert recognised.columns == {c: name for c, name in expected.items() if is_split or c != "split"}
    assert recognised.others == ([] if is_split else ["Teil"])


def timed_table(tmp_path, *times, cells=("0.1", "0.4", "0.3")):
    """A table with columns of times, beside those of files, speakers and emotions."""
    row = ["a.wav", "Anna", "sad", *cells[: len(times)]]
    return write_table(tmp_path / "t.csv", [row], ("path", "speaker", "emotion", *times))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("start end", "start end"),
        ("offset duration", "start duration"),  # NeMo
        ("onset offset", "start end"),
        ("offset onset", "end start"),
        ("start duration offset", "start duration -"),
        ("Begin_Time end-time", "start end"),
        ("begin_time duration", "start duration"),
        ("start stop", "start end"),
        ("tmin tmax", "start end"),
        ("from to", "start end"),
        ("Start_(s) End_(s)", "start end"),
        ("start_s dur_s", "start duration"),
        ("startTime endTimeSec", "start end"),
        ("start_in_seconds end_[sec]", "start end"),
        ("Beginn Dauer", "start duration"),
        ("Begin_Time_-_ss.msec End_Time_-_ss.msec", "start end"),  # ELAN
        ("begin end start", "- end start"),
        ("duration", "-"),  # of the file
        ("duration_ms", "-"),
    ],
)
def test_times_are_recognised(tmp_path, header, expected):
    names = [name.replace("_(", " (").replace("_-_", " - ").replace("_[", " [") for name in header.split()]
    recognised = recognise(timed_table(tmp_path, *names), {}, {})
    found = {name: column for column, name in recognised.columns.items()}
    assert [found.get(name, "-") for name in names] == expected.split()


@pytest.mark.parametrize(
    ("header", "by_hand", "what", "fix"),
    [
        ("start_ms end_ms", {}, "but times: start_ms, end_ms", "divide these times in the table, so that they are"),
        ("startMs duration", {}, "but times: startMs", "divide"),
        ("start_ms end_ms", {"start": "start_ms", "end": "end_ms"}, "start_ms is not in seconds", "divide"),
        ("start end_ms", {}, "start is the start, but no column for the end was found", "--column end=..."),
        ("begin", {}, "begin is the start, but no column for the end was found", "or --column end= if utterances last"),
        ("ende", {}, "no column for the start of utterances was found, but times: ende", "--column start=..."),
        ("offset", {}, "but times: offset", "or --column start= if each utterance is a whole file"),
        ("turn_begin", {}, "but times: turn_begin", "--column start=..."),
        ("time_of_turn", {}, "but times: time_of_turn", "--column start=..."),
        ("start x", {"start": "", "end": ""}, "the column start is not used as start, but has its name", "rename it"),
        ("begin start end", {"start": "begin"}, "the column start is not used as start, but has its name", "rename it"),
    ],
)
def test_times_that_are_not_certain_are_refused(tmp_path, header, by_hand, what, fix):
    with refuses(what, fix=fix):
        recognise(timed_table(tmp_path, *header.split()), by_hand, {})


def test_times_by_hand(tmp_path):
    table = timed_table(tmp_path, "begin of turn", "x")
    assert recognise(table, {"start": "begin of turn", "end": "x"}, {}).columns["end"] == "x"
    assert recognise(table, {"start": "begin of turn", "end": ""}, {}).columns.keys() & {"start", "end"} == {"start"}
    assert recognise(table, {"start": ""}, {}).others == ["begin of turn", "x"]
    assert recognise(timed_table(tmp_path, "Ende", "offset"), {"start": ""}, {}).others == ["Ende", "offset"]


def test_a_column_of_dates_is_no_time(tmp_path):
    table = timed_table(tmp_path, "start_time", "friend", cells=("2024-01-01 10:00", "3"))
    assert recognise(table, {}, {}).others == ["start_time", "friend"]


def test_a_table_of_offsets_and_durations_makes_segments(rows, tmp_path, init):
    table = write_table(
        tmp_path / "t.csv",
        [[*row[:3], "0.25", "0.5"] for row in rows],
        ("Datei", "Sprecher", "Gefühl", "offset", "duration"),
    )
    code, text = init(table)
    assert (code, "each utterance: a segment, in seconds" in text) == (0, True)
    protocol = read_protocol("mine", tmp_path / "mine")
    utterances = load_preparer("csv").utterances(table, protocol=protocol)
    assert {(u.start, u.end) for u in utterances} == {(0.25, 0.75)}


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_a_complete_recipe_is_made_from_a_table(rows, tmp_path, init, suffix):
    table = write_table(tmp_path / f"liste{suffix}", rows)
    code, text = init(table)
    assert code == 0
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
    code, text = init(table)
    assert code == 1
    assert "there already" in text
    assert init(table, "--force")[0] == 0


def test_blank_rows_above_the_column_names_of_a_workbook(rows, tmp_path):
    table = write_table(tmp_path / "t.xlsx", [("Datei", "Sprecher", "Gefühl", "Notiz"), *rows], ("", "  ", "", "", ""))
    assert recognise(table, {}, {}).columns == {"path": "Datei", "speaker": "Sprecher", "emotion": "Gefühl"}


def test_a_column_that_stands_twice_is_named(rows, tmp_path):
    table = write_table(
        tmp_path / "t.csv", [row[:3] + row[2:] for row in rows], ("path", "speaker", "emotion", "Emotion", "d")
    )
    with refuses("column Emotion appears twice", where=f"{table}:1"):
        recognise(table, {}, {})


@pytest.mark.parametrize("word", ["#N/A", "nan", "NULL"])
def test_a_cell_that_means_missing_is_no_speaker(rows, tmp_path, init, word):
    rows[0][1] = rows[1][1] = word
    rows[2][2] = "none"
    code, text = init(write_table(tmp_path / "t.xlsx", rows))
    assert code == 1
    assert "20 rows, 4 speakers" in text
    assert f"t.xlsx:2: speaker is empty ({word})" in text
    assert "t.xlsx:4: emotion is empty (none)" in text
    assert "none" in recognise(tmp_path / "t.xlsx", {}, {"none": "neutral"}).labels


@pytest.mark.parametrize("cells", [("train", "Dev", "test", "train"), ("train", "valid", "test", "")])
def test_a_split_of_the_table_is_used_also_if_cells_are_empty(rows, tmp_path, init, cells):
    part_of = dict(zip(("Anna", "Ben", "Cleo", "Dan"), cells, strict=True))
    split_rows = [[*row[:3], part_of[row[1]]] for row in rows]
    code, text = init(write_table(tmp_path / "t.csv", split_rows, ("path", "speaker", "emotion", "subset")))
    protocol = yaml.safe_load((tmp_path / "mine" / "conf" / "corpora" / "mine.yaml").read_text())
    assert protocol["splits"] == {"strict": {"given": True}}
    assert code == ("" in cells)
    assert ("no split is given, nor for 3 other utterances; give one" in text) == ("" in cells)


def test_all_problems_are_reported_at_once(rows, tmp_path, init):
    (tmp_path / rows[0][0]).unlink()
    (tmp_path / rows[1][0]).write_bytes(b"no sound")
    soundfile.write(tmp_path / rows[3][0], soundfile.read(tmp_path / rows[2][0])[0], 8000)  # of another label
    table = write_table(tmp_path / "liste.csv", [*rows, ["too", "few"]])
    code, text = init(table)
    assert code == 1
    for part in (rows[0][0], rows[1][0], "equal audio", "2 fields, but 4 columns", "mine: not complete"):
        assert part in text
    assert (tmp_path / "mine" / "run.sh").is_file()


def test_equal_recordings_under_two_ids_are_counted(rows, tmp_path, init):
    soundfile.write(tmp_path / "again.wav", soundfile.read(tmp_path / rows[2][0])[0], 8000)
    table = write_table(tmp_path / "liste.csv", [*rows, ["again.wav", *rows[2][1:]]])
    code, text = init(table)
    assert code == 0
    assert "mine: complete; 1 recordings are listed twice, under two ids" in text


def test_columns_and_labels_by_hand(rows, tmp_path):
    table = write_table(tmp_path / "t.csv", rows, ("A", "B", "C", "D"))
    columns = {"path": "A", "speaker": "B", "emotion": "C"}
    recognised = recognise(table, columns, {"gemischt": "mixed", "traurig": ""})
    assert recognised.columns == columns
    assert recognised.labels == {**EMOTIONS, "traurig": None, "gemischt": "mixed"}
    with pytest.raises(
        InputError,
        match=r"t\.csv: no column for path was found.*no column for emotion was found.*--column path=",
    ):
        recognise(table, {"speaker": "B"}, {})
    with pytest.raises(InputError, match=r"t\.csv: --column emotion=Gefuehl: .* has no such column"):
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
    table = write_table(tmp_path / "t.csv", [[f"{i}.wav", f"s{i}", label, ""] for i, label in enumerate(labels)])
    assert list(recognise(table, {}, {}).labels.values()) == ["angry", "happy", "neutral", "sad"]


def test_tables_without_a_possible_recipe_are_refused(rows, tmp_path, init):
    table = write_table(tmp_path / "t.csv", [row for row in rows if row[1] in ("Anna", "Ben")])
    for name, given, words in (
        ("Mine", table, "a name of lower-case letters"),
        ("mine", table, "2 speakers; to train, validate and test on other speakers takes three"),
        ("mine", tmp_path / "none.csv", "no such file"),
        ("mine", write_table(tmp_path / "u.csv", [["a", "b", "c", "d"]]), "labels of 0 classes were recognised"),
    ):
        code, text = init(given, name=name)
        assert code == 1
        assert words in text
        assert not (tmp_path / "mine").exists()


def test_sheets_that_are_not_read_are_named(tmp_path, rows, capsys):
    book = load_workbook(write_table(tmp_path / "t.xlsx", rows))
    book.active.title = "all"
    book.create_sheet("notes", 0)
    book.create_sheet("empty")
    book.save(tmp_path / "t.xlsx")
    with pytest.warns(match="t.xlsx: only its first sheet, notes, is read, not all$"):
        assert main(["init-corpus", "mine", str(tmp_path / "t.xlsx"), "--out", str(tmp_path / "mine")]) == 1
    assert "t.xlsx: empty; " in capsys.readouterr().err


def test_formulas_that_nothing_has_computed_are_named(tmp_path, rows, capsys):
    table = write_table(tmp_path / "t.xlsx", [[*row[:2], f'=LOWER("{row[2]}")', "x"] for row in rows])
    with pytest.warns(match=f"{table}: holds formulas without their values; "):
        assert main(["init-corpus", "mine", str(table), "--out", str(tmp_path / "mine")]) == 1
    assert "labels of 0 classes were recognised" in capsys.readouterr().err


def test_utf_16_without_a_mark_is_no_utf_8(init, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("path,speaker,emotion\na.wav,s,sad\n", encoding="utf-16-le")
    assert init(table)[1].startswith(f"error: {table}:1: not UTF-8 text; ")
