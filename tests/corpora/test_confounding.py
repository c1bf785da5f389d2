"""Dependence of the class on the speaker: its measure, and the trainings that it stops."""

import gzip
import json
import shutil
from contextlib import contextmanager
from math import log

import numpy as np
import pytest
from conftest import refuses
from lab import Lab
from made import Made

from ser.common import InputError
from ser.config import load, write_experiment
from ser.corpora.confounding import LIMIT, confounding
from ser.corpora.describe import read_prepared
from ser.corpora.main import main
from ser.corpora.splits import partition
from ser.grid.run import train

# Utterances of each speaker of URDU in angry, happy, neutral, sad.
URDU = [
    *([n, 0, 0, 0] for n in (22, 28, 48)),
    *([0, n, 0, 0] for n in (12, 2, 2, 4, 4, 14, 6, 2, 2, 2, 2, 28)),
    *([0, 0, n, 0] for n in (4, 10, 4, 2)),
    *([0, 0, 0, n] for n in (2, 4, 6, 38, 40, 2, 4)),
    *([2, 2, 8, 0], [0, 8, 72, 0], [0, 10, 0, 4]),
]


def measured(rows):
    return confounding((f"s{i}", "ahns"[c]) for i, row in enumerate(rows) for c, n in enumerate(row) for _ in range(n))


def test_figures_computed_by_hand():
    """Speaker 0 has 3 a and 1 h, speaker 1 has 4 h: H(class) of 3 and 5, H(class | speaker) half of 3 and 1."""
    figures = measured([[3, 1], [0, 4]])
    entropy = -(3 / 8 * log(3 / 8) + 5 / 8 * log(5 / 8))
    conditional = -(3 / 4 * log(3 / 4) + 1 / 4 * log(1 / 4)) / 2
    assert figures.information == pytest.approx((entropy - conditional) / entropy)
    assert (figures.speakers, figures.single, figures.share, figures.largest) == (2, 1, 1.0, ("s0", "a"))


@pytest.mark.parametrize(
    ("rows", "single", "confounded"),
    [
        (URDU, 26, True),
        ([[9, 0, 0, 0], [0, 9, 0, 0], [0, 0, 9, 0], [0, 0, 0, 9]], 4, True),
        ([[5, 5, 0, 0], [0, 0, 5, 5]], 0, True),  # the speaker determines half of the class
        ([[98, 1, 1, 0], [1, 98, 0, 1], [0, 1, 98, 1]], 0, True),
        ([[8, 8, 4, 8]] * 24, 0, False),
        ([[200, 200, 200, 200]] * 2, 0, False),
        ([[14, 5, 11, 4], [6, 11, 9, 10], [16, 2, 10, 4]], 0, False),
        ([[10, 10, 10, 10]] * 8 + [[10, 0, 0, 0], [0, 10, 0, 0]], 2, False),  # a few speakers of one class
        ([[7], [9]], 0, False),  # one class only
    ],
)
def test_corpora_are_confounded_or_not(rows, single, confounded):
    figures = measured(rows)
    assert (figures.single, figures.information >= LIMIT) == (single, confounded)


@pytest.mark.parametrize("groups", [3, 4, 5])
def test_every_group_gets_each_class_with_enough_speakers(groups):
    """Angry has four speakers, one of them with two utterances only, so one of five groups lacks it."""
    counts = np.array(URDU, float)
    counts = np.c_[counts, counts.sum(1)]
    part = np.array(partition(counts, [1 / groups] * groups, range(len(counts))))
    filled = np.array([counts[part == k].sum(0) for k in range(groups)])
    lacking = max(0, groups - int((counts[:, 0] > 0).sum()))
    assert int((filled == 0).sum()) == lacking
    assert part.tolist() == partition(counts, [1 / groups] * groups, range(len(counts)))


def test_classes_in_every_group_come_before_balance():
    """By size alone the second speaker, without utterances of the second class, would be a group of its own."""
    counts = np.array([[32, 6, 38], [33, 0, 33], [10, 1, 11], [10, 25, 35]], float)
    part = partition(counts, [1 / 3] * 3, range(4))
    assert part[1] == part[2]
    assert len(set(part)) == 3


