import pytest
import yaml
from conftest import ROOT, refuses

from ser.common import InputError
from ser.corpora import read_protocol
from ser.corpora.protocol import is_rule

# paper.md, section 2
GROUPS = [{1, 11, 20, 21}, {4, 10, 12, 14}, {8, 9, 19, 23}, {3, 5, 7, 24}, {2, 15, 16, 18}, {6, 13, 17, 22}]


def numbers(speakers) -> set[int]:
    return {int(speaker.removeprefix("ravdess_")) for speaker in speakers}


def write_protocol(tmp_path, name, text):
    """Write a protocol of the recipe, and return its path."""
    path = tmp_path / "conf" / "corpora" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def changed(tmp_path):
    """Read a changed copy of RAVDESS's protocol."""

    def read(change):
        values = yaml.safe_load((ROOT / "conf/corpora/ravdess.yaml").read_text())
        change(values)
        write_protocol(tmp_path, "ravdess", yaml.safe_dump(values))
        return read_protocol("ravdess", tmp_path)

    return read


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
        for split in [name for name, spec in protocol.splits.items() if not is_rule(spec)]:
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
        (lambda v: v.update(lables={}), "key lables is unknown; a protocol has: base, citation, classes, "),
        (lambda v: v.update(splits={}), "splits: none; give one, such as strict: {groups: speakers}"),
        (lambda v: v["labels"].update(calm="calmness"), "labels: calm: calmness is no class; classes are angry, "),
        (lambda v: v.update(labels=None), "key labels must hold `key: value` lines, or {} for none, not None"),
        (lambda v: v.update(classes="angry"), "key classes must hold a list, not 'angry'"),
        (lambda v: v.update(language=False), "key language must hold text, not False"),
        (lambda v: v.update(shuffle_labels="yes"), "key shuffle_labels must hold true or false, not 'yes'"),
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
def test_faults_of_a_protocol_are_named(changed, change, message):
    with refuses(where="conf/corpora/ravdess.yaml") as caught:
        changed(change)
    assert f"conf/corpora/ravdess.yaml: {message}" in str(caught.value)


def test_an_unknown_corpus_lists_those_that_exist():
    with pytest.raises(InputError, match=r"conf/corpora/ravdes\.yaml: no such file .*there is: .*ravdess"):
        read_protocol("ravdes")


def test_a_base_gives_missing_keys_and_mappings_are_merged(tmp_path):
    path = write_protocol(tmp_path, "mine", "base: ravdess\nlabels: {calm: neutral}\ndrop: {ravdess_01-x: noisy}\n")
    protocol, base = read_protocol("mine", tmp_path), read_protocol("ravdess")
    assert (protocol.corpus, protocol.path, protocol.base, protocol.preparer) == ("mine", path, "ravdess", "ravdess")
    assert protocol.bases == (base.path,)
    assert protocol.labels == {**base.labels, "calm": "neutral"}
    assert protocol.drop == {"ravdess_01-x": "noisy"}
    assert (protocol.licence, protocol.classes, protocol.splits, protocol.expected) == (
        base.licence,
        base.classes,
        base.splits,
        base.expected,
    )


def test_a_base_may_have_a_base_and_the_nearest_value_counts(tmp_path):
    write_protocol(tmp_path, "one", "base: ravdess\nname: One\nnote: first\npreparer: csv\n")
    write_protocol(tmp_path, "two", "base: one\nname: Two\n")
    two = read_protocol("two", tmp_path)
    assert (two.name, two.note, two.preparer) == ("Two", "first", "csv")
    assert [path.stem for path in two.bases] == ["one", "ravdess"]


def test_a_recipes_own_version_builds_on_the_toolkits(tmp_path):
    write_protocol(tmp_path, "ravdess", "base: ravdess\nnote: ours\n")
    protocol = read_protocol("ravdess", tmp_path)
    assert (protocol.note, protocol.preparer) == ("ours", "ravdess")
    assert protocol.bases == (ROOT / "conf/corpora/ravdess.yaml",)


