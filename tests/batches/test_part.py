import gzip
import json
import shutil
from dataclasses import replace

import programs
import pytest
import soundfile
from conftest import ROOT, refuses
from made import CLASSES, PREPARER, PROTOCOL, filled, write_corpus

from ser.batches import open_data
from ser.batches.overlap import check_equal_audio
from ser.common import InputError
from ser.config import write_experiment
from ser.corpora import read_protocol
from ser.corpora.kaldi import read_table
from ser.corpora.prepare import prepare_corpus
from ser.corpora.preparers import load_preparer
from ser.corpora.protocol import FEW_FOLDS, PARTS
from ser.features import FeatureStore
from ser.frontends import build_frontend


@pytest.fixture
def root(made, tmp_path):
    """A copy of the data, to be changed."""
    return shutil.copytree(made.data_root, tmp_path / "data")


def opened(made, root, **corpora):
    return open_data(made.experiment(**corpora), made.recipe, root, made.dump)


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
    with refuses(fix="run stage 3"):
        made.open(made.experiment("features.frame_shift=64")).parts("train")
    with refuses("no such file", where="nowhere.yaml"):
        made.open(made.experiment(corpora="nowhere"))


def test_hashes_name_settings_split_and_data(made):
    one, two = (made.open(made.experiment(f"fold={fold}")).hashes() for fold in (1, 2))
    assert all(one[name] != two[name] for name in ("config_hash", "data_hash", "split_hash"))
    again = made.open(made.experiment("training.threads=2")).hashes()
    assert again == one


def test_a_table_that_lacks_an_utterance_is_named(made, root):
    table = root / "one" / "strict_fold1" / "train" / "utt2emo"
    first, *rest = table.read_text().splitlines(keepends=True)
    table.write_text("".join(rest))
    with refuses(f"no line of {first.split()[0]}", where="utt2emo"):
        opened(made, root).parts("train")


def test_another_label_is_other_data(made, root):
    before = opened(made, root).hashes()
    table = root / "one" / "strict_fold1" / "test" / "utt2emo"
    table.write_text(table.read_text().replace("sad", "happy", 1))
    after = opened(made, root).hashes()
    assert after["data_hash"] != before["data_hash"]


def test_a_part_that_a_partial_copy_lacks_is_named(made, root):
    shutil.rmtree(root / "one" / "strict_fold1" / "valid")
    with pytest.raises(InputError, match="fold 1 has no valid utterances in this partial copy of one .*one2"):
        opened(made, root).parts("valid")


def test_a_fold_of_many_that_is_not_written_is_named_and_stage_1_with_it_writes_it(made, tmp_path):
    recipe, data = shutil.copytree(made.recipe, tmp_path / "recipe"), tmp_path / "data"
    speakers = [f"many{number:02d}" for number in range(1, FEW_FOLDS + 2)]
    write_corpus(tmp_path / "many", speakers, 1, 0)
    (recipe / "local" / "prepare_many.py").write_text(PREPARER)
    (recipe / "conf/corpora/many.yaml").write_text(PROTOCOL.format(corpus="many", split="{groups: speakers}"))
    experiments = {fold: replace(made.experiment(f"fold={fold}"), corpora=["many"]) for fold in (2, FEW_FOLDS + 1)}

    def stage_1(fold):
        config = tmp_path / f"fold{fold}" / "config.yaml"
        write_experiment(experiments[fold], config)
        where = ("--recipe", recipe, "--experiment", config, "many", tmp_path / "many", data / "many")
        done = programs.run(ROOT / "steps" / "prepare.py", *where)
        assert done.returncode == 0, done.stderr

    def parts(fold):
        opened = open_data(experiments[fold], recipe, data, tmp_path / "dump")
        return {name: opened.parts(name)["many"] for name in PARTS}

    stage_1(2)
    filled(FeatureStore(tmp_path / "dump", data / "many", build_frontend(experiments[2])))
    assert parts(2)["test"].speakers == ["many02"] * 4
    with refuses("not written", where=f"strict_fold{FEW_FOLDS + 1}", fix=f"run stage 1 with --fold {FEW_FOLDS + 1}"):
        parts(FEW_FOLDS + 1)
    stage_1(FEW_FOLDS + 1)
    assert {name: len(part) for name, part in parts(FEW_FOLDS + 1).items()} == {"train": 76, "valid": 4, "test": 4}
    assert parts(FEW_FOLDS + 1)["test"].speakers == ["many21"] * 4


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
    with refuses("utterance one1-angry-00 is in one too", where="data/two"):
        opened(made, root)


def test_a_speaker_in_two_corpora_is_named(made, root):
    table = root / "two" / "strict_fold1" / "valid" / "utt2spk"
    table.write_text(table.read_text().replace(" two2", " one1"))
    with refuses("speaker one1 is in one too", where="strict_fold1/valid/utt2spk"):
        opened(made, root)


