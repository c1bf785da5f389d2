"""Utterances of other speakers, and babble of them."""

import json

import numpy as np
import pytest
import soundfile
from conftest import refuses

from ser.augment.babble_pool import BabblePool
from ser.augment.noise import Noise
from ser.augment.transforms import rms
from ser.common import InputError, digest
from ser.corpora.cuts import Cut

RATE = 8000

pytestmark = pytest.mark.filterwarnings("error")


def tone(frequency, loud, seconds=1.0, rate=RATE):
    """Whole periods, so that it can be looped."""
    return loud * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def pool_of(folder, sounds, rate=RATE, **fields):
    """BabblePool of {"<speaker>-<number>": samples}."""
    cuts = {}
    for name, samples in sounds.items():
        path = folder / f"{name}.wav"
        soundfile.write(path, samples, rate, subtype="FLOAT")
        cuts[name] = Cut(name, path, 0.0, len(samples) / rate, digest(path), **fields)
    return BabblePool(cuts, {name: name.split("-")[0] for name in sounds})


@pytest.fixture
def six(tmp_path):
    """Three speakers with two utterances each."""
    rng = np.random.default_rng(0)
    return pool_of(tmp_path, {f"{who}-{number}": rng.uniform(-0.3, 0.3, 4000) for number in "12" for who in "abc"})


def babble(talkers=(3, 7), snr=(13, 20), colours=("babble",)):
    return Noise("", list(colours), (0, 15), talkers, snr)


def drawn(kind, babble_pool, seed=0):
    values = kind.randomize_parameters(np.random.default_rng(seed), babble_pool)
    assert json.loads(json.dumps(values)) == values
    return values


# BabblePool


def test_ids_without_some_speakers(six):
    assert six.ids == ["a-1", "a-2", "b-1", "b-2", "c-1", "c-2"]
    assert list(six.exclude_speaker("b").ids) == ["a-1", "a-2", "c-1", "c-2"]
    assert list(six.exclude_speaker("b").exclude_speaker("a").ids) == ["c-1", "c-2"]
    assert list(six.exclude_speaker("nobody").ids) == six.ids


def test_others_are_those_of_another_speaker_however_names_sort(six):
    speakers = dict(zip(six.ids, "xyxxyz", strict=True))
    mixed = BabblePool(six.cuts, speakers)
    for speaker in "xyz":
        others = [name for name in six.ids if speakers[name] != speaker]
        ids = mixed.exclude_speaker(speaker).ids
        assert list(ids) == others
        assert [ids[i] for i in range(-len(others), 0)] == others
        with pytest.raises(IndexError):
            ids[len(others)]


def test_samples_are_the_stretch_at_the_rate_mixed_down(tmp_path):
    left, right = tone(200, 0.4, 2, 16000), tone(300, 0.4, 2, 16000)
    path = tmp_path / "u.wav"
    soundfile.write(path, np.stack([left, right], 1), 16000, subtype="FLOAT")
    cuts = {
        "mixed": Cut("mixed", path, 0.5, 1.0, "d", stretch=(8000, 16000)),
        "right": Cut("right", path, 0, 2, "d", 1),
    }
    babble_pool = BabblePool(cuts, dict.fromkeys(cuts, "a"))
    for name, seconds, frequencies in (("mixed", 1, {200, 300}), ("right", 2, {300})):
        samples = babble_pool.samples(name, RATE)
        assert (samples.dtype, samples.shape) == (np.float32, (RATE * seconds,))
        power = np.abs(np.fft.rfft(samples))
        assert set(np.flatnonzero(power > 0.2 * power.max()) / seconds) == frequencies


# Babble


def test_babble_is_of_others_each_once_and_named_by_content(six):
    seen = set()
    for seed in range(200):
        values = drawn(babble((2, 3)), six.exclude_speaker("a"), seed)
        names = [talker["utterance"] for talker in values["talkers"]]
        assert 13 <= values["snr"] <= 20
        assert len(names) == len(set(names))
        assert all(talker["audio_digest"] == digest(six.cuts[talker["utterance"]].path) for talker in values["talkers"])
        assert all(0 <= talker["place"] < 1 for talker in values["talkers"])
        seen.add((len(names), frozenset(names)))
    assert {count for count, _ in seen} == {2, 3}
    assert set().union(*(names for _, names in seen)) == {"b-1", "b-2", "c-1", "c-2"}
    assert drawn(babble(), six, 5) == drawn(babble(), six, 5)


