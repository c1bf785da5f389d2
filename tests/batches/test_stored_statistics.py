"""Levels and statistics that are computed by the first training and read by the others."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from made import filled

from ser.batches import UtteranceDataset, compute_statistics, fit_statistics, open_data
from ser.batches.statistics import FOLDER
from ser.config import load
from ser.corpora.protocol import PARTS
from ser.features import ArkReader, FeatureStore
from ser.frontends import build_frontend

SETTINGS = replace(
    load("strict", None, ["corpora=[ravdess]"]).batches, trim_decibels=20, floor_decibels=30, normalisation="speaker"
)


@pytest.fixture
def parts(made, tmp_path):
    """Training parts of both corpora, with a feature set of the test's own."""
    found = made.open(made.experiment()).parts("train")
    for corpus, part in found.items():
        folder = tmp_path / corpus
        folder.mkdir()
        shutil.copy(part.reader.scp, folder)
        found[corpus] = replace(part, reader=ArkReader(folder / "feats.scp"))
    return found


def files(part):
    return sorted((part.reader.scp.parent / FOLDER).glob("*.safetensors"))


def values_of(parts, settings=SETTINGS):
    """All that a training takes from the statistics, as bytes."""
    views = [UtteranceDataset(part, settings) for part in parts.values()]
    read = [view.read(i) for view in views for i in range(len(view))]
    return [array.tobytes() for array in (*read, *fit_statistics(views), *(view.frames for view in views))]


def no_reading(*_):
    raise AssertionError("a stored statistic was computed again")


@pytest.mark.parametrize("kind", ["global", "utterance", "speaker", "corpus"])
@pytest.mark.parametrize("trim", [0, 20])
def test_stored_ones_are_those_that_are_computed_bit_for_bit(parts, kind, trim, monkeypatch):
    settings = replace(SETTINGS, normalisation=kind, trim_decibels=trim, floor_decibels=trim)
    computed = values_of({corpus: replace(part, features="") for corpus, part in parts.items()}, settings)
    assert not files(parts["one"])
    first = values_of(parts, settings)
    monkeypatch.setattr("ser.batches.dataset.RunningStats.add", no_reading)
    monkeypatch.setattr("ser.batches.dataset.UtteranceDataset._levels", no_reading)
    assert first == values_of(parts, settings) == computed


@pytest.mark.parametrize(
    "changes",
    [{"features": "other"}, {"ids": 1}, {"speakers": 1}, {"original": 1}]
    + [{"config": {key: value}} for key, value in (("trim_decibels", 1), ("floor_decibels", 9), ("frame_step", 2))]
    + [{"config": {"normalisation": "corpus"}}],
)
def test_other_features_utterances_or_settings_have_others(parts, changes):
    part = parts["one"]
    settings = replace(SETTINGS, **changes.get("config", {}))
    turned = {name: getattr(part, name)[::-1] for name in changes if name in ("ids", "speakers")}
    if "original" in changes:
        turned["original"] = np.arange(len(part)) > 0
    given = {name: value for name, value in changes.items() if name == "features"}
    before = UtteranceDataset(part, SETTINGS)
    other = UtteranceDataset(replace(part, **turned, **given), settings)
    assert other.key != before.key
    assert len(files(part)) == 4


def test_global_statistics_are_of_the_corpora_in_their_order(parts):
    views = [UtteranceDataset(part, SETTINGS) for part in parts.values()]
    fit_statistics(views)
    before = files(parts["one"]), files(parts["two"])
    fit_statistics(views[:1])
    assert (files(parts["one"]), files(parts["two"])) == before
    fit_statistics(views[::-1])
    assert len(files(parts["one"])) == len(before[0]) + 1
    assert len(files(parts["two"])) == len(before[1]) + 1


def test_damaged_ones_are_computed_again(parts):
    expected = values_of(parts)
    for path in [path for part in parts.values() for path in files(part)]:
        whole = path.read_bytes()
        for damaged in (b"", whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1])):
            path.write_bytes(damaged)
            assert values_of(parts) == expected
            assert path.read_bytes() == whole


def test_a_store_that_cannot_be_written_is_left_as_it_is(parts, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    values_of(parts)
    assert not files(parts["one"])


def stage_3(made, dump, experiment, jobs):
    """Features and statistics of so many jobs, one after another; the files of statistics -> their bytes."""
    for corpus in experiment.corpora:
        filled(FeatureStore(dump, made.data_root / corpus, build_frontend(experiment)))
    for job in range(jobs, 0, -1):
        compute_statistics(experiment, made.recipe, made.data_root, dump, job, jobs)
    return {path.relative_to(dump).as_posix(): path.read_bytes() for path in dump.rglob(f"{FOLDER}/*.safetensors")}


@pytest.mark.parametrize("kind", ["none", "global", "speaker", "corpus"])
def test_after_stage_3_no_training_and_no_decoding_computes_any(made, tmp_path, kind, monkeypatch):
    experiment = made.experiment(f"batches.normalisation={kind}", "batches.trim_decibels=20")
    written = stage_3(made, tmp_path / "three", experiment, 3)
    assert written == stage_3(made, tmp_path / "one", experiment, 1)
    # Levels of five parts (corpus `two` has no test), statistics of their groups, and sums up to each training part.
    assert len(written) == 5 + 5 * (kind in ("speaker", "corpus")) + 2 * (kind != "none")

    def values(data, **changes):
        parts = [{c: replace(p, **changes) for c, p in data.parts(name).items()} for name in PARTS]
        views = [[UtteranceDataset(part, experiment.batches) for part in each.values()] for each in parts]
        read = [view.read(i) for each in views for view in each for i in range(len(view))]
        return [array.tobytes() for array in (*read, *fit_statistics(views[0]))]

    data = open_data(experiment, made.recipe, made.data_root, tmp_path / "three")
    computed = values(data, features="")
    monkeypatch.setattr("ser.batches.dataset.RunningStats.add", no_reading)
    monkeypatch.setattr("ser.batches.dataset.UtteranceDataset._levels", no_reading)
    assert values(data) == computed


def test_of_a_store_that_cannot_be_written_stage_3_computes_none(made, tmp_path, monkeypatch):
    experiment = made.experiment("batches.trim_decibels=20")
    monkeypatch.setattr("ser.batches.load.can_store", lambda _: False)
    monkeypatch.setattr("ser.batches.dataset.UtteranceDataset._levels", no_reading)
    assert stage_3(made, tmp_path, experiment, 1) == {}