@contextmanager
def changed_rows(path):
    """Read the rows of a manifest, and write them back after the block."""
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    yield rows
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


@pytest.fixture
def by_speaker(made, tmp_path):
    """The made corpora, with manifests of corpus `one` in which every speaker has a single class."""
    root = tmp_path / "data"
    shutil.copytree(made.data_root, root, symlinks=True)
    names = {f"one{i}": name for i, name in enumerate(("angry", "happy", "neutral", "sad"), 1)}
    with changed_rows(root / "one" / "cuts.jsonl.gz") as rows:
        for supervision in [supervision for row in rows for supervision in row["supervisions"]]:
            supervision["custom"]["emotion"] = names[supervision["speaker"]]

    class Changed(Made):
        data_root = root

    return Changed(made.root)


def test_a_training_stops_before_it_begins(by_speaker, tmp_path):
    data = by_speaker.open(by_speaker.experiment("batches.normalisation=speaker"))
    with pytest.raises(InputError, match=r"one .*4 of 4 speakers.* 1\.00.*strong_global.*--allow-confounded true"):
        train(data, tmp_path / "exp")
    assert not (tmp_path / "exp").exists()
    with refuses("4 of 4 speakers"):
        data.check_confounded("speaker")
    data.check_confounded("global")
    allowed = by_speaker.open(
        by_speaker.experiment("batches.normalisation=speaker", "batches.allow_confounded=true", "training.max_epochs=1")
    )
    assert allowed.hashes() | {"config_hash": ""} == data.hashes() | {"config_hash": ""}
    assert any("4 of 4 speakers" in text for text in allowed.warnings())
    assert not any("4 of 4 speakers" in text for text in allowed.warnings("global"))
    allowed.check_confounded("speaker")


def test_folds_without_a_class_are_listed(made, tmp_path):
    """Each fold of `one` tests one speaker; fold 1 tests one1, who has the class angry only."""
    root = tmp_path / "data"
    shutil.copytree(made.data_root / "one", root, symlinks=True)
    assert read_prepared(root).missing_classes() == []
    with changed_rows(root / "supervisions.jsonl.gz") as rows:
        for row in rows:
            if row["speaker"] == "one1":
                row["custom"]["emotion"] = "angry"
    lines = read_prepared(root).missing_classes()
    assert [line.split(":")[0] for line in lines] == ["strict valid", "strict test"]
    assert "1 of 4 folds: fold 4 happy, neutral, sad" in lines[0]
    assert "1 of 4 folds: fold 1 happy, neutral, sad" in lines[1]


def test_stage_1_prints_the_figures_and_refuses_normalisation_by_speaker(tmp_path, capsys):
    lab = Lab(tmp_path, "csv")
    lab.write(
        classes=["angry", "sad"],
        labels={"angry": "angry", "sad": "sad"},
        splits={"strict": {"groups": 4}, "loso": {"groups": "speakers"}},
    )
    rows = [(f"{i}_{n}.wav", f"s{i}", ("angry", "sad")[i % 2]) for i in range(8) for n in range(2)]
    for name, *_ in rows:
        lab.noise(name)
    lab.table("calls.csv", "path,speaker,emotion", *map(",".join, rows))
    arguments = ["lab", str(lab.corpus), str(lab.out), "--recipe", str(lab.recipe), "--experiment"]
    for normalisation in ("global", "speaker"):
        experiment = load("strict", lab.recipe, ["corpora=[lab]", f"batches.normalisation={normalisation}"])
        write_experiment(experiment, tmp_path / f"{normalisation}.yaml")
    assert main([*arguments, str(tmp_path / "global.yaml")]) == 0
    printed = capsys.readouterr().out
    assert "8 of 8 speakers have one class only" in printed
    assert "strict test" not in printed
    assert "loso test: no utterance of some class in 8 of 8 folds: fold 1 sad; fold 2 angry" in printed
    assert main([*arguments, str(tmp_path / "speaker.yaml")]) == 1
    assert "8 of 8 speakers" in capsys.readouterr().err
