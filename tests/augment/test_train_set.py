"""Stage 2: the training utterances of a fold with augmented copies, and how they are loaded."""

import gzip
import json
from pathlib import Path

import numpy as np
import programs
import pytest
import soundfile
from conftest import ROOT, refuses
from made import filled, make

from ser.augment.train_set import copies_table
from ser.batches import UtteranceDataset, fit_statistics
from ser.batches.load import open_train_sets
from ser.config import write_experiment
from ser.corpora.cuts import read_cuts
from ser.corpora.kaldi import read_table, validate, write_table
from ser.features import FeatureStore
from ser.frontends import build_frontend

SMALL = ("augment.copies=1", "augment.kinds=[volume,noise,speed]", "augment.noise.colours=[white]")


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """Corpora of 24 and 12 training utterances, so that those of the second get one copy each, with features."""
    made = make(tmp_path_factory.mktemp("copied"))
    experiment = made.experiment(*SMALL)
    sets = sets_of(made, experiment)
    for train_set in sets.values():
        if train_set.oversampling > 1:
            train_set.write()
            store = FeatureStore(made.dump, train_set.folder, build_frontend(experiment), train_set.augment)
            filled(store).link()
    return made, experiment, sets


def sets_of(made, experiment, write=False):
    sets = open_train_sets(experiment, made.recipe, made.data_root, made.dump)
    for train_set in sets.values() if write else ():
        train_set.write()
    return sets


def fresh(tmp_path):
    made = make(tmp_path)
    return made, sets_of(made, made.experiment(*SMALL))


def test_the_smaller_corpus_gets_copies_of_its_training_utterances(copied):
    _, _, sets = copied
    assert {corpus: train_set.oversampling for corpus, train_set in sets.items()} == {"one": 1, "two": 2}
    folder = sets["two"].folder
    assert validate(folder) == 24
    utt2uniq = sets["two"].originals()
    utt2spk = read_table(sets["two"].train / "utt2spk")
    assert {key for key, of in utt2uniq.items() if key == of} == set(utt2spk)
    assert sorted(key for key, of in utt2uniq.items() if key != of) == sorted(f"{key}-copy1" for key in utt2spk)
    assert set(utt2spk.values()) == {"two1"}  # no speaker of valid
    for name in ("utt2spk", "utt2emo", "utt2votes"):
        before, after = read_table(sets["two"].train / name), read_table(folder / name)
        assert after == {key: before[of] for key, of in utt2uniq.items()}


def test_the_manifest_reports_what_was_done(copied):
    _, _, sets = copied
    cuts = {cut.id: cut for cut in read_cuts(sets["two"].folder / "cuts.jsonl.gz")}
    copies = [cut for cut in cuts.values() if cut.original]
    assert len(copies) == 12
    for cut in copies:
        (step,) = cut.steps
        assert step["kind"] in ("volume", "noise", "speed")
        assert step.keys() & {"decibels", "snr", "factor"}
        assert cut.path == cuts[cut.original].path
    with gzip.open(sets["two"].folder / "cuts.jsonl.gz", "rt") as file:
        row = next(row for line in file if "copy" in (row := json.loads(line))["supervisions"][0]["custom"])
    assert row["supervisions"][0]["custom"]["copy"]["number"] == 1


def test_writing_a_set_is_deterministic(copied, tmp_path):
    _, _, sets = copied
    _, again = fresh(tmp_path)
    again["two"].write()
    one, two = ([(cut.id, cut.steps) for cut in read_cuts(s["two"].folder / "cuts.jsonl.gz")] for s in (sets, again))
    assert one == two
    assert again["two"].folder.name == sets["two"].folder.name


def test_training_uses_the_copies_and_counts_the_originals(copied):
    made, experiment, _ = copied
    data = made.open(experiment)
    plain = made.open(made.experiment())
    part, before = data.parts("train")["two"], plain.parts("train")["two"]
    assert len(part) == 24
    assert part.original.sum() == 12
    assert part.class_counts.tolist() == before.class_counts.tolist() == [3, 3, 3, 3]
    of = dict(zip(before.ids, zip(before.targets, before.speakers, before.votes.tolist(), strict=True), strict=True))
    for i, key in enumerate(part.ids):
        assert (part.targets[i], part.speakers[i], part.votes[i].tolist()) == of[key.removesuffix("-copy1")]
    for name in ("valid", "test"):
        for one, two in zip(data.parts(name).values(), plain.parts(name).values(), strict=True):
            assert one.ids == two.ids
    assert data.hashes()["data_hash"] != plain.hashes()["data_hash"]
    assert data.hashes()["config_hash"] != plain.hashes()["config_hash"]


@pytest.mark.parametrize("normalisation", ["global", "speaker", "corpus", "utterance"])
def test_statistics_are_of_originals(copied, normalisation):
    made, _, _ = copied

    def views(*overrides):
        experiment = made.experiment(f"batches.normalisation={normalisation}", *overrides)
        return [UtteranceDataset(part, experiment.batches) for part in made.open(experiment).parts("train").values()]

    one, two = views(*SMALL), views()
    np.testing.assert_array_equal(fit_statistics(one), fit_statistics(two))
    for view in one:
        assert all(np.isfinite(view.read(i)).all() and np.abs(view.read(i)).max() < 100 for i in range(len(view)))


