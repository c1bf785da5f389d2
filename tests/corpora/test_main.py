"""steps/prepare.py as a user runs it."""

import os
from pathlib import Path

import programs
import pytest
from conftest import ROOT
from lhotse import CutSet

from ser.common import read_json
from ser.corpora.cuts import read_cuts
from ser.corpora.kaldi import read_table


@pytest.mark.parametrize("name", ["with a space", "Ação é", "it's [a] $dir"])
def test_odd_folder_names(tmp_path, small_ravdess, name):
    small = small_ravdess(tmp_path / name)
    run = small.command()
    assert (run.returncode, run.stderr) == (0, "")
    assert "96 in the classes" in run.stdout
    paths = read_table(small.out / "strict_fold1/test/wav.scp")
    assert paths["ravdess_01-03-01-03-01-01-01-01"] == str(small.file(1, "03"))
    assert CutSet.from_file(small.out / "cuts.jsonl.gz").to_eager()[0].load_audio().shape == (1, 4800)


def test_relative_folders(tmp_path, small_ravdess):
    small = small_ravdess(tmp_path / "a")
    run = small.command(corpus="corpus", out="data/ravdess", cwd=tmp_path / "a")
    assert (run.returncode, run.stderr) == (0, "")
    paths = read_table(small.out / "strict_fold1/test/wav.scp")
    assert paths["ravdess_01-03-01-03-01-01-01-01"] == str(small.file(1, "03"))
    assert {cut.path.parent.parent for cut in read_cuts(small.out / "cuts.jsonl.gz")} == {small.corpus}
    # the same folders by their full names are the same
    assert small.prepare().startswith("ravdess: up to date")


def test_missing_and_empty_folders(tmp_path, small, one_line):
    line = one_line(small.command(corpus=tmp_path / "none"))
    start = f"error: {tmp_path / 'none'}: no such folder or table; fix the path (RAVDESS can be had from https://zenodo"
    assert line.startswith(start)
    (tmp_path / "empty").mkdir()
    line = one_line(small.command(corpus=tmp_path / "empty"))
    assert line.startswith(f"error: {tmp_path / 'empty'}: holds no audio files; give the folder")
    assert not small.out.parent.exists()


def test_stage_0_reports_where_the_corpus_is(tmp_path, small, one_line):
    run = small.command("--download", "true")
    assert (run.returncode, run.stdout) == (0, f"{small.corpus}: there already; nothing to fetch\n")
    assert not small.out.parent.exists()
    assert not list(small.corpus.parent.glob(".*.lock"))
    step = ROOT / "steps/prepare.py"
    line = one_line(programs.run(step, "--download", "true", "customer_ptbr", tmp_path / "none"))
    assert line.startswith(f"error: {tmp_path / 'none'}: no such")
    assert "CustomerPTBR can be had from your own calls" in line


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v["splits"]["paper"]["test"].append("ravdess_07"), "speaker ravdess_07 is in train, test"),
        (
            lambda v: v["splits"]["paper"]["test"].remove("ravdess_01"),
            "speaker ravdess_01 is in no part of fold 1; add it to one",
        ),
    ],
)
def test_wrong_splits_at_the_command_line(small, one_line, change, words):
    small.edit(change)
    line = one_line(small.command())
    assert line.startswith(f"error: {small.protocol_path}: splits: paper: ")
    assert words in line
    assert not small.out.parent.exists()


def test_more_damage_at_the_command_line(small, one_line):
    unmatched = small.corpus / "take1.wav"
    unmatched.touch()
    assert one_line(small.command()).startswith(f"error: {unmatched}: the name does not follow the corpus's scheme")
    unmatched.unlink()
    small.file(1, "03").unlink()
    assert "119 of 120 utterances" in one_line(small.command())
    assert "equal" not in small.command("--allow-partial", "true").stderr
    assert read_json(small.out / "report.json")["utterances"] == 119


def test_a_file_in_the_way_of_the_output(small, one_line):
    small.out.parent.mkdir()
    small.out.write_text("mine")
    assert one_line(small.command()).startswith(f"error: {small.out}: a file is in the way; remove it, or")
    assert small.out.read_text() == "mine"
    line = one_line(small.command(out=small.out / "below"))
    assert line.startswith(f"error: {small.out / 'below'}: cannot be written (")


def test_a_folder_that_cannot_be_written(small_ravdess, one_line):
    line = one_line(small_ravdess().command(out="/proc/ravdess"))
    assert line.startswith("error: /proc/ravdess: cannot be written (")


def test_a_folder_of_something_else_is_not_replaced(tmp_path, small, one_line):
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")
    assert "holds something else than a prepared corpus" in one_line(small.command(out=home))
    assert (home / "thesis.tex").read_text() == "years of work"
    for folder in (small.corpus, tmp_path, "."):
        line = one_line(small.command(out=folder, cwd=small.corpus))
        assert "holds the corpus and would be replaced; give another folder to write" in line
    assert small.file(1, "03").is_file()


def test_a_path_that_kaldis_tables_cannot_hold(small, one_line):
    for name in (b"Actor_\xe7", b"Actor\n01"):
        renamed = Path(os.fsdecode(os.fsencode(small.corpus) + b"/" + name))
        (small.corpus / "Actor_01").rename(renamed)
        assert "a path that is no line of UTF-8 text; rename it" in one_line(small.command())
        renamed.rename(small.corpus / "Actor_01")


def test_a_wav_from_a_pipe_is_one_line_of_warning(small):
    path = small.file(1, "03")
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff" * 4
    path.write_bytes(content)
    run = small.command()
    assert run.returncode == 0
    assert run.stderr == f"warning: {path}: the header gives no size; read to the end of the file\n"
    assert "120 utterances of 24 speakers" in run.stdout