def test_fewer_talkers_where_there_are_fewer(six):
    assert len(drawn(babble((3, 7)), six.exclude_speaker("a").exclude_speaker("b"))["talkers"]) == 2


def test_no_other_speakers_for_babble(six):
    alone = six.exclude_speaker("a").exclude_speaker("b").exclude_speaker("c")
    for pool in (alone, None):
        colours = {drawn(babble(colours=["white", "babble", "pink"]), pool, seed)["colour"] for seed in range(50)}
        assert colours == {"white", "pink"}
        with refuses("nobody else to babble"):
            drawn(babble(), pool)
    both = {drawn(babble(colours=["white", "babble"]), six, seed)["colour"] for seed in range(50)}
    assert both == {"white", "babble"}


@pytest.mark.parametrize("rate", [8000, 16000])
def test_talkers_are_equally_loud_at_the_ratio(tmp_path, rate):
    """Longer than the utterance, shorter and looped, at another rate than the file's; with an offset."""
    sounds = {"b-1": tone(200, 0.5, 1), "c-1": tone(500, 0.05, 4), "d-1": tone(900, 0.005, 2) + 0.1}
    babble_pool = pool_of(tmp_path, sounds)
    samples = tone(1500, 0.3, 2, rate).astype(np.float32)
    values = drawn(babble((3, 3)), babble_pool)
    changed = babble().apply(samples, rate, values, babble_pool)
    np.testing.assert_array_equal(babble().apply(samples, rate, values, babble_pool), changed)
    noise = changed - samples
    assert changed.dtype == np.float32
    assert 20 * np.log10(rms(samples) / rms(noise)) == pytest.approx(values["snr"], abs=0.01)
    size = np.abs(np.fft.rfft(noise))[[400, 1000, 1800]]
    np.testing.assert_allclose(size, size.mean(), rtol=0.05)
    assert abs(noise.mean()) < 1e-3 * rms(noise)


def test_babble_starts_at_the_position_and_is_looped(tmp_path):
    ramp = np.linspace(-0.4, 0.4, 1000)
    babble_pool = pool_of(tmp_path, {"b-1": ramp})
    values = drawn(babble((1, 1)), babble_pool)
    samples = np.full(1500, 0.5, np.float32)
    noise = babble().apply(samples, RATE, values, babble_pool) - samples
    expected = np.resize(np.roll(ramp, -int(values["talkers"][0]["place"] * 1000)), 1500)
    np.testing.assert_allclose(noise / rms(noise), expected / rms(expected), atol=1e-4)


def test_silent_utterances_add_nothing_and_no_nan(tmp_path):
    babble_pool = pool_of(tmp_path, {"b-1": np.zeros(800), "c-1": np.full(800, 0.1), "d-1": tone(200, 0.1)})
    samples = tone(500, 0.1).astype(np.float32)
    for others in (babble_pool, babble_pool.exclude_speaker("d")):
        changed = babble((3, 3)).apply(samples, RATE, drawn(babble((3, 3)), others), babble_pool)
        assert np.isfinite(changed).all()
        assert np.array_equal(changed, samples) == ("d-1" not in others.ids)
    for size in (0, 1, RATE):
        silent = np.zeros(size, np.float32)
        assert not babble().apply(silent, RATE, drawn(babble(), babble_pool), babble_pool).any()


def test_a_changed_utterance_is_refused(tmp_path, six):
    values = drawn(babble(), six)
    samples = tone(500, 0.1).astype(np.float32)
    first = values["talkers"][0]["utterance"]
    with refuses("babble was made of it", where=first):
        babble().apply(samples, RATE, values, six.exclude_speaker(first[0]))
    other = dict(six.cuts) | {first: Cut(first, six.cuts[first].path, 0.0, 0.5, "other")}
    with refuses("not what it was", where=first):
        babble().apply(samples, RATE, values, BabblePool(other, six.speakers))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"talkers": (0, 3)}, "noise.talkers = .0, 3."),
        ({"talkers": (7, 3)}, "noise.talkers = .7, 3."),
        ({"snr": (20, 13)}, "noise.babble_snr = .20, 13."),
        ({"colours": ["babel"]}, "not babel; there is: white, pink, brown, babble"),
    ],
)
def test_settings_of_babble_that_are_wrong(wrong, message):
    with pytest.raises(InputError, match=message):
        babble(**wrong)
