"""Stage 1 on a small corpus in the layout of RAVDESS, with damage as in real copies."""

import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import refuses, write_noise
from lab import Lab

from ser.common import InputError, read_json
from ser.corpora.describe import incompleteness
from ser.corpora.kaldi import read_table, validate
from ser.corpora.prepare import prepare_corpus
from ser.corpora.preparers import load_preparer
from ser.corpora.protocol import read_protocol


def times(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def make_dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("../.git/annex/objects/x")


DAMAGE = {
    "truncated: 2500 of 4800 samples; replace it by an intact copy": lambda p: p.write_bytes(p.read_bytes()[:5044]),
    "empty file; replace it by an intact copy": lambda p: p.write_bytes(b""),
    "silence from end to end; replace it by an intact copy": lambda p: soundfile.write(p, np.zeros(4800), 16000),
    "holds no samples; replace it by an intact copy": lambda p: soundfile.write(p, np.zeros(0), 16000),
    "sample 0 is not a number; replace it by an intact copy": lambda p: soundfile.write(
        p, np.full(4800, np.nan), 16000, subtype="FLOAT"
    ),
    "a git-lfs pointer, not audio: run `git lfs pull` in the corpus": lambda p: p.write_text(
        "version https://git-lfs.github.com/spec/v1\n"
    ),
    "no such file, but a link to none": make_dangling_link,
}


@pytest.mark.parametrize("words", DAMAGE)
def test_a_damaged_file_is_one_line_or_left_out_until_it_is_fixed(small, one_line, words):
    victim = small.file(7, "03")
    intact = victim.read_bytes()
    DAMAGE[words](victim)
    line = one_line(small.command())
    assert line.startswith(f"error: {victim}: {words}")
    assert "--allow-partial true" in line
    assert small.written() == []
    assert "119 utterances of 24 speakers; 95 in the classes (angry 24, happy 23," in small.prepare(allow_partial=True)
    assert small.left_out()["ravdess_07-03-01-03-01-01-01-07"].startswith(f"{victim}: {words}")
    assert "ravdess_07-03-01-03-01-01-01-07" not in read_table(small.out / "strict_fold1/train/wav.scp")
    victim.unlink()
    victim.write_bytes(intact)
    assert "120 utterances of 24 speakers; 96 in the classes" in small.prepare()


def test_several_damaged_files_are_counted(small):
    for actor in range(1, 8):
        small.file(actor, "03").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        small.prepare()
    *lines, last = str(caught.value).splitlines()
    assert [line.strip().split(";")[0] for line in lines] == [f"{small.file(a, '03')}: empty file" for a in range(1, 6)]
    assert last.strip() == "... and 2 more (or go on without with --allow-partial true)"


def test_counts_are_printed_and_written(small_ravdess):
    small = small_ravdess(stereo={(1, "03"), (2, "02")})
    summary = small.prepare()
    assert summary.splitlines() == [
        "ravdess: 120 utterances of 24 speakers; "
        "96 in the classes (angry 24, happy 24, neutral 24, sad 24), 0.008 hours",
        "  rates 16000 Hz: 120; 2 of several channels, mixed down; 24 left out (left_out.tsv)",
        "  0 of 24 speakers have one class only, normalised mutual information of speaker and class 0.00, "
        "largest share of a speaker in a class 4% (ravdess_01 in angry)",
    ]
    report = read_json(small.out / "report.json")
    assert report["found"]["labels"] == {"angry": 24, "calm": 24, "happy": 24, "neutral": 24, "sad": 24}
    assert report["missing"] == []
    assert (report["utterances"], report["stereo"], report["duplicates"], report["hidden"]) == (120, 2, 0, 0)
    assert small.left_out() == {f"ravdess_{a:02d}-03-01-02-01-01-01-{a:02d}": "label calm is in no class"
                               for a in range(1, 25)}  # fmt: skip


def test_a_second_run_changes_nothing(small):
    first = small.prepare()
    before = times(small.out.parent)
    assert small.prepare() == f"ravdess: up to date\n{first}"
    assert times(small.out.parent) == before


@pytest.mark.parametrize("what", ["file", "protocol", "labels", "added", "part", "manifest"])
def test_a_change_prepares_the_corpus_again(small, what):
    small.prepare()
    words = "96 in the classes (angry 24, happy 24, neutral 24, sad 24)"
    if what == "file":
        write_noise(small.file(1, "03"), 1, seconds=0.5)
    elif what == "protocol":
        small.protocol_path.write_text(small.protocol_path.read_text() + "# a comment\n")
    elif what == "labels":
        small.edit(lambda values: values["labels"].update(calm="neutral"))
        words = "120 in the classes (angry 24, happy 24, neutral 48, sad 24)"
    elif what == "added":
        write_noise(small.file(1, "03", "02"), 1)
        small.edit(lambda values: values.update(expected={}))
        words = "97 in the classes (angry 24, happy 25, neutral 24, sad 24)"
    elif what == "part":
        shutil.rmtree(small.out / "strict_fold2" / "valid")
    else:
        (small.out / "supervisions.jsonl.gz").unlink()
    (small.out / "stale").touch()
    summary = small.prepare()
    assert words in summary
    assert "up to date" not in summary
    assert not (small.out / "stale").exists()
    assert small.written() == ["ravdess"]
    assert "up to date" in small.prepare()
    parts = read_json(small.out / "report.json")["parts"]
    assert parts == {name: validate(small.out / name) for name in parts}
    assert len(parts) == 21


@pytest.mark.parametrize("seconds", [0.3, 0.4])
def test_a_second_copy_with_other_content_names_both(small, seconds):
    other = small.corpus / "inner" / "Actor_01" / small.file(1, "03").name
    write_noise(other, 99, seconds)
    small.refused(other, f"the same utterance as {small.file(1, '03')}", "with other content", "remove the wrong one")
    small.refused(other, "with other content", allow_partial=True)


def make_lab(tmp_path, names: str, code: str) -> Lab:
    """Make a lab whose preparer yields, for the file of each letter, the utterance that an expression gives."""
    lab = Lab(tmp_path, "lab")
    lab.write(splits={"paper": {"train": ["s"], "valid": [], "test": []}})
    lab.write_preparer(
        "from ser.corpora import Utterance\n"
        "def utterances(corpus_dir):\n"
        f"    for name in {names!r}:\n"
        f"        yield {code}\n"
    )
    for name in names:
        lab.noise(f"{name}.wav")
    return lab


def test_a_preparer_that_takes_no_issues_cannot_leave_files_out(tmp_path):
    code = "from ser.corpora import audio_files; import re; list(audio_files(corpus_dir, re.compile('a.wav')))"
    lab = make_lab(tmp_path, "ab", f"exec({code!r})")
    with refuses(where=lab.corpus / "b.wav", fix="utterances(corpus_dir, issues)"):
        lab.prepare()
    with refuses(where=lab.corpus / "b.wav", fix="utterances(corpus_dir, issues) and audio_files(..., issues)"):
        lab.prepare(allow_partial=True)


MISTAKES = [
    ("def utterances(corpus_dir)\n    pass\n", "prepare_lab.py:1: expected ':'; fix the preparer"),
    ("import nosuchmodule\n", "prepare_lab.py:1: ModuleNotFoundError: No module named 'nosuchmodule'; fix"),
    ("def utterances(d):\n    x = 1\n    yield x.y\n", "prepare_lab.py:3: AttributeError: 'int' object has"),
    ("def utterances(d):\n    pass\n", "prepare_lab.py: utterances(corpus_dir) gives None; it is to yield"),
    ("def utterances(d):\n    yield {}\n", "prepare_lab.py: utterances(corpus_dir) yields {}, which is no Utt"),
    ("'y-1', path, 'y', 'sad', gender='male'", "a.wav: gender 'male' is not f, m or empty; fix the preparer"),
    ("'x-1', path, 'y', 'sad'", "utterance id x-1 does not start with its speaker y and a dash; fix the preparer"),
    ("'y-1 2', path, 'y', 'sad'", "'y-1 2' cannot name an utterance or a speaker, which have no spaces; fix the"),
]


@pytest.mark.parametrize(("code", "message"), MISTAKES)
def test_a_mistake_in_a_preparer_is_one_line(tmp_path, code, message):
    lab = make_lab(tmp_path, "a", f"Utterance({code})".replace("path", "corpus_dir / 'a.wav'"))
    if not code.startswith("'"):
        lab.write_preparer(code)
    assert "\n" not in lab.refused(message)


def test_a_second_copy_under_another_label_names_both(tmp_path):
    lab = make_lab(
        tmp_path, "ab", "Utterance('s-1', corpus_dir / f'{name}.wav', 's', 'sad' if name == 'a' else 'happy')"
    )
    shutil.copy(lab.corpus / "a.wav", lab.corpus / "b.wav")
    lab.refused(f"{lab.corpus}/b.wav: the same utterance as {lab.corpus}/a.wav (s-1) with label happy in place of sad")


def test_a_partial_copy_reports_what_is_missing(small):
    shutil.rmtree(small.corpus / "Actor_24")
    words = f"{small.corpus}: not the complete RAVDESS: 115 of 120 utterances, 23 of 24 speakers, 23 of 24 neutral, "
    small.refused(words, "complete it (from https://zenodo.org/records/1188976", "or go on with --allow-partial true")
    summary = small.prepare(allow_partial=True)
    assert "115 utterances of 23 speakers" in summary
    assert "  partial copy: 115 of 120 utterances, 23 of 24 speakers" in summary
    assert len(read_json(small.out / "report.json")["missing"]) == 7
    (small.corpus / "Actor_01" / "03-01-01-01-01-01-01.wav").write_bytes(b"RIFF")
    small.prepare(allow_partial=True)
    lacking = incompleteness(small.out)
    assert (lacking[0], lacking[-1]) == ("115 of 120 utterances", "1 utterances cannot be used")
    # the prepared partial copy does not count as complete
    with refuses("not the complete RAVDESS"):
        small.prepare()


def test_a_corpus_without_readable_files_is_an_error_also_if_partial(small):
    for path in small.corpus.rglob("*.wav"):
        path.write_bytes(b"")
    small.refused(f"{small.corpus}: no utterance that can be read is in a class", allow_partial=True)


def test_a_part_without_utterances_is_refused(small):
    for path in small.corpus.glob("Actor_0[12]/*"):
        path.unlink()
    small.edit(lambda values: values.update(expected={}))
    with refuses("splits: paper: ravdess_01"):
        small.prepare()
    small.prepare(allow_partial=True)
    assert not (small.out / "paper_fold1" / "test").exists()
    assert validate(small.out / "paper_fold1" / "valid") == 20


def test_equal_audio_under_two_labels_is_refused_until_both_are_dropped(small):
    one, other = small.file(6, "03"), small.file(6, "04")
    shutil.copy(one, other)
    small.refused(f"{one} and {other}: equal audio with two labels; name both under `drop` in {small.protocol_path}")
    keys = [f"ravdess_06-{path.stem}" for path in (one, other)]
    small.edit(lambda values: values.update(drop=dict.fromkeys(keys, "equal audio, two labels")))
    assert "118 utterances of 24 speakers; 94 in the classes" in small.prepare()
    assert [small.left_out()[key] for key in keys] == ["equal audio, two labels"] * 2


@pytest.mark.parametrize(
    ("actor", "emotion", "words"),
    [(6, "04", "equal audio with two labels"), (7, "03", "equal audio of two speakers; name one under `drop`")],
)
def test_equal_samples_in_files_that_differ_are_equal_audio(small, actor, emotion, words):
    one, other = small.file(6, "03"), small.file(actor, emotion)
    content = one.read_bytes() + b"LIST" + struct.pack("<I", 4) + b"INFO"
    other.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])
    small.refused(f"{one} and {other}: {words}")


