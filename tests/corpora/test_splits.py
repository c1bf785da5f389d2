"""Splits by rule are resolved to lists of speakers, written once, and used by all later stages."""

import json
import shutil

import numpy as np
import pytest
from conftest import refuses
from lab import LABELS, Lab

from ser.common import InputError, read_json
from ser.corpora import prepare
from ser.corpora.kaldi import read_table
from ser.corpora.protocol import PARTS
from ser.corpora.splits import Fold, partition, resolve_splits, with_splits
from ser.corpora.utterance import Utterance


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path, "csv")


def make_utterances(numbers, texts=()):
    """Make utterances; `numbers` has speaker -> number of utterances in each class."""
    return [
        Utterance(f"{s}-{label}{k}", "x", s, label, text_id=texts[k % len(texts)] if texts else "")
        for s, counts in numbers.items()
        for label, n in zip(LABELS, counts, strict=True)
        for k in range(n)
    ]


def resolve_folds(lab, spec, utterances):
    lab.write(splits={"s": spec})
    return resolve_splits(lab.protocol, utterances)["s"]["folds"]


def test_one_speaker_out(lab):
    folds = resolve_folds(lab, {"groups": "speakers"}, make_utterances(dict.fromkeys("dacb", (1, 1, 1, 1))))
    assert [(fold["test"], fold["valid"], fold["train"]) for fold in folds] == [
        (["a"], ["b"], ["c", "d"]),
        (["b"], ["c"], ["a", "d"]),
        (["c"], ["d"], ["a", "b"]),
        (["d"], ["a"], ["b", "c"]),
    ]


def test_groups_are_balanced_by_class_and_size(lab):
    rng = np.random.default_rng(0)
    numbers = {f"s{n:02d}": tuple(rng.integers(1, 9, 4)) for n in range(30)}
    folds = resolve_folds(lab, {"groups": 5}, make_utterances(numbers))
    assert len(folds) == 5
    assert sorted(s for fold in folds for s in fold["test"]) == sorted(numbers)
    total = np.sum(list(numbers.values()), axis=0)
    for fold in folds:
        assert {s for part in PARTS for s in fold[part]} == set(numbers)
        share = np.sum([numbers[s] for s in fold["test"]], axis=0) / total
        assert np.abs(share - 0.2).max() < 0.02


def test_the_seed_decides_the_groups(lab):
    utterances = make_utterances({f"s{n:02d}": (3, 3, 3, 3) for n in range(12)})
    first = resolve_folds(lab, {"groups": 4}, utterances)
    assert resolve_folds(lab, {"groups": 4, "seed": 0}, list(reversed(utterances))) == first
    assert resolve_folds(lab, {"groups": 4, "seed": 1}, utterances) != first
    assert [len(fold["test"]) for fold in first] == [3, 3, 3, 3]


def test_shares_of_utterances_divide_speakers(lab):
    numbers = {"big": (20, 20, 20, 10), **{f"s{n}": (3, 2, 3, 2) for n in range(3)}}
    (fold,) = resolve_folds(lab, {"shares": [0.7, 0.2, 0.1]}, make_utterances(numbers))
    assert fold["train"] == ["big"]
    assert [len(fold[part]) for part in PARTS] == [1, 2, 1]
    (fold,) = resolve_folds(lab, {"shares": [0.7, 0.3, 0]}, make_utterances(numbers))
    assert [len(fold[part]) for part in PARTS] == [1, 3, 0]


def test_no_part_stays_empty_for_any_sizes():
    for counts in ([[100.0, 100.0], [1.0, 1.0], [1.0, 1.0]], [[1.0, 2.0]] * 3, [[0.0, 0.0]] * 3):
        assert sorted(partition(np.array(counts), [0.7, 0.2, 0.1], [1, 2, 3])) == [0, 1, 2]


