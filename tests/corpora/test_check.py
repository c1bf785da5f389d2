"""steps/prepare.py --check true lists all issues of a corpus, and writes nothing."""

import os
import shutil
import struct

import numpy as np
import programs
import soundfile
from conftest import ROOT, write_noise
from lab import LABELS, Lab

from ser.common import read_json


def sections(text):
    """Split a report: heading -> lines below it."""
    lines, heading = {}, ""
    for line in text.splitlines():
        if line.startswith("    "):
            lines[heading].append(line.strip())
        else:
            heading = line.strip()
            lines[heading] = []
    return lines


def test_a_complete_corpus(small):
    before = sorted(small.corpus.parent.rglob("*"))
    run = small.command("--check", "true")
    assert (run.returncode, run.stderr) == (0, "")
    labels = "(angry 24, calm 24, happy 24, neutral 24, sad 24)"
    assert run.stdout.splitlines() == [
        f"RAVDESS in {small.corpus}",
        "  should hold: 120 utterances, 24 speakers (neutral 24, calm 24, happy 24, sad 24, angry 24)",
        f"  holds: 120 utterances, 24 speakers {labels}",
        "ravdess: complete",
    ]
    assert sorted(small.corpus.parent.rglob("*")) == before


def test_all_issues_are_listed_at_once(small):
    small.edit(lambda values: values.update(drop={"ravdess_03-03-01-04-01-01-01-03": "noisy"}))
    shutil.rmtree(small.corpus / "Actor_24")
    small.file(23, "03").unlink()
    small.file(1, "03").write_bytes(b"")
    small.file(1, "04").write_bytes(small.file(1, "04").read_bytes()[:5044])
    soundfile.write(small.file(2, "03"), np.zeros(4800), 16000)
    shutil.copy(small.file(5, "03"), small.file(5, "04"))
    shutil.copytree(small.corpus / "Actor_06", small.corpus / "again" / "Actor_06")
    content = small.file(7, "03").read_bytes() + b"LIST" + struct.pack("<I", 4) + b"INFO"
    (small.corpus / "again" / small.file(7, "03").name).write_bytes(content)
    (small.corpus / "take1.wav").touch()
    small.file(8, "03").rename(small.file(8, "09"))
    (small.corpus / "Actor_01" / f"._{small.file(1, '05').name}").write_bytes(b"\0\5\26\7")
    (small.corpus / "readme.txt").touch()
    run = small.command("--check", "true")
    assert (run.returncode, run.stderr) == (1, "")
    assert not small.out.parent.exists()
    lists = sections(run.stdout)
    assert lists["5 second copies of equal content, skipped:"][0].endswith("again/Actor_06/03-01-01-01-01-01-06.wav")
    assert lists["1 hidden files, skipped:"] == [f"{small.corpus}/Actor_01/._03-01-05-01-01-01-01.wav"]
    assert lists["1 utterances dropped by ravdess.yaml, skipped:"] == ["ravdess_03-03-01-04-01-01-01-03"]
    assert lists["1 files that are no utterances, skipped:"] == [f"{small.corpus}/readme.txt"]
    assert lists["stray files: 1"][0].startswith(f"{small.corpus}/take1.wav: the name does not follow")
    assert "with other content" in lists["one id, other content: 1"][0]
    assert lists["unknown labels: 1"][0].startswith(f"{small.file(8, '09')}: unknown label '09'")
    assert sorted(line.split(": ")[0] for line in lists["unreadable: 2"]) == [
        str(small.file(1, "03")),
        str(small.file(1, "04")),
    ]
    assert lists["silent: 1"][0].startswith(f"{small.file(2, '03')}: silence from end to end")
    assert lists["equal audio: 1"][0].endswith(
        f"equal audio with two labels; name both under `drop` in {small.protocol_path}"
    )
    missing = lists[next(heading for heading in lists if heading.startswith("missing"))]
    assert missing[:2] == ["113 of 120 utterances", "23 of 24 speakers"]
    assert run.stdout.splitlines()[-1].startswith("ravdess: not complete: ")


