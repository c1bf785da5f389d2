import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path

import programs
import pytest
from conftest import ROOT, refuses

from ser.common import InputError
from ser.corpora.describe import (
    PreparedCorpus,
    UtteranceInfo,
    describe_corpora,
    draw_corpora,
    overview,
    protocol_hash,
    read_prepared,
    split_table,
)

FOLDS = [
    {"train": ["c_c"], "valid": ["c_b"], "test": ["c_a"]},
    {"train": ["c_a"], "valid": ["c_c"], "test": ["c_b"]},
]


def utterance(speaker, label="angry", emotion="angry", text="", seconds=1.0, gender="", language="en"):
    return UtteranceInfo(speaker, gender, language, label, emotion, text, seconds)


def prepared(utterances, folds):
    """Make corpus c with classes angry, happy and sad, and one split by speaker."""
    keys = {s: [k for k, u in utterances.items() if u.speaker == s and u.emotion] for s in _speakers(utterances)}
    splits = {
        number: {part: [key for s in speakers for key in keys[s]] for part, speakers in fold.items()}
        for number, fold in enumerate(folds, 1)
    }
    return PreparedCorpus("c", Path("data/c"), ["angry", "happy", "sad"], utterances, {"strict": splits})


def _speakers(utterances):
    return {u.speaker for u in utterances.values()}


@pytest.fixture
def small():
    """Three speakers a, b and c; fold k tests one of them."""
    utterances = {
        "a-1": utterance("c_a", text="x"),
        "a-2": utterance("c_a", "joy", "happy", text="y"),
        "a-3": utterance("c_a", "calm", None, text="y"),
        "b-1": utterance("c_b", text="x"),
        "b-2": utterance("c_b", text="z"),
        "c-1": utterance("c_c", "joy", "happy", text="y", seconds=5400.0),
    }
    return prepared(utterances, FOLDS)


@pytest.fixture
def copied(made, tmp_path):
    """A copy of a prepared corpus, which tests may damage."""
    return Path(shutil.copytree(made.data_root / "one", tmp_path / "data" / "one"))


def test_overview_counts_by_hand():
    """Durations of 1 to 21 s have percentiles 2, 11 and 20; utterances without a class do not count."""
    utterances = {f"a-{i}": utterance("c_a", seconds=float(i), gender="f") for i in range(1, 15)}
    utterances |= {f"b-{i}": utterance("c_b", "joy", "happy", "", float(i), "m", "pt") for i in range(15, 22)}
    utterances["b-99"] = utterance("c_b", "calm", None, "", 3600.0, "m")
    (row,) = overview([prepared(utterances, [{"train": ["c_a"], "test": ["c_b"]}])])
    assert row == {
        "corpus": "c",
        "speakers": "2 (women 1, men 1)",
        "language": "en, pt",
        "utterances": 22,
        "in classes": 21,
        "classes": "angry 14, happy 7, sad 0",
        "hours": "0.06",  # 231 s
        "seconds (5, 50, 95 %, longest)": "2.00, 11.00, 20.00, 21.00",
    }


@pytest.mark.parametrize(
    ("genders", "text"),
    [(("", ""), "2"), (("f", ""), "2 (women 1, unknown 1)"), (("m", "m"), "2 (men 2)")],
)
def test_speakers_of_unknown_gender(genders, text):
    utterances = {f"{s}-1": utterance(s, gender=gender) for s, gender in zip(("c_a", "c_b"), genders, strict=True)}
    (row,) = overview([prepared(utterances, [{"train": ["c_a"], "test": ["c_b"]}])])
    assert row["speakers"] == text


def test_split_table_counts_by_hand(small):
    rows = split_table(small, "strict")
    assert [(r["fold"], r["part"]) for r in rows] == [(f, p) for f in (1, 2) for p in ("train", "valid", "test")]
    assert [(r["utterances"], r["angry"], r["happy"], r["sad"]) for r in rows[:3]] == [
        (1, 0, 1, 0),
        (2, 2, 0, 0),
        (2, 1, 1, 0),
    ]
    assert [r["hours"] for r in rows[:3]] == ["1.50", "0.00", "0.00"]
    # train has text y; valid x and z; test x and y
    assert [r["texts in train"] for r in rows[:3]] == ["", "0 of 2", "1 of 2"]
    assert [(r["speakers"], r["who"]) for r in rows[:3]] == [(1, "c"), (1, "b"), (1, "a")]


def test_a_part_without_utterances_and_a_corpus_without_texts():
    corpus = prepared({"a-1": utterance("c_a"), "b-1": utterance("c_b")}, [{"train": ["c_a"], "valid": ["c_b"]}])
    train, valid, test = split_table(corpus, "strict")
    assert (test["utterances"], test["angry"], test["speakers"], test["who"]) == (0, 0, 0, "")
    assert {row["texts in train"] for row in (train, valid, test)} == {""}
    assert corpus.counts("strict", 1)["test"] == {"angry": 0, "happy": 0, "sad": 0}


