import pytest
import yaml
from conftest import ROOT

from ser.common import InputError
from ser.corpora import read_protocol

# paper.md, section 2
GROUPS = [{1, 11, 20, 21}, {4, 10, 12, 14}, {8, 9, 19, 23}, {3, 5, 7, 24}, {2, 15, 16, 18}, {6, 13, 17, 22}]


def numbers(speakers) -> set[int]:
    return {int(speaker.removeprefix("ravdess_")) for speaker in speakers}


@pytest.fixture
def recipe(tmp_path):
    """Write a changed copy of RAVDESS's protocol; give the recipe's folder back."""

    def write(change):
        path = tmp_path / "conf" / "corpora" / "ravdess.yaml"
        path.parent.mkdir(parents=True)
        values = yaml.safe_load((ROOT / "conf/corpora/ravdess.yaml").read_text())
        change(values)
        path.write_text(yaml.safe_dump(values))
        return tmp_path

    return write


def test_strict_folds_rotate_over_the_six_groups():
    folds = read_protocol("ravdess").folds("strict")
    assert len(folds) == 6
    for k, fold in enumerate(folds):
        test, valid, train = (numbers(fold[part]) for part in ("test", "valid", "train"))
        assert test == GROUPS[k]
        assert valid == GROUPS[(k + 1) % 6]
        assert train == set(range(1, 25)) - test - valid


def test_the_papers_split_is_17_5_2_with_a_man_and_a_woman_tested():
    (fold,) = read_protocol("ravdess").folds("paper")
    assert [len(fold[part]) for part in ("train", "valid", "test")] == [17, 5, 2]
    assert {n % 2 for n in numbers(fold["test"])} == {0, 1}
    assert set.union(*(numbers(fold[part]) for part in fold)) == set(range(1, 25))


def test_every_toolkit_and_recipe_protocol_keeps_speakers_apart():
    paths = sorted(ROOT.glob("conf/corpora/*.yaml")) + sorted(ROOT.glob("egs/*/conf/corpora/*.yaml"))
    assert paths
    for path in paths:
        protocol = read_protocol(path.stem, path.parents[2])
        for split in protocol.splits:
            for fold in protocol.folds(split):
                speakers = [speaker for part in fold.values() for speaker in part]
                assert len(speakers) == len(set(speakers)), f"{path}: {split}"


def test_a_corpus_with_fewer_folds_starts_again():
    protocol = read_protocol("ravdess")
    assert protocol.fold("strict", 7) == protocol.fold("strict", 1)
    assert [protocol.split_name("strict", k) for k in (1, 6, 7)] == ["strict_fold1", "strict_fold6", "strict_fold1"]
    assert protocol.split_name("paper", 4) == "paper_fold1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("licence"), "key licence is missing"),
        (lambda v: v.update(lables={}), "key lables is unknown; a protocol has: citation, classes, "),
        (lambda v: v["labels"].update(calm="calmness"), "labels: calm: calmness is no class; classes are angry, "),
        (lambda v: v.update(labels=None), "key labels must hold `key: value` lines, or {} for none, not None"),
        (lambda v: v.update(classes="angry"), "key classes must hold a list, not 'angry'"),
        (lambda v: v.update(language=False), "key language must hold text, not False"),
        (
            lambda v: v["splits"]["paper"]["test"].append("ravdess_07"),
            "splits: paper: fold 1: speaker ravdess_07 is in train, test; a speaker may be in one part only",
        ),
        (
            lambda v: v["splits"]["strict"]["groups"][0].append("ravdess_04"),
            "splits: strict: fold 1: speaker ravdess_04 is in valid, test; a speaker may be in one part only",
        ),
        (
            lambda v: v["splits"].update(one={"groups": [["ravdess_01"]]}),
            "splits: one: fold 1: speaker ravdess_01 is in valid, test",
        ),
    ],
)
def test_a_protocol_that_is_wrong_is_named(recipe, change, message):
    with pytest.raises(InputError) as caught:
        read_protocol("ravdess", recipe(change))
    assert f"conf/corpora/ravdess.yaml: {message}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_corpus_lists_those_that_exist():
    with pytest.raises(InputError, match=r"conf/corpora/ravdes\.yaml: no such file .*there is: .*ravdess"):
        read_protocol("ravdes")


def test_an_unknown_split_lists_those_that_exist():
    with pytest.raises(InputError, match="no split loso; there is: strict, paper"):
        read_protocol("ravdess").folds("loso")


def test_a_note_is_optional_and_kept(recipe):
    assert read_protocol("ravdess", recipe(lambda v: v.update(note="acted"))).note == "acted"
