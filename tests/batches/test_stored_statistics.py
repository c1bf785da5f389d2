"""Statistics that the first training computes and the others read."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from made import filled
from safetensors.torch import load as load_bytes
from safetensors.torch import save

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
    """Training parts of both corpora, each with a feature set of its own."""
    parts = made.open(made.experiment()).parts("train")
    for corpus, part in parts.items():
        folder = tmp_path / corpus
        folder.mkdir()
        shutil.copy(part.reader.scp, folder)
        parts[corpus] = replace(part, reader=ArkReader(folder / "feats.scp"))
    return parts


def files(part):
    return sorted((part.reader.scp.parent / FOLDER).glob("*.safetensors"))


def values_of(parts, settings=SETTINGS):
    """Everything that a training takes from the statistics, as bytes."""
    datasets = [UtteranceDataset(part, settings) for part in parts.values()]
    read = [dataset.read(i) for dataset in datasets for i in range(len(dataset))]
    return [array.tobytes() for array in (*read, *fit_statistics(datasets), *(dataset.frames for dataset in datasets))]


def no_reading(*_):
    raise AssertionError("a stored statistic was computed again")


@pytest.mark.parametrize("kind", ["global", "utterance", "speaker", "corpus"])
@pytest.mark.parametrize("trim", [0, 20])
def test_stored_statistics_equal_computed_ones_bit_for_bit(parts, kind, trim, monkeypatch):
    settings = replace(SETTINGS, normalisation=kind, trim_decibels=trim, floor_decibels=trim)
    computed = values_of({corpus: replace(part, features="") for corpus, part in parts.items()}, settings)
    assert not files(parts["one"])
    first = values_of(parts, settings)
    monkeypatch.setattr("ser.batches.dataset.RunningStats.add", no_reading)
    monkeypatch.setattr("ser.batches.dataset.UtteranceDataset._ranges_and_floors", no_reading)
    assert first == values_of(parts, settings) == computed


@pytest.mark.parametrize(
    "changes",
    [{"features": "other"}, {"ids": 1}, {"speakers": 1}, {"original": 1}]
    + [{"config": {key: value}} for key, value in (("trim_decibels", 1), ("floor_decibels", 9), ("frame_step", 2))]
    + [{"config": {"normalisation": "corpus"}}],
)
def test_other_features_utterances_or_settings_have_other_statistics(parts, changes):
    part = parts["one"]
    settings = replace(SETTINGS, **changes.get("config", {}))
    turned = {name: getattr(part, name)[::-1] for name in changes if name in ("ids", "speakers")}
    if "original" in changes:
        turned["original"] = np.arange(len(part)) > 0
    given = {name: value for name, value in changes.items() if name == "features"}
    before = UtteranceDataset(part, SETTINGS)
    other = UtteranceDataset(replace(part, **turned, **given), settings)
    assert other.statistics_key != before.statistics_key
    assert len(files(part)) == 4


def test_global_statistics_depend_on_the_order_of_the_corpora(parts):
    datasets = [UtteranceDataset(part, SETTINGS) for part in parts.values()]
    fit_statistics(datasets)
    before = files(parts["one"]), files(parts["two"])
    fit_statistics(datasets[:1])
    assert (files(parts["one"]), files(parts["two"])) == before
    fit_statistics(datasets[::-1])
    assert len(files(parts["one"])) == len(before[0]) + 1
    assert len(files(parts["two"])) == len(before[1]) + 1


def test_damaged_statistics_are_computed_again(parts):
    expected = values_of(parts)
    for path in [path for part in parts.values() for path in files(part)]:
        whole = path.read_bytes()
        for damaged in (b"", whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1])):
            path.write_bytes(damaged)
            assert values_of(parts) == expected
            assert path.read_bytes() == whole


def test_statistics_of_an_earlier_format_are_computed_again(parts):
    expected = values_of(parts)
    for path in [path for part in parts.values() for path in files(part)]:
        whole = path.read_bytes()
        path.write_bytes(save(load_bytes(whole), {"checksum": "1"}))
        assert values_of(parts) == expected
        assert path.read_bytes() == whole


def test_nothing_is_written_to_a_read_only_store(parts, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    values_of(parts)
    assert not files(parts["one"])


def stage_3(made, dump, experiment, jobs):
    """Compute features and statistics in some jobs, one after another; return file of statistics -> its bytes."""
    for corpus in experiment.corpora:
        filled(FeatureStore(dump, made.data_root / corpus, build_frontend(experiment)))
    for job in range(jobs, 0, -1):
        compute_statistics(experiment, made.recipe, made.data_root, dump, job, jobs)
    return {path.relative_to(dump).as_posix(): path.read_bytes() for path in dump.rglob(f"{FOLDER}/*.safetensors")}


@pytest.mark.parametrize("kind", ["none", "global", "speaker", "corpus"])
def test_after_stage_3_training_and_decoding_compute_no_statistics(made, tmp_path, kind, monkeypatch):
    experiment = made.experiment(f"batches.normalisation={kind}", "batches.trim_decibels=20")
    written = stage_3(made, tmp_path / "three", experiment, 3)
    assert written == stage_3(made, tmp_path / "one", experiment, 1)
    # Ranges and floors of five parts (corpus `two` has no test), group statistics of these, sums up to each train part.
    assert len(written) == 5 + 5 * (kind in ("speaker", "corpus")) + 2 * (kind != "none")

    def values(data, **changes):
        parts = [{c: replace(p, **changes) for c, p in data.parts(name).items()} for name in PARTS]
        datasets = [[UtteranceDataset(part, experiment.batches) for part in each.values()] for each in parts]
        read = [dataset.read(i) for each in datasets for dataset in each for i in range(len(dataset))]
        return [array.tobytes() for array in (*read, *fit_statistics(datasets[0]))]

    data = open_data(experiment, made.recipe, made.data_root, tmp_path / "three")
    computed = values(data, features="")
    monkeypatch.setattr("ser.batches.dataset.RunningStats.add", no_reading)
    monkeypatch.setattr("ser.batches.dataset.UtteranceDataset._ranges_and_floors", no_reading)
    assert values(data) == computed


def test_stage_3_computes_nothing_for_a_read_only_store(made, tmp_path, monkeypatch):
    experiment = made.experiment("batches.trim_decibels=20")
    monkeypatch.setattr("ser.batches.load.can_store", lambda _: False)
    monkeypatch.setattr("ser.batches.dataset.UtteranceDataset._ranges_and_floors", no_reading)
    assert stage_3(made, tmp_path, experiment, 1) == {}