def test_a_cycle_of_bases_is_named(tmp_path):
    write_protocol(tmp_path, "one", "base: two\n")
    write_protocol(tmp_path, "two", "base: one\n")
    with pytest.raises(InputError, match=r"one\.yaml: base: leads back to itself by way of .*two\.yaml; name another"):
        read_protocol("one", tmp_path)
    write_protocol(tmp_path, "three", "base: [one]\n")
    with pytest.raises(InputError, match=r"three\.yaml: key base must hold the name of a corpus, not \['one'\]"):
        read_protocol("three", tmp_path)


def test_expected_counts_are_flat_or_by_edition(changed):
    counts = {"utterances": 5, "speakers": 2, "labels": {"sad": 5}}
    editions = {"EmoDB": counts, "EmoDB 2.0": {"utterances": 8}}
    for expected, editions_read in (({}, {}), (counts, {"": counts}), (editions, editions)):
        assert changed(lambda v, e=expected: v.update(expected=e)).editions == editions_read


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"utterance": 5}, "expected: utterance: must hold utterances, speakers, labels"),
        ({"utterances": 5, "speech": {"utterances": 5}}, "expected: must hold utterances, speakers, labels"),
        ({"utterances": "5"}, "expected: utterances and speakers are whole numbers"),
        ({"one": {"labels": {"sad": 5, "sadd": 1}}}, "expected: one: label sadd is not among the labels"),
        ({"labels": ["sad"]}, "expected: utterances and speakers are whole numbers"),
    ],
)
def test_invalid_expected_counts(changed, expected, message):
    where, what = message.rsplit(": ", 1)
    with refuses(what, where=f"conf/corpora/ravdess.yaml: {where}"):
        changed(lambda v: v.update(expected=expected))


def test_labels_speakers_and_classes_are_read_as_they_stand(tmp_path):
    lines = [
        *(f"{key}: none" for key in ("name", "description", "licence", "citation", "source", "language")),
        "classes: [no, yes, 01, 2024-01-01, 12:30]",
        "labels: {no: no, 1: yes, 01: 01, true: no, 2024-01-01: 2024-01-01, null: 12:30, 1.50: ~}",
        "drop: {}",
        "expected: {}",
        "splits: {strict: {groups: [[01, no], [off], [0x10]]}}",
    ]
    write_protocol(tmp_path, "mine", "\n".join(lines))
    protocol = read_protocol("mine", tmp_path)
    assert protocol.classes == ("no", "yes", "01", "2024-01-01", "12:30")
    assert protocol.labels == {
        "no": "no",
        "1": "yes",
        "01": "01",
        "true": "no",
        "2024-01-01": "2024-01-01",
        "null": "12:30",
        "1.50": None,
    }
    assert protocol.folds("strict")[0] == {"test": ["01", "no"], "valid": ["off"], "train": ["0x10"]}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"classes": ["happy", "1"]}, None),
        ({"classes": ["happy", 1]}, "classes"),
        ({"classes": [None]}, "classes"),
        ({"classes": [True, "sad"]}, "classes"),
        ({"classes": ["sad", "sad"]}, "classes"),
        ({"classes": [["sad"]]}, "classes"),
        ({"classes": ["sad "]}, "classes"),
        ({"classes": []}, "classes"),
        ({"labels": {"x": 1}}, "labels: x"),
        ({"labels": {"x": False}}, "labels: x"),
        ({"drop": {"x": None}}, "drop: x"),
        ({"drop": {"x": "one\ntwo"}}, "drop: x"),
        ({"splits": {"strict": {"train": [1], "valid": [], "test": []}}}, "splits: strict"),
        ({"splits": {"strict": {"groups": [["a"], ["b"], [3]]}}}, "splits: strict"),
        ({"splits": {"../strict": {"groups": "speakers"}}}, "splits"),
        ({"keep": float("inf")}, ""),
        ({"name": 3}, "name"),
        ({"preparer": None}, "preparer"),
        ({"expected": {"utterances": -1}}, "expected"),
    ],
)
def test_values_that_are_not_text_are_named(changed, change, named):
    plain = {"classes": ["happy"], "expected": {}, "labels": {"happy": "happy"}}
    if named is None:
        assert changed(lambda v: v.update({**plain, **change})).classes == ("happy", "1")
        return
    with refuses(where="conf/corpora/ravdess.yaml") as caught:
        changed(lambda v: v.update({**plain, **change}))
    assert named in str(caught.value)
