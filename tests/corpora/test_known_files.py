"""Files that have not changed are not read again; many are read by several processes."""

import gzip
import json
import os
from pathlib import Path

import pytest
from conftest import refuses, write_noise

from ser.common import InputError
from ser.corpora import Utterance, validation
from ser.corpora.known_files import FILES
from ser.corpora.splits import Fold


@pytest.fixture
def small(small_ravdess):
    ravdess = small_ravdess(sentences=("01", "02"))
    ravdess.prepare()
    return ravdess


@pytest.fixture
def opened(monkeypatch):
    """The files that are read."""
    paths = []

    def read(path, *stretch):
        paths.append(path)
        return read_audio(path, *stretch)

    read_audio = validation.read_audio
    monkeypatch.setattr(validation, "read_audio", read)
    return paths


def tables(small) -> dict[str, bytes]:
    """Everything that stage 1 wrote, by name."""
    return {
        str(path.relative_to(small.out)): gzip.decompress(data) if path.suffix == ".gz" else data
        for path in sorted(small.out.rglob("*"))
        if path.is_file() and (data := path.read_bytes())
    }


def test_another_label_reads_no_file(small, opened):
    small.edit(lambda values: values["labels"].update(calm="neutral"))
    before = tables(small)
    assert "up to date" not in small.prepare()
    assert opened == []
    after = tables(small)
    assert before["supervisions.jsonl.gz"] != after["supervisions.jsonl.gz"]
    assert "up to date" in small.prepare()
    assert opened == []
    assert "up to date" not in small.prepare(recheck=True)
    assert len(opened) == 240
    assert tables(small) == after


def test_only_changed_and_new_files_are_read(small, opened):
    write_noise(small.file(3, "03"), 77)
    small.file(4, "03").rename(small.corpus / "03-01-03-01-01-01-04.wav")
    small.prepare()
    assert sorted(opened) == sorted([small.file(3, "03"), small.corpus / "03-01-03-01-01-01-04.wav"])


def test_recheck_finds_content_that_changed_without_new_times(small, monkeypatch):
    """This can happen on the disk of another machine whose clock is behind."""
    path, state = small.file(5, "04"), os.stat(small.file(5, "04"))
    before = tables(small)["supervisions.jsonl.gz"]
    write_noise(path, 78)
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda p, **k: state if os.fspath(p) == str(path) else stat(p, **k))
    assert "up to date" in small.prepare()
    small.edit(lambda values: values.update(note="changed"))
    small.prepare()
    assert tables(small)["supervisions.jsonl.gz"] == before
    small.prepare(recheck=True)
    assert tables(small)["supervisions.jsonl.gz"] != before


@pytest.mark.parametrize("what", ["cut", "text", "type", "fields", "version"])
def test_a_damaged_table_is_not_used(small, opened, what):
    path, before = small.out / FILES, tables(small)
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    for row in rows:
        if what == "type":
            row["items"][0][3] = "8000"
        if what == "fields":
            row["items"][0].pop()
        if what == "version":
            row["version"][0] += 1
    text = "no table" if what == "text" else "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(path.read_bytes()[:-9] if what == "cut" else gzip.compress(text.encode()))
    (small.out / "left_out.tsv").unlink()
    small.prepare()
    assert len(opened) == 240
    assert tables(small) == before


def test_several_processes_give_the_same_result_as_one(small, small_ravdess, tmp_path, monkeypatch):
    before = tables(small)
    monkeypatch.setattr(validation, "FILES_A_JOB", 100)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    small.prepare(recheck=True, jobs=8)
    assert tables(small) == before
    small.file(7, "05").write_bytes(b"RIFF")
    with pytest.raises(InputError, match=small.file(7, "05").name):
        small.prepare(recheck=True, jobs=2)
    assert tables(small) == before


def test_a_killed_process_is_an_error_of_one_line(small, monkeypatch):
    class Pool:
        def __init__(self, *_): ...
        def __enter__(self):
            return self

        def __exit__(self, *_): ...
        def map(self, *_, **__):
            raise validation.BrokenProcessPool
            yield

    monkeypatch.setattr(validation, "FILES_A_JOB", 100)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(validation, "ProcessPoolExecutor", Pool)
    with refuses(where="ravdess", fix="--nj"):
        small.prepare(recheck=True, jobs=2)


def test_who_belongs_to_a_part_of_a_fold():
    ana, ana_alone, bia = (
        Utterance(f"{s}-{t}", Path("x"), s, "sad", text_id=t) for s, t in (("a", "t1"), ("a", ""), ("b", "t1"))
    )
    fold = Fold({"train": ["a"], "valid": ["b"], "test": [], "texts": {"train": ["t2"], "valid": ["t1"], "test": []}})
    assert [fold.part_of(u) for u in (ana, ana_alone, bia)] == ["train", "train", "valid"]
    assert [fold.holds("train", u) for u in (ana, ana_alone, bia)] == [False, True, False]
    assert [fold.holds("valid", u) for u in (ana, ana_alone, bia)] == [False, False, True]
    assert Fold({"train": ["a"], "valid": [], "test": []}).part_of(bia) is None