def test_without_stage_2_the_error_names_it(tmp_path):
    made, _ = fresh(tmp_path)
    with refuses(fix="run stage 2"):
        made.open(made.experiment(*SMALL))


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_copy_of_a_held_out_utterance_is_refused(tmp_path, part):
    made = make(tmp_path)
    experiment = made.experiment("augment.copies=2", *SMALL[1:])
    sets = sets_of(made, experiment, write=True)
    folder = sets["one"].folder
    stranger = next(iter(read_table(sets["one"].train.with_name(part) / "utt2spk")))
    table = read_table(folder / "utt2uniq")
    write_table(folder / "utt2uniq", table | {next(key for key in table if key.endswith("-copy1")): stranger})
    with refuses(f"copy of {stranger}"):
        made.open(experiment)


@pytest.mark.parametrize("change", ["label", "speaker", "audio", "settings"])
def test_nothing_stale_is_used(tmp_path, change):
    """Each change gives the set another name, so that the old one is not found."""
    made, sets = fresh(tmp_path)
    sets["two"].write()
    experiment, train, before = made.experiment(*SMALL), sets["two"].train, sets["two"].folder
    if change == "settings":
        experiment = made.experiment(*SMALL, "augment.noise.snr=[1,2]")
    elif change == "audio":
        path = made.data_root / "two" / "cuts.jsonl.gz"
        with gzip.open(path, "rt") as file:
            text = file.read()
        digest = json.loads(text.splitlines()[0])["supervisions"][0]["custom"]["audio_digest"]
        with gzip.open(path, "wt") as file:
            file.write(text.replace(digest, "0" * 16))
    else:
        name = {"label": "utt2emo", "speaker": "utt2spk"}[change]
        table = read_table(train / name)
        write_table(train / name, table | {next(iter(table)): {"label": "sad", "speaker": "two9"}[change]})
    again = sets_of(made, experiment)["two"]
    assert before.is_dir()
    assert again.folder != before
    assert not again.finished


def test_a_copy_that_cannot_be_made_is_counted_and_listed(tmp_path):
    made = make(tmp_path)
    experiment = made.experiment("augment.copies=3", "augment.kinds=[mp3]")
    sets = sets_of(made, experiment)
    key = next(iter(read_table(sets["two"].train / "utt2spk")))
    path = made.data_root / "two" / "cuts.jsonl.gz"
    with gzip.open(path, "rt") as file:
        rows = [json.loads(line) for line in file]
    for row in rows:
        if row["id"] == key:
            row["duration"] = 0.09
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    sets = sets_of(made, experiment, write=True)
    assert len(sets["two"].originals()) == 12 * sets["two"].oversampling - (sets["two"].oversampling - 1)
    lines = (sets["two"].folder / "left_out.tsv").read_text().splitlines()
    assert lines[0] == f"{key}-copy1\tmp3 takes 0.1 s or more, and this is 0.090 s long"
    assert f"too short, see left_out.tsv {len(lines)}" in copies_table(sets)


def step(made, experiment, *options):
    folder = made.root / "exp"
    folder.mkdir(exist_ok=True)
    write_experiment(experiment, folder / "config.yaml")
    where = ["--recipe", made.recipe, "--data", made.data_root, "--dump", made.dump, folder]
    return programs.run(ROOT / "steps" / "augment.py", *options, *where)


@pytest.mark.slow
def test_stage_2_prints_counts_before_and_after(tmp_path):
    made = make(tmp_path)
    done = step(made, made.experiment(*SMALL))
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["one", "1", "before", "24", "6", "6", "6", "6"] in rows
    assert ["one", "1", "after", "24", "6", "6", "6", "6"] in rows
    assert ["two", "2", "before", "12", "3", "3", "3", "3"] in rows
    assert ["two", "2", "after", "24", "6", "6", "6", "6"] in rows
    assert "two: copies by kind: " in done.stdout
    dirs = step(made, made.experiment(*SMALL), "--dirs", "true").stdout.splitlines()
    assert [Path(line).name.split("_")[0] for line in dirs] == ["one", "two", "train"]
    assert step(made, made.experiment()).stdout == "augment.copies is 0: no copies\n"


@pytest.mark.slow
def test_a_preview_has_a_wav_a_kind_and_a_picture(tmp_path):
    made = make(tmp_path)
    key = next(iter(read_table(made.data_root / "two" / "strict_fold1" / "train" / "utt2spk")))
    done = step(made, made.experiment("augment.kinds=[speed,vtlp,noise,mp3]"), "--preview", key)
    assert done.returncode == 0, done.stderr
    folder = made.root / "exp" / "preview" / key
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*(f"{name}.wav" for name in ("original", "speed", "vtlp", "noise", "mp3")), "spectrograms.png"]
    )
    original, rate = soundfile.read(folder / "original.wav")
    assert rate == 8000
    for name in ("vtlp", "noise", "mp3"):
        changed, _ = soundfile.read(folder / f"{name}.wav")
        assert len(changed) == len(original)
        assert np.abs(changed - original).max() > 1e-3
    assert (folder / "spectrograms.png").read_bytes()[:4] == b"\x89PNG"
    wrong = step(made, made.experiment(), "--preview", key + "x")
    assert wrong.returncode == 1
    assert f"did you mean {key}?" in wrong.stderr
    assert "Traceback" not in wrong.stderr
