"""Protocols of control experiments: fewer training utterances, permuted labels."""

from collections import Counter
from pathlib import Path

import pytest
import yaml
from conftest import refuses
from made import CLASSES, PREPARER, PROTOCOL, SPLITS, write_corpus

from ser.corpora import Protocol, read_protocol
from ser.corpora.describe import protocol_hash, read_prepared
from ser.corpora.kaldi import read_table
from ser.corpora.prepare import prepare_corpus
from ser.corpora.preparers import load_preparer


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of four speakers, with eight utterances of each class."""
    root = tmp_path_factory.mktemp("controls")
    (root / "conf" / "corpora").mkdir(parents=True)
    (root / "local").mkdir()
    (root / "local" / "prepare_one.py").write_text(PREPARER)
    (root / "conf" / "corpora" / "one.yaml").write_text(PROTOCOL.format(corpus="one", split=SPLITS["one"]))
    write_corpus(root / "one", [f"one{i}" for i in range(1, 5)], 8, 0)
    return root


def protocol_of(recipe: Path, **values: object) -> Protocol:
    path = recipe / "conf" / "corpora" / "control.yaml"
    path.write_text(yaml.safe_dump({"base": "one", **values}))
    return read_protocol("control", recipe)


def prepared(recipe: Path, out: Path, **values: object) -> str:
    protocol = protocol_of(recipe, **values)
    return prepare_corpus(load_preparer("one", recipe), protocol, recipe / "one", out, allow_partial=False)


def emotions(out: Path, part: str = "strict_fold1/train") -> dict[str, str]:
    return read_table(out / part / "utt2emo")


def test_keep_takes_a_share_of_each_speaker_and_label(recipe: Path, tmp_path: Path) -> None:
    train = {}
    for name, keep in (("whole", None), ("half", 0.5), ("quarter", 0.25)):
        text = prepared(recipe, tmp_path / name, **({"keep": keep} if keep else {}))
        train[name] = emotions(tmp_path / name)
        assert (f"strict_fold1/train: {64 - len(train[name])} utterances left out (keep: {keep})" in text) == bool(keep)
    assert [len(utt2emo) for utt2emo in train.values()] == [64, 32, 16]
    assert train["quarter"].items() < train["half"].items() < train["whole"].items()
    for name, number in (("half", 4), ("quarter", 2)):
        counts = Counter((key.partition("-")[0], emotion) for key, emotion in train[name].items())
        assert counts == {(speaker, emotion): number for speaker in ("one3", "one4") for emotion in CLASSES}
    for part in ("valid", "test"):
        by_keep = [emotions(tmp_path / name, f"strict_fold1/{part}") for name in train]
        assert by_keep[0] == by_keep[1] == by_keep[2]
    hashes = {protocol_hash(read_prepared(tmp_path / name), "strict") for name in train}
    assert len(hashes) == 3


def test_kept_hours_are_not_exceeded(recipe: Path, tmp_path: Path) -> None:
    prepared(recipe, tmp_path / "whole")
    seconds = {key: float(value) for key, value in read_table(tmp_path / "whole/strict_fold1/train/utt2dur").items()}
    hours = 0.5 * sum(seconds.values()) / 3600
    prepared(recipe, tmp_path / "cut", keep={"hours": hours})
    train = emotions(tmp_path / "cut")
    kept_hours = sum(seconds[key] for key in train) / 3600
    assert hours - 0.5 / 3600 < kept_hours <= hours  # no utterance is longer than half a second
    assert all(6 <= number <= 10 for number in Counter(train.values()).values())
    prepared(recipe, tmp_path / "more", keep={"hours": 10})
    assert emotions(tmp_path / "more") == emotions(tmp_path / "whole")


def test_labels_are_permuted_within_each_speaker(recipe: Path, tmp_path: Path) -> None:
    prepared(recipe, tmp_path / "own")
    text = prepared(recipe, tmp_path / "permuted", shuffle_labels=True)
    assert "labels are permuted" in text
    original = read_prepared(tmp_path / "own")
    permuted = read_prepared(tmp_path / "permuted")
    assert original.utterances.keys() == permuted.utterances.keys()
    by_speaker = [
        Counter((u.speaker, u.emotion) for u in corpus.utterances.values()) for corpus in (original, permuted)
    ]
    assert by_speaker[0] == by_speaker[1]
    same = sum(original.utterances[key].emotion == u.emotion for key, u in permuted.utterances.items())
    assert same < 0.5 * len(original.utterances)  # a quarter by chance
    assert not (tmp_path / "permuted" / "strict_fold1" / "train" / "utt2votes").exists()
    before = emotions(tmp_path / "permuted")
    assert "up to date" in prepared(recipe, tmp_path / "permuted", shuffle_labels=True)
    assert emotions(tmp_path / "permuted") == before


@pytest.mark.parametrize("keep", [0, 1.5, -0.5, "half", True, {"hours": 0}, {"minutes": 3}, [0.5]])
def test_an_invalid_keep_is_refused(recipe: Path, keep: object) -> None:
    with refuses("keep: a share of the training utterances", where="control.yaml"):
        protocol_of(recipe, keep=keep)
