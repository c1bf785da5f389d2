import pytest
from made import CLASSES

from ser.common import InputError


def test_parts_have_the_speakers_of_the_fold(made):
    data = made.open(made.experiment("fold=4"))
    speakers = {name: {c: set(p.speakers) for c, p in data.parts(name).items()} for name in ("train", "valid", "test")}
    assert speakers == {
        "train": {"one": {"one2", "one3"}, "two": {"two1"}},
        "valid": {"one": {"one1"}, "two": {"two2"}},
        "test": {"one": {"one4"}},
    }


def test_targets_index_the_classes_of_the_head(made):
    part = made.open(made.experiment()).parts("train")["one"]
    assert part.classes == CLASSES
    assert part.class_counts.tolist() == [6, 6, 6, 6]
    assert [part.classes[t] for t in part.targets] == [key.split("-")[1] for key in part.ids]


def test_missing_stages_are_named(made):
    with pytest.raises(InputError, match="run stage 3"):
        made.open(made.experiment("features.frame_shift=64")).parts("train")
    with pytest.raises(InputError, match=r"nowhere.yaml: no such file"):
        made.open(made.experiment(corpora="nowhere"))


def test_hashes_name_split_and_data(made):
    one, two = made.open(made.experiment()), made.open(made.experiment("fold=2"))
    assert one.split_hash() != two.split_hash()
    assert one.data_hash() == two.data_hash()