def test_what_is_missing_is_reported_by_label_and_speaker(small, monkeypatch):
    shutil.rmtree(small.corpus / "Actor_24")
    for emotion in ("03", "04"):
        small.file(7, emotion).unlink()
    lists = sections(small.command("--check", "true").stdout)
    lines = lists["missing: 9"]
    assert lines[:5] == [
        "113 of 120 utterances",
        "23 of 24 speakers",
        "23 of 24 neutral",
        "23 of 24 calm",
        "22 of 24 happy",
    ]
    assert lines[5] == "... and 4 more"
    monkeypatch.setattr("ser.corpora.check.MAX_SHOWN", 20)
    text, complete = small.check()
    assert not complete
    assert "    ravdess_24: no utterances" in text
    assert "    ravdess_07: 3 of 5 utterances (0 of 1 happy, 0 of 1 sad)" in text


def test_the_edition_is_printed_and_written_to_the_report(small):
    one = small.protocol.expected
    more = {"utterances": 121, "speakers": 24, "labels": {**one["labels"], "happy": 25}}
    small.edit(lambda values: values.update(expected={"first": dict(one), "second": more}))
    text = small.command("--check", "true").stdout
    assert "  should hold (second): 121 utterances" in text
    assert "  holds (first): 120 utterances" in text
    assert small.prepare().startswith("ravdess (first): 120 utterances")
    assert read_json(small.out / "report.json")["edition"] == "first"
    write_noise(small.file(1, "03", "02"), 1)
    assert small.prepare().startswith("ravdess (second): 121 utterances")
    write_noise(small.file(2, "03", "02"), 2)
    run = small.command()
    words = "more than the complete RAVDESS (second): 122 of 121 utterances, 26 of 25 happy; if it has grown"
    assert words in run.stderr


def test_a_folder_without_audio(tmp_path, small):
    (tmp_path / "empty").mkdir()
    run = small.command("--check", "true", corpus=tmp_path / "empty")
    assert run.returncode == 1
    assert "holds no audio files; give the folder that holds the corpus" in run.stdout
    assert "0 of 120 utterances" in run.stdout


def test_a_table_with_many_mistakes(tmp_path):
    lab = Lab(tmp_path, "csv")
    rows = ["path,speaker,emotion,start"]
    for speaker in "abc":
        for label in LABELS:
            lab.noise(f"{speaker}{label}.wav")
            rows.append(f"{speaker}{label}.wav,{speaker},{label},")
    lab.table("x.csv", *rows)
    text, complete = lab.check()
    assert complete, text
    assert text.splitlines()[1] == f"  should hold: {lab.protocol.path} does not give it"
    lab.noise("unlisted.wav")
    lab.table(
        "x.csv", *rows, "none.wav,a,sad,", "asad.wav,a,sadd,", "asad.wav,a", "asad.wav,a,sad,x", "bsad.wav,b,sad,9"
    )
    run = lab.command("--check", "true")
    assert run.returncode == 1
    lists = sections(run.stdout)
    table = lab.corpus / "x.csv"
    assert [line.split(": ")[0] for line in lists["table: 2"]] == [f"{table}:16", f"{table}:17"]
    assert lists["missing files: 1"][0].startswith(f"{table}:14: {lab.corpus}/none.wav: no such file")
    assert lists["unknown labels: 1"][0].startswith(f"{table}:15: unknown label 'sadd' (did you mean sad?)")
    assert lists["segments: 1"][0].startswith(f"{table}:18: lab_b-bsad-009000-end lies between 9 s and the end")
    assert str(lab.corpus / "unlisted.wav") in lists["2 files that are no utterances, skipped:"]
    assert os.listdir(lab.root) != ["data"]
    assert not lab.out.exists()


def test_a_listing_that_stops_is_reported(tmp_path):
    lab = Lab(tmp_path, "csv")
    lab.table("x.csv", "path;emotion", "a.wav;sad")
    text, complete = lab.check()
    assert not complete
    lists = sections(text)
    assert lists["the list of utterances cannot be read further: 1"][0].startswith(
        f"{lab.corpus}/x.csv:1: column speaker is"
    )


def test_without_check_out_dir_is_required(tmp_path):
    run = programs.run(ROOT / "steps" / "prepare.py", "ravdess", tmp_path)
    assert run.returncode == 2
    assert "the folder to write is missing, such as data/ravdess" in run.stderr
