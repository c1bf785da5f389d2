from dataclasses import replace

import numpy as np
import pytest

from ser.batches import UtteranceDataset, collate, fit_statistics
from ser.config import load

SETTINGS = load("strict", None, ["corpora=[ravdess]"]).batches


@pytest.fixture
def parts(made):
    return made.open(made.experiment()).parts("train")


def values(source):
    return [source.read(i) for i in range(len(source.part))]


@pytest.mark.parametrize(("kind", "group"), [("utterance", "ids"), ("speaker", "speakers"), ("corpus", "corpus")])
def test_each_group_has_mean_0_and_deviation_1(parts, kind, group):
    source = UtteranceDataset(parts["one"], replace(SETTINGS, normalisation=kind))
    normalised = values(source)
    names = [parts["one"].corpus] * len(normalised) if group == "corpus" else getattr(parts["one"], group)
    for name in set(names):
        frames = np.concatenate([v for v, n in zip(normalised, names, strict=True) if n == name])
        np.testing.assert_allclose(frames.mean(0), 0, atol=1e-3)
        np.testing.assert_allclose(frames.std(0), 1, atol=1e-3)


@pytest.mark.parametrize("kind", ["global", "none"])
def test_global_and_none_read_the_archive_as_it_is(parts, kind):
    source = UtteranceDataset(parts["one"], replace(SETTINGS, normalisation=kind))
    np.testing.assert_array_equal(source.read(3), parts["one"].reader.read(parts["one"].ids[3]))


def test_statistics_are_those_of_all_training_frames(parts):
    sources = [UtteranceDataset(part, SETTINGS) for part in parts.values()]
    frames = np.concatenate([v for source in sources for v in values(source)]).astype(np.float64)
    mean, deviation = fit_statistics(sources)
    np.testing.assert_allclose(mean, frames.mean(0), rtol=1e-5)
    np.testing.assert_allclose(deviation, frames.std(0), rtol=1e-4)
    mean, deviation = fit_statistics(
        [UtteranceDataset(part, replace(SETTINGS, normalisation="none")) for part in parts.values()]
    )
    assert np.all(mean == 0)
    assert np.all(deviation == 1)


def test_a_batch_is_padded_with_zeros_and_carries_its_targets(parts):
    part = parts["two"]
    source = UtteranceDataset(part, SETTINGS)
    batch = collate(source, [(0, 0, 5), (3, 1, 7), (1, 0, 2)])
    assert batch.features.shape == (3, 8, 257)  # a multiple of 8
    assert batch.lengths.tolist() == [5, 7, 2]
    assert batch.targets.tolist() == [int(part.targets[i]) for i in (0, 3, 1)]
    np.testing.assert_array_equal(batch.features[1, :7].numpy(), source.read(3, 1, 7))
    assert batch.features[:, 7:].abs().max() == 0
    assert batch.features[0, 5:].abs().max() == 0
    assert batch.features[2, 2:].abs().max() == 0


def test_every_other_frame(parts):
    part = parts["one"]
    dataset = UtteranceDataset(part, replace(SETTINGS, frame_step=2))
    whole = part.reader.read(part.ids[5])
    assert dataset.frames[5] == len(whole[::2])
    np.testing.assert_array_equal(dataset.read(5), whole[::2])
    np.testing.assert_array_equal(dataset.read(5, 2, 4), whole[4:12:2])
    np.testing.assert_array_equal(dataset.read(5, int(dataset.frames[5]) - 1, 1), whole[::2][-1:])


def test_floor_and_trim(parts):
    part = parts["one"]
    whole = part.reader.read(part.ids[0])
    floored = UtteranceDataset(part, replace(SETTINGS, floor_decibels=20)).read(0)
    np.testing.assert_allclose(floored, np.maximum(whole, whole.max() - 20 * np.log(10) / 10), atol=1e-5)
    assert (floored > whole + 1e-3).any()
    trimmed = UtteranceDataset(part, replace(SETTINGS, trim_decibels=1))
    assert (trimmed.frames < part.frames).any()
    first, last = trimmed.ranges[0]
    np.testing.assert_array_equal(trimmed.read(0), whole[first:last])


def test_augmentation_is_random_and_speed_changes_the_length(parts):
    dataset = UtteranceDataset(parts["one"], replace(SETTINGS, speeds=[2.0], vtlp=0.1))
    assert dataset.augments
    assert not UtteranceDataset(parts["one"], SETTINGS).augments
    one, two, again = (collate(dataset, [(0, 0, 4), (1, 0, 4)], np.random.default_rng(s)) for s in (1, 2, 1))
    assert one.lengths.tolist() == [4, 4]
    assert np.array_equal(one.features, again.features)
    assert not np.array_equal(one.features, two.features)
    plain = collate(dataset, [(0, 0, 4), (1, 0, 4)])
    np.testing.assert_array_equal(plain.features[0, :4].numpy(), dataset.read(0, 0, 4))


def test_masks_cover_whole_frames_or_bins(parts):
    dataset = UtteranceDataset(parts["one"], replace(SETTINGS, time_masks=1, time_mask_width=2))
    plain, masked = dataset.read(0, 0, 8), dataset.read_augmented(0, 0, 8, np.random.default_rng(3))
    changed = (plain != masked).all(axis=1)
    assert (plain == masked).all(axis=1).sum() + changed.sum() == 8


def test_cached_utterances_equal_those_that_are_read(parts, monkeypatch):
    config = replace(SETTINGS, frame_step=2, normalisation="speaker")
    monkeypatch.setattr("ser.batches.dataset.CACHE_BYTES", 0)
    uncached = UtteranceDataset(parts["one"], config)
    monkeypatch.setattr("ser.batches.dataset.CACHE_BYTES", 2 * uncached.read(0).nbytes)
    cached = UtteranceDataset(parts["one"], config)
    for _ in range(2):
        for i in range(len(parts["one"])):
            np.testing.assert_array_equal(cached.read(i), uncached.read(i))
            np.testing.assert_array_equal(cached.read(i, 1, 3), uncached.read(i, 1, 3))
    assert 0 in cached._cache
    assert len(cached._cache) < len(parts["one"])
    assert not uncached._cache