def test_a_damaged_report_is_removed_as_it_states(small):
    small.prepare()
    report = small.out / "report.json"
    report.write_text("{")
    with refuses("not readable as JSON", where="report.json", fix="remove it and run its stage again"):
        small.prepare()
    report.unlink()
    small.prepare()
    assert read_json(report)["utterances"] == 120


def test_an_empty_folder_can_be_written(small):
    small.out.mkdir(parents=True)
    small.prepare()
    assert validate(small.out / "paper_fold1" / "test") == 8


def test_equal_audio_of_one_speaker_and_label_is_counted_and_listed(small_ravdess):
    small = small_ravdess(sentences=("01", "02"))
    pairs = [(small.file(actor, "03", "01"), small.file(actor, "03", "02")) for actor in (7, 8)]
    for one, other in pairs:
        shutil.copy(one, other)
    summary = small.prepare()
    assert "240 utterances of 24 speakers; 192 in the classes" in summary
    assert "2 utterances have the samples of another one" in summary
    names = [tuple(f"ravdess_{path.stem[-2:]}-{path.stem}" for path in (other, one)) for one, other in pairs]
    listed = (small.out / "equal_audio.tsv").read_text().splitlines()
    assert [tuple(line.split("\t")) for line in listed] == names
    assert read_json(small.out / "report.json")["equal_audio"] == 2


