import numpy as np
import pytest

from ser.batches import Normaliser, collate, fit_statistics


@pytest.fixture
def parts(made):
    return made.open(made.experiment()).parts("train")


def values(source):
    return [source.read(i) for i in range(len(source.part))]


@pytest.mark.parametrize(("kind", "group"), [("utterance", "ids"), ("speaker", "speakers"), ("corpus", "corpus")])
def test_each_group_has_mean_0_and_deviation_1(parts, kind, group):
    source = Normaliser(parts["one"], kind)
    found = values(source)
    names = [parts["one"].corpus] * len(found) if group == "corpus" else getattr(parts["one"], group)
    for name in set(names):
        frames = np.concatenate([v for v, n in zip(found, names, strict=True) if n == name])
        np.testing.assert_allclose(frames.mean(0), 0, atol=1e-3)
        np.testing.assert_allclose(frames.std(0), 1, atol=1e-3)


@pytest.mark.parametrize("kind", ["global", "none"])
def test_global_and_none_read_the_archive_as_it_is(parts, kind):
    source = Normaliser(parts["one"], kind)
    np.testing.assert_array_equal(source.read(3), parts["one"].reader.read(parts["one"].ids[3]))


def test_statistics_are_those_of_all_training_frames(parts):
    sources = [Normaliser(part, "global") for part in parts.values()]
    frames = np.concatenate([v for source in sources for v in values(source)]).astype(np.float64)
    mean, deviation = fit_statistics(sources, "global")
    np.testing.assert_allclose(mean, frames.mean(0), rtol=1e-5)
    np.testing.assert_allclose(deviation, frames.std(0), rtol=1e-4)
    mean, deviation = fit_statistics(sources, "none")
    assert np.all(mean == 0)
    assert np.all(deviation == 1)


def test_a_batch_is_padded_with_zeros_and_carries_its_targets(parts):
    part = parts["two"]
    source = Normaliser(part, "global")
    batch = collate(source, [(0, 0, 5), (3, 1, 7), (1, 0, 2)])
    assert batch.features.shape == (3, 7, 257)
    assert batch.lengths.tolist() == [5, 7, 2]
    assert batch.targets.tolist() == [int(part.targets[i]) for i in (0, 3, 1)]
    np.testing.assert_array_equal(batch.features[1].numpy(), source.read(3, 1, 7))
    assert batch.features[0, 5:].abs().max() == 0
    assert batch.features[2, 2:].abs().max() == 0