@pytest.mark.parametrize(
    ("spec", "speakers", "message"),
    [
        ({"groups": 5}, "abcd", "5 groups need a speaker each, and there are 4 speakers"),
        ({"groups": "speakers"}, "ab", "3 parts need a speaker each, and there are 2 speakers"),
        ({"shares": [0.7, 0.2, 0.1]}, "a", "3 parts need a speaker each, and there is 1 speaker (a)"),
        ({"shares": [0.9, 0.1, 0]}, "a", "2 parts need a speaker each, and there is 1 speaker (a)"),
    ],
)
def test_too_few_speakers_for_a_rule(lab, spec, speakers, message):
    with refuses(message, where=f"{lab.protocol.path}: splits: s"):
        resolve_folds(lab, spec, make_utterances(dict.fromkeys(speakers, (1, 1, 1, 1))))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"groups": 2}, "groups: 2: at least 3: one to test, one to validate on, one to train on"),
        ({"groups": "speaker"}, "groups: lists of speakers, a number of groups, or speakers"),
        ({"groups": [["a"], ["b"], ["c"]], "seed": 1}, "seed: lists of speakers are not drawn"),
        ({"groups": 5, "seed": "x"}, "seed: a whole number, not 'x'"),
        ({"groups": 5, "share": 1}, "key share is unknown; a split with groups has: groups, seed, texts"),
        ({"shares": [0.7, 0.2]}, "shares: three numbers for train, valid and test that add up to 1, not [0.7, 0.2]"),
        ({"shares": [70, 20, 10]}, "shares: three numbers"),
        ({"shares": [0, 0.5, 0.5]}, "shares: three numbers"),
        ({"given": False}, "given: true, or another form of split"),
        ({"train": ["a"], "valid": "b"}, "train, valid and test are lists of speakers"),
        ({"folds": 5}, "must hold groups, shares, given, or train, valid and test"),
        ([], "must hold groups, shares, given, or train, valid and test"),
        ({"given": True, "texts": "apart"}, "texts: disjoint, or lists of text ids under train, valid and test"),
    ],
)
def test_an_invalid_split(lab, spec, message):
    lab.write(splits={"s": spec})
    with refuses(message, where=f"{lab.recipe}/conf/corpora/lab.yaml: splits: s"):
        lab.protocol  # noqa: B018


def texts_of(fold, utterances):
    return {
        part: {u.text_id for u in utterances if u.speaker in fold[part] and u.text_id in fold["texts"][part]}
        for part in PARTS
    }


def test_disjoint_texts_are_on_one_side_only_and_rotate_over_folds(lab):
    utterances = make_utterances({f"s{n}": (6, 6, 6, 6) for n in range(6)}, texts=[f"t{k}" for k in range(6)])
    folds = resolve_folds(lab, {"groups": 3, "texts": "disjoint"}, utterances)
    held_out = []
    for fold in folds:
        texts = texts_of(fold, utterances)
        assert not texts["train"] & (texts["valid"] | texts["test"])
        assert texts["valid"] == texts["test"]
        assert (len(texts["train"]), len(texts["test"])) == (4, 2)
        held_out += sorted(texts["test"])
    assert sorted(held_out) == [f"t{k}" for k in range(6)]


def test_texts_of_one_side_and_utterances_without_text_stay(lab):
    utterances = [
        *make_utterances(dict.fromkeys("ab", (1, 1, 1, 1)), texts=["shared"]),
        *make_utterances({"c": (1, 1, 1, 1)}, texts=["own"]),
        Utterance("a-0", "x", "a", "sad"),
    ]
    spec = {"train": ["a", "c"], "valid": ["b"], "test": [], "texts": "disjoint"}
    (fold,) = resolve_folds(lab, spec, utterances)
    assert fold["texts"] == {"train": ["own"], "valid": ["shared"], "test": []}
    assert [u.id for u in utterances if Fold(fold).holds("train", u)] == [*(f"c-{label}0" for label in LABELS), "a-0"]


def test_no_move_of_a_speaker_improves_a_partition():
    shares = np.array([0.6, 0.25, 0.15])

    def rated(part):
        """Classes that parts lack, and chi-square distance of the parts from their shares."""
        filled = np.array([share[part == k].sum(0) for k in range(3)])
        return int((filled == 0).sum()), float((np.square(filled - shares[:, None]) / shares[:, None]).sum())

    rng = np.random.default_rng(0)
    for _ in range(20):
        classes = rng.integers(0, 30, (12, 3)) * rng.integers(0, 2, (12, 3)) + 1
        counts = np.column_stack([classes, classes.sum(1)]).astype(float)
        share = counts / counts.sum(0)
        part = np.array(partition(counts, shares.tolist(), range(12)))
        lacking, distance = rated(part)
        for speaker in range(12):
            for other in {0, 1, 2} - {part[speaker]} if (part == part[speaker]).sum() > 1 else ():
                moved = np.where(np.arange(12) == speaker, other, part)
                assert rated(moved) >= (lacking, distance - 1e-8)