def test_many_training_speakers_are_listed_only_if_they_are_not_all_others():
    utterances = {f"{i}-1": utterance(f"c_{i}") for i in range(10, 22)}
    names = sorted(_speakers(utterances))
    (train, _, test), left_out = (
        split_table(prepared(utterances, [{"train": names[:number], "test": names[11:]}]), "strict")
        for number in (11, 10)
    )
    assert (train["speakers"], train["who"], test["who"]) == (11, "the other 11", "21")
    assert left_out[0]["who"] == "10 11 12 13 14 15 16 17 18 19"


@pytest.mark.parametrize(
    ("names", "who"), [(("d_e_1", "d_e_x"), ["1", "x"]), (("d_e_1", "d_2"), ["d_e_1", "d_2"]), (("1", "2"), ["1", "2"])]
)
def test_the_common_prefix_of_speakers_is_left_out(names, who):
    corpus = prepared({f"{name}-1": utterance(name) for name in names}, [{"train": names[:1], "test": names[1:]}])
    assert [row["who"] for row in split_table(corpus, "strict") if row["speakers"]] == who


def test_the_output_of_stage_1_is_read(made):
    one = read_prepared(made.data_root / "one")
    assert (one.corpus, one.classes, len(one.utterances)) == ("one", ["angry", "happy", "neutral", "sad"], 48)
    assert list(one.splits) == ["strict"]
    assert list(one.splits["strict"]) == [1, 2, 3, 4]
    each = dict.fromkeys(one.classes, 3)
    assert one.counts("strict", 1) == {"train": dict.fromkeys(one.classes, 6), "valid": each, "test": each}
    rows = [row for row in split_table(one, "strict") if row["part"] == "test"]
    assert [row["who"] for row in rows] == ["one1", "one2", "one3", "one4"]
    two = read_prepared(made.data_root / "two")
    assert two.counts("strict", 1)["test"] == dict.fromkeys(two.classes, 0)
    row, _ = overview([one, two])
    assert row["speakers"] == "4 (women 2, men 2)"
    seconds = [u.seconds for u in one.utterances.values()]
    assert row["hours"] == f"{sum(seconds) / 3600:.2f}"
    assert row["seconds (5, 50, 95 %, longest)"].endswith(f"{max(seconds):.2f}")


def test_utterances_without_a_class_are_counted(small_ravdess):
    ravdess = small_ravdess()
    ravdess.prepare()
    corpus = read_prepared(ravdess.out)
    (row,) = overview([corpus])
    assert (row["utterances"], row["in classes"], row["speakers"]) == (120, 96, "24 (women 12, men 12)")
    assert row["seconds (5, 50, 95 %, longest)"] == "0.30, 0.30, 0.30, 0.30"
    assert split_table(corpus, "paper")[0]["who"] == "the other 17"
    assert split_table(corpus, "paper")[2]["who"] == "01 02"


def test_the_hash_names_labels_and_speakers_of_a_split(small):
    name = protocol_hash(small, "strict")
    assert len(name) == 10
    assert set(name) <= set("0123456789abcdef")
    # a partial copy, other durations and a further split do not change the hash
    fewer = {k: replace(u, seconds=2.0) for k, u in small.utterances.items() if k != "b-2"}
    assert protocol_hash(prepared(fewer, FOLDS), "strict") == name
    two = replace(small, splits={**small.splits, "paper": {1: small.splits["strict"][1]}})
    assert protocol_hash(two, "strict") == name != protocol_hash(two, "paper")
    # other classes, other parts of speakers, and utterances left out of a part change it
    mapped = {k: replace(u, emotion="sad") if u.label == "joy" else u for k, u in small.utterances.items()}
    moved = [{"train": ["c_b"], "valid": ["c_c"], "test": ["c_a"]}, FOLDS[1]]
    kept_out = {1: {**small.splits["strict"][1], "test": ["a-1"]}, 2: small.splits["strict"][2]}
    others = {
        protocol_hash(prepared(mapped, FOLDS), "strict"),
        protocol_hash(prepared(small.utterances, moved), "strict"),
        protocol_hash(replace(small, splits={"strict": kept_out}), "strict"),
    }
    assert len(others | {name}) == 4


def test_the_order_of_utterances_does_not_change_the_hash(small):
    turned = dict(reversed(small.utterances.items()))
    folds = {fold: {p: ids[::-1] for p, ids in parts.items()} for fold, parts in small.splits["strict"].items()}
    assert protocol_hash(replace(small, utterances=turned, splits={"strict": folds}), "strict") == protocol_hash(
        small, "strict"
    )