def test_equal_audio_under_two_labels_is_left_out_of_a_partial_copy(small):
    one, other = small.file(6, "03"), small.file(6, "04")
    shutil.copy(one, other)
    small.prepare(allow_partial=True)
    keys = {f"ravdess_06-{path.stem}" for path in (one, other)}
    assert keys <= small.left_out().keys()
    assert not keys & set(read_table(small.out / "strict_fold1" / "train" / "utt2spk"))


@pytest.mark.parametrize(
    ("change", "named", "near"),
    [
        (
            lambda v: v.update(drop={"ravdess_06-03-01-03-01-01-01-66": "noisy"}),
            "drop: ravdess_06-03-01-03-01-01-01-66",
            "ravdess_06-03-01-03-01-01-01-06",
        ),
        (lambda v: v["splits"]["paper"]["train"].append("ravdess_077"), "splits: paper: ravdess_077", "ravdess_07"),
        (lambda v: v["splits"]["strict"]["groups"][0].append("ravdess21"), "splits: strict: ravdess21", "ravdess_21"),
        (
            lambda v: v["splits"]["paper"].update(
                texts={"train": ["ravdess_01", "ravdess_99"], "valid": [], "test": []}
            ),
            "splits: paper: texts: ravdess_99",
            "ravdess_01",
        ),
    ],
)
def test_a_name_that_the_corpus_does_not_know_is_refused_with_the_nearest(small, change, named, near):
    small.edit(change)
    with refuses(where=f"{small.protocol_path}: {named}", fix=near):
        small.prepare()
    run = small.command("--check", "true")
    assert run.returncode == 1
    assert named in run.stdout