def test_very_many_speakers_are_moved_and_not_exchanged(monkeypatch):
    counts = np.array([[size, size % 3, size + size % 3] for size in range(1, 41)])
    exchanged = partition(counts, [0.5, 0.3, 0.2], range(40))
    monkeypatch.setattr("ser.corpora.splits.EXCHANGED", 39)
    moved = partition(counts, [0.5, 0.3, 0.2], range(40))
    assert moved != exchanged
    for part, share in enumerate((0.5, 0.3, 0.2)):
        actual = counts[np.array(moved) == part].sum(0) / counts.sum(0)
        np.testing.assert_allclose(actual, share, atol=0.05)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            {"train": ["t0", "t1"], "test": ["t1", "t2"]},
            "texts: t1 is in train and in another part; a text may be on one",
        ),
        ({"train": ["t0"], "test": ["t1"]}, "texts: t2 is in no part; add it to one"),
        (
            {"train": ["t0", "t1", "t2"], "test": []},
            "texts: fold 1 would have no utterances in valid; allow it more texts",
        ),
    ],
)
def test_invalid_lists_of_texts(lab, texts, message):
    utterances = make_utterances(dict.fromkeys("abc", (3, 3, 3, 3)), texts=["t0", "t1", "t2"])
    with pytest.raises(InputError) as caught:
        resolve_folds(lab, {"groups": "speakers", "texts": texts}, utterances)
    assert f"splits: s: {message}" in str(caught.value)


def test_disjoint_texts_of_a_corpus_without_texts(lab):
    with pytest.raises(InputError, match="texts: disjoint: the corpus gives no texts; remove it"):
        resolve_folds(lab, {"groups": 3, "texts": "disjoint"}, make_utterances(dict.fromkeys("abc", (1, 1, 1, 1))))


def prepared(lab, splits, **options):
    rows = ["path,speaker,emotion,text_id"]
    for speaker in ("ana", "bia", "caio"):
        for label in LABELS:
            for text in range(3):
                lab.noise(f"{speaker}{label}{text}.wav", 2000)
                rows.append(f"{speaker}{label}{text}.wav,{speaker},{label},{text}")
    lab.table("lab.csv", *rows)
    lab.write(splits=splits)
    return lab.prepare(**options)


def test_data_dirs_hold_the_texts_of_their_side_and_the_rest_is_counted(lab):
    summary = prepared(lab, {"strict": {"groups": "speakers", "texts": "disjoint"}})
    assert "strict_fold1/train: 4 utterances left out, since their text is for the other side" in summary
    report = read_json(lab.out / "report.json")
    assert report["parts"] == {
        f"strict_fold{k}/{p}": n for k in (1, 2, 3) for p, n in zip(PARTS, (8, 4, 4), strict=True)
    }
    assert report["other_text"]["strict_fold3/test"] == 8
    tests = [set(read_table(lab.out / f"strict_fold{k}" / "test" / "utt2text_id").values()) for k in (1, 2, 3)]
    assert sorted(text for texts in tests for text in texts) == ["lab_0", "lab_1", "lab_2"]


