import shutil

import pytest
from made import CLASSES

from ser.batches import open_data
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


def test_hashes_name_settings_split_and_data(made):
    one, two = (made.open(made.experiment(f"fold={fold}")).hashes() for fold in (1, 2))
    assert all(one[name] != two[name] for name in ("config_hash", "data_hash", "split_hash"))
    again = made.open(made.experiment("training.threads=2")).hashes()
    assert again == one


def test_another_label_is_other_data(made, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(made.data_root, root)
    before = open_data(made.experiment(), made.recipe, root, made.dump).hashes()
    table = root / "one" / "strict_fold1" / "test" / "utt2emo"
    table.write_text(table.read_text().replace("sad", "happy", 1))
    after = open_data(made.experiment(), made.recipe, root, made.dump).hashes()
    assert after["data_hash"] != before["data_hash"]


def test_a_part_that_a_partial_copy_lacks_is_named(made, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(made.data_root, root)
    shutil.rmtree(root / "one" / "strict_fold1" / "valid")
    with pytest.raises(InputError, match="fold 1 has no valid utterances in this partial copy of one .*one2"):
        open_data(made.experiment(), made.recipe, root, made.dump).parts("valid")


def test_genders_and_votes_come_along(made):
    part = made.open(made.experiment()).parts("train")["one"]
    assert [part.genders[part.speakers.index(s)] for s in ("one3", "one4")] == [1, 0]
    happy, sad = (part.votes[part.ids.index(f"one3-{name}-00")] for name in ("happy", "sad"))
    assert happy.tolist() == pytest.approx([0, 2 / 3, 0, 1 / 3])
    assert sad.tolist() == [0, 0, 0, 1]


def test_an_utterance_in_two_corpora_is_named(made, tmp_path):
    root = tmp_path / "data"
    for name in ("one", "two"):
        shutil.copytree(made.data_root / "one", root / name)
    with pytest.raises(
        InputError, match=r"data/two: utterance one1-angry-00 is in one too; leave one of the two corpora"
    ):
        open_data(made.experiment(), made.recipe, root, made.dump)


def test_a_speaker_in_two_corpora_is_named(made, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(made.data_root, root)
    table = root / "two" / "strict_fold1" / "valid" / "utt2spk"
    table.write_text(table.read_text().replace(" two2", " one1"))
    with pytest.raises(InputError, match=r"strict_fold1/valid/utt2spk: speaker one1 is in one too; begin the names"):
        open_data(made.experiment(), made.recipe, root, made.dump)


def test_a_fold_that_only_the_prepared_corpus_can_deny(made):
    with pytest.raises(InputError, match="fold = 5: split strict of one, two has folds 1 to 4"):
        made.open(made.experiment("fold=5"))