def test_a_fold_that_only_the_prepared_corpus_can_deny(made):
    with refuses("split strict of one, two has folds 1 to 4", where="fold = 5"):
        made.open(made.experiment("fold=5"))


@pytest.mark.parametrize("table", ["utt2votes", "spk2gender", "utt2emo", "utt2spk"])
def test_every_table_that_a_part_is_made_of_names_the_data(made, root, table):
    before = opened(made, root).hashes()["data_hash"]
    for path in root.glob(f"one/strict_fold1/train/{table}"):
        path.write_text("".join(f"{line}\n" for line in path.read_text().splitlines()[1:]))
    assert opened(made, root).hashes()["data_hash"] != before


def test_a_part_reads_no_table_but_those_that_name_the_data(made, monkeypatch):
    from ser.batches import part as module

    data, loaded = made.open(made.experiment()), set()

    def noted(path):
        loaded.add(path.name)
        return read_table(path)

    monkeypatch.setattr(module, "read_table", noted)
    data.parts("train")
    assert loaded <= set(module.TABLES)
    assert {"utt2spk", "utt2emo", "utt2votes", "spk2gender"} <= loaded


def copied(made, tmp_path, part):
    """A copy of corpus `one` under the name `copy`, as FLAC, its speakers in one part; opened with `one`."""
    recipe = shutil.copytree(made.recipe, tmp_path / "recipe")
    for path in sorted((made.root / "one").glob("*.wav")):
        samples, rate = soundfile.read(path, dtype="int16")
        target = tmp_path / "copy" / f"copy{path.stem[3:]}.flac"
        target.parent.mkdir(exist_ok=True)
        soundfile.write(target, samples, rate)
    split = {"train": [], "valid": [], "test": []}
    split[part] = [f"copy{n}" for n in (1, 2, 3, 4)]
    (recipe / "local" / "prepare_copy.py").write_text(PREPARER.replace("wav", "flac"))
    (recipe / "conf/corpora/copy.yaml").write_text(PROTOCOL.format(corpus="copy", split=split))
    prepare_corpus(
        load_preparer("copy", recipe), read_protocol("copy", recipe), tmp_path / "copy", tmp_path / "data/copy", False
    )
    shutil.copytree(made.data_root / "one", tmp_path / "data" / "one")
    experiment = made.experiment()
    experiment = replace(experiment, corpora=["one", "copy"])
    return open_data(experiment, recipe, tmp_path / "data", made.dump)


def test_equal_audio_in_different_parts_of_two_corpora_is_refused(made, tmp_path):
    with pytest.raises(InputError) as caught:
        copied(made, tmp_path, "train")
    message = str(caught.value)
    assert " 24 utterances " in message  # those of the two speakers that `one` validates on and tests
    assert "one2-happy-01 (one, valid) = copy2-happy-01 (copy, train)" in message
    assert "... and 19 more" in message


def test_equal_audio_within_a_part_is_counted(made):
    samples = {"a": {"train": {"a1": "x", "a2": "y"}, "test": {"a3": "z"}}, "b": {"train": {"b1": "x"}}}
    assert check_equal_audio(samples) == {"train": 1}
    assert made.open(made.experiment()).warnings() == []


def test_data_without_digests_of_samples_ask_for_stage_1(made, root):
    path = root / "one" / "cuts.jsonl.gz"
    text = gzip.decompress(path.read_bytes()).decode().replace('"samples_digest"', '"other"')
    path.write_bytes(gzip.compress(text.encode()))
    with refuses(fix="run stage 1"):
        opened(made, root)


def test_a_class_that_is_tested_and_not_trained_is_named(made, root):
    for path in (root / "one" / "strict_fold1" / "train").iterdir():
        lines = path.read_text().splitlines()
        path.write_text("".join(f"{line}\n" for line in lines if "-sad-" not in line.split()[0]))
    data = opened(made, root, corpora="one")
    assert data.untrained("test") == {"one": ["sad"]}
    assert data.untrained("valid") == {"one": ["sad"]}
    assert "one: sad " in data.warnings()[0]


def test_an_incomplete_copy_of_a_corpus_is_named_with_every_result(made, root):
    path = root / "one" / "report.json"
    report = json.loads(path.read_text())
    path.write_text(json.dumps(report | {"missing": ["40 of 48 utterances"], "unusable": 2}))
    data = opened(made, root, corpora="one")
    assert data.warnings() == [
        "one: an incomplete copy of the corpus (40 of 48 utterances, 2 utterances cannot be used)"
    ]
    path.write_text(json.dumps(report | {"missing": 3}))
    with refuses("not one of stage 1", where="report.json", fix="run stage 1"):
        data.warnings()