def test_later_stages_get_lists_of_speakers_and_a_changed_rule_needs_stage_1(lab):
    prepared(lab, {"strict": {"groups": "speakers"}, "paper": {"shares": [0.4, 0.3, 0.3]}})
    with pytest.raises(
        InputError, match=r"lab\.yaml: splits: strict: a rule that the prepared corpus has not been split"
    ):
        lab.protocol.folds("strict")
    assert (lab.protocol.num_folds("strict"), lab.protocol.num_folds("paper")) == (None, 1)
    assert lab.protocol.has_test("strict", 1)
    written = read_json(lab.out / "splits.json")
    assert written["strict"]["groups"] == [
        ["lab_ana"],
        ["lab_bia"],
        ["lab_caio"],
    ]  # not all speakers for each fold
    assert "folds" not in written["strict"]
    protocol = with_splits(lab.protocol, lab.out)
    assert protocol.num_folds("strict") == 3
    assert protocol.fold("strict", 2) == {"train": ["lab_ana"], "valid": ["lab_caio"], "test": ["lab_bia"]}
    lab.write(splits={"strict": {"groups": 3}, "paper": {"shares": [0.4, 0.3, 0.3]}})
    protocol = with_splits(lab.protocol, lab.out)
    assert len(protocol.folds("paper")) == 1
    with pytest.raises(InputError, match="splits: strict: a rule .*; run stage 1"):
        protocol.folds("strict")
    for damaged in (["strict"], {"paper": {"rule": {"shares": [0.4, 0.3, 0.3]}}}):
        (lab.out / "splits.json").write_text(json.dumps(damaged))
        with pytest.raises(InputError, match=r"splits\.json: holds no splits; remove .*data/lab and run stage 1"):
            with_splits(lab.protocol, lab.out)


def test_of_many_folds_only_the_requested_ones_are_written(lab, monkeypatch):
    monkeypatch.setattr(prepare, "FEW_FOLDS", 2)
    splits = {"strict": {"groups": "speakers", "texts": "disjoint"}, "paper": {"shares": [0.4, 0.3, 0.3]}}

    def written():
        return sorted(path.name for path in lab.out.iterdir() if path.is_dir())

    prepared(lab, splits, fold=("strict", 2))
    assert written() == ["paper_fold1", "strict_fold2"]
    assert lab.prepare(fold=("strict", 5)).startswith("lab: up to date\n")  # fold 5 of 3 is fold 2
    assert lab.prepare(fold=("paper", 1)).startswith("lab: up to date\n")
    added_fold = lab.prepare(fold=("strict", 3))
    assert added_fold.startswith("lab: up to date but for strict_fold3, now written\n")
    assert "strict_fold3/train: 4 utterances left out, since their text is for the other side" in added_fold
    assert written() == ["paper_fold1", "strict_fold2", "strict_fold3"]
    assert "strict_fold1" in lab.prepare()  # without a fold, as for a grid, all are written
    added = {path: path.read_bytes() for path in lab.out.rglob("*") if path.is_file()}
    shutil.rmtree(lab.out)
    lab.prepare()
    whole = {path: path.read_bytes() for path in lab.out.rglob("*") if path.is_file()}
    assert added.keys() == whole.keys()
    differing = {path.name for path in whole if added[path] != whole[path]}
    manifests = {f"{name}.jsonl.gz" for name in ("files", "recordings", "supervisions", "cuts")}
    assert differing <= {"report.json", *manifests}  # these contain times
    reports = [read_json(lab.out / "report.json"), json.loads(added[lab.out / "report.json"])]
    for key in ("parts", "other_text"):
        assert reports[0][key] == reports[1][key]


def test_lists_of_speakers_need_no_splits_json(lab):
    prepared(lab, {"strict": {"groups": [["lab_ana"], ["lab_bia"], ["lab_caio"]]}})
    (lab.out / "splits.json").unlink()
    assert with_splits(lab.protocol, lab.out).fold("strict", 1)["test"] == ["lab_ana"]
    assert lab.prepare().startswith("lab: up to date")


def test_a_rule_needs_splits_json(lab):
    prepared(lab, {"strict": {"groups": "speakers"}})
    (lab.out / "splits.json").unlink()
    assert not lab.prepare().startswith("lab: up to date")
    assert (lab.out / "splits.json").is_file()


def test_a_rule_gives_the_same_folds_in_every_process(lab):
    """The expected folds come from another process: the order of a set must not matter."""
    utterances = make_utterances({f"s{n}": (3, 3, 3, 3) for n in range(8)}, texts=("ta", "tb", "tc"))
    fold = resolve_folds(lab, {"groups": 4, "texts": "disjoint"}, utterances)[0]
    assert fold == {
        "train": ["s0", "s4", "s1", "s2"],
        "valid": ["s3", "s5"],
        "test": ["s6", "s7"],
        "texts": {"train": ["ta", "tb"], "valid": ["tc"], "test": ["tc"]},
    }