def test_the_text_has_every_table_and_hash(small):
    text = describe_corpora([small])
    assert f"c, split strict, protocol {protocol_hash(small, 'strict')}" in text.splitlines()
    assert text.endswith("No speaker is in two parts of a fold.")
    markdown = describe_corpora([small], "github").splitlines()
    assert markdown[0].startswith("## ")
    assert sum(line.startswith("|--") for line in markdown) == 2
    assert [cell.strip() for cell in markdown[-3].strip("|").split("|")][:4] == ["2", "test", "2", "2"]


def test_a_single_split_is_read(small_ravdess):
    ravdess = small_ravdess()
    ravdess.prepare()
    complete = read_prepared(ravdess.out)
    single = read_prepared(ravdess.out, "paper")
    assert (list(complete.splits), list(single.splits)) == (["strict", "paper"], ["paper"])
    assert protocol_hash(complete, "paper") == protocol_hash(single, "paper")
    with refuses("has no split pape; there is: strict, paper", where="ravdess"):
        read_prepared(ravdess.out, "pape")


def move_speaker(folder):
    """Add speaker one2 of the validation part to the test part."""
    test, valid = (folder / "strict_fold1" / part / "spk2utt" for part in ("test", "valid"))
    test.write_text(test.read_text() + valid.read_text())
    report = json.loads((folder / "report.json").read_text())
    report["parts"]["strict_fold1/test"] = 24
    (folder / "report.json").write_text(json.dumps(report))


def cut_line(folder):
    path = folder / "strict_fold2" / "train" / "spk2utt"
    path.write_text(path.read_text().splitlines(keepends=True)[0])


def rename_utterance(folder):
    path = folder / "strict_fold1" / "test" / "spk2utt"
    path.write_text(path.read_text().replace("one1-sad-02", "one1-sad-03"))


def write_over(name, content):
    return lambda folder: (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "report.json").unlink(), r"one: not a prepared corpus .*; run stage 1"),
        (write_over("report.json", b"{}"), r"report\.json: not one of stage 1 .*; remove .*one and run stage 1"),
        (write_over("report.json", b"{"), r"report\.json: not readable as JSON"),
        (lambda f: (f / "supervisions.jsonl.gz").unlink(), r"supervisions\.jsonl\.gz: no such file; run stage 1"),
        (write_over("supervisions.jsonl.gz", b"text"), r"gz: not readable as supervisions .*; remove it and run"),
        (write_over("supervisions.jsonl.gz", gzip.compress(b"{}\n")), r"gz: not readable as supervisions \('id'\)"),
        (lambda f: (f / "strict_fold3/valid/spk2utt").unlink(), r"strict_fold3/valid/spk2utt: no such file"),
        (cut_line, r"strict_fold2/train/spk2utt: does not agree with report\.json .*; remove .*one and run stage 1"),
        (rename_utterance, r"strict_fold1/test/spk2utt: does not agree with report\.json and supervisions"),
        (move_speaker, r"strict_fold1: speaker one2 is in two parts; remove .*one and run stage 1"),
    ],
)
def test_damaged_output_of_stage_1_is_named(copied, damage, message):
    read_prepared(copied)
    damage(copied)
    with pytest.raises(InputError, match=message):
        read_prepared(copied)


def test_the_picture_has_a_row_of_panels_for_each_corpus(small, tmp_path):
    """Also with a class and a part without utterances."""
    draw_corpora([small], tmp_path / "one.png")
    draw_corpora([small, small], tmp_path / "two.PNG")
    heights = [int.from_bytes((tmp_path / name).read_bytes()[20:24]) for name in ("one.png", "two.PNG")]
    assert heights[1] > 1.5 * heights[0] > 200
    with refuses("unknown ending; a picture ends in .png, .pdf, .svg", where="p.jpg"):
        draw_corpora([small], tmp_path / "p.jpg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.PNG"]


def run(*arguments):
    return programs.run(ROOT / "steps" / "describe.py", *arguments)


def test_the_command_prints_and_draws(made, tmp_path):
    picture = tmp_path / "made.svg"
    done = run(made.data_root / "one", made.data_root / "two", "--out", picture)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[4].split()[:3] == ["one", "4", "(women"]
    for corpus in ("one", "two"):
        name = protocol_hash(read_prepared(made.data_root / corpus), "strict")
        assert f"{corpus}, split strict, protocol {name}" in done.stdout
    assert "</svg>" in picture.read_text()
    markdown = run(made.data_root / "one", "--split", "strict", "--markdown")
    assert markdown.stdout.startswith("## Corpora")


def test_a_folder_that_is_not_prepared_is_one_line(made, one_line):
    assert one_line(run(made.data_root)) == (
        f"error: {made.data_root}: not a prepared corpus (it has no report.json); give one of the corpora in it, such "
        f"as {made.data_root / 'one'}"
    )