def test_an_unknown_name_is_reported_of_a_partial_copy(small):
    small.edit(lambda v: v.update(drop={"ravdess_06-gone": "noisy"}))
    assert "drop: ravdess_06-gone" in small.prepare(allow_partial=True)


def test_a_file_replaced_with_equal_size_and_time_is_prepared_again(small):
    small.prepare()
    path = small.file(6, "03")
    state = path.stat()
    write_noise(path, 999)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)
    assert "up to date" not in small.prepare()
    assert "up to date" in small.prepare()


def test_files_of_other_modalities_and_second_copies_are_left_out_of_a_partial_copy_alone(small):
    one = small.file(6, "03")
    unmatched = [
        one.with_name(f"01{one.name[2:]}"),
        one.with_name(f"02{one.name[2:]}"),
        one.with_name(f"{one.stem} (1).wav"),
    ]
    for path in unmatched:
        shutil.copy(one, path)
    with refuses(where=unmatched[0]):
        small.prepare()
    assert "3 audio files whose names do not follow" in small.prepare(allow_partial=True)
    assert {str(path) for path in unmatched} <= small.left_out().keys()
    assert read_json(small.out / "report.json")["stray"] == 3


@pytest.mark.parametrize(("start", "end"), [("-0.1", "0.2"), ("0.2", "0.1"), ("float('nan')", "0.2")])
def test_an_impossible_segment_is_left_out_of_a_partial_copy(tmp_path, start, end):
    times = f"start={start} if name == 'a' else 0.0, end={end} if name == 'a' else 0.2, recording='s_' + name"
    lab = make_lab(tmp_path, "abc", f"Utterance('s-' + name, corpus_dir / (name + '.wav'), 's', 'sad', {times})")
    with refuses("s-a starts at"):
        lab.prepare()
    assert "  1 lines of tables that cannot be used left out (left_out.tsv)" in lab.prepare(allow_partial=True)
    assert "s-a starts at" in (lab.out / "left_out.tsv").read_text()


@pytest.mark.parametrize("allow_partial", [False, True])
def test_why_no_file_is_of_the_corpus_is_said_also_if_some_may_be_left_out(tmp_path, allow_partial):
    folder = tmp_path / "emodb"
    folder.mkdir()
    (folder / "03a01Fa.mp3").touch()
    with refuses("none of its 1 audio files has a name of the corpus", where="emodb"):
        prepare_corpus(
            load_preparer("emodb"), read_protocol("emodb"), folder, tmp_path / "data" / "emodb", allow_partial
        )
