"""A recording in cells and windows, in bounded memory."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from conftest import refuses

from ser.audio import read_audio, resample
from ser.diarization.settings import read_settings
from ser.diarization.windows import (
    Windows,
    blocks_at,
    count_cells,
    cut_windows,
    read_levels,
    score_windows,
    speaker_statistics,
    speech_probability,
)
from ser.inference.model import open_model
from ser.inference.predictor import Predictor

RATE = 8000


class Stub:
    """A predictor that answers with the mean and the number of samples."""

    classes, grouped = ("mean", "samples"), False

    def frames(self, samples):
        return samples

    def normalised(self, samples, statistics=None):
        return np.array([samples.mean(), len(samples)])

    def posteriors(self, prepared):
        return np.array(prepared, np.float32)


def settings(**changes):
    return read_settings(None, {"window": 2.0, "hop": 0.25, **changes})


def noise(seconds, channels=1, seed=0, level=0.1):
    return np.random.default_rng(seed).normal(0, level, (round(seconds * RATE), channels)).clip(-1, 1)


@pytest.mark.parametrize("seed", range(60))
def test_windows_lie_around_their_cells_whatever_the_blocks(seed):
    rng = np.random.default_rng(seed)
    total, hop = int(rng.integers(1, 200)), int(rng.integers(1, 15))
    window = hop + int(rng.integers(0, 40))
    signal = np.arange(total)[None]
    edges = sorted({0, total, *rng.integers(0, total, 5).tolist()})
    blocks = [signal[:, a:b] for a, b in pairwise(edges)]
    found = list(cut_windows(iter(blocks), hop, window))
    assert len(found) == count_cells(total, hop)
    for cell, samples in enumerate(found):
        start = max(0, min(cell * hop + hop // 2 - window // 2, total - window))
        assert samples.tolist() == [list(range(start, min(start + window, total)))]


def test_cells_of_a_rest():
    assert [count_cells(n, 10) for n in (1, 9, 10, 14, 15, 25)] == [1, 1, 1, 1, 2, 3]


def test_blocks_of_a_file_are_the_file(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.3, 0.3, (700_000, 2)), 44100)
    blocks = list(blocks_at(path, RATE))
    assert len(blocks) > 2
    audio = read_audio(path)
    expected = np.stack([resample(row, 44100, RATE) for row in audio.samples])
    np.testing.assert_allclose(np.concatenate(blocks, axis=1), expected, atol=1e-6)


def test_levels_by_hand(tmp_path):
    left = np.repeat([0.1, 0, -0.01], [2000, 2000, 3000]) * np.tile([1, -1], 3500)
    soundfile.write(tmp_path / "a.wav", np.stack([left, left], axis=1), RATE, subtype="FLOAT")
    found = read_levels(tmp_path / "a.wav", RATE, 0.25)
    # 3.5 cells: the half cell counts.
    np.testing.assert_allclose(found.levels[0], [-20, -100, -40, -40], atol=1e-3)
    np.testing.assert_allclose(found.extremes[0], [[-0.1, 0.1], [0, 0], [-0.01, 0.01], [-0.01, 0.01]], atol=1e-7)
    assert found.duration == 7000 / RATE
    assert len(found.levels) == 1  # both channels are the same
    soundfile.write(tmp_path / "b.wav", np.stack([left, -left], axis=1), RATE, subtype="FLOAT")
    assert len(read_levels(tmp_path / "b.wav", RATE, 0.25).levels) == 2


def test_an_offset_is_no_sound(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full(4000, 0.25), RATE, subtype="FLOAT")
    assert read_levels(tmp_path / "a.wav", RATE, 0.25).levels[0].tolist() == [-100, -100]


def test_speech_is_half_likely_so_far_below_the_loud_parts():
    levels = np.array([-20.0] * 50 + [-50.0] * 50 + [-100.0], np.float32)
    found = speech_probability(levels, 30)
    assert found[0] > 0.999
    assert found[60] == pytest.approx(0.5, abs=1e-3)
    assert found[100] == 0
    np.testing.assert_allclose(
        speech_probability(levels - 25, 30)[:100], found[:100], atol=1e-3
    )  # volume does not matter
    assert not speech_probability(np.full(10, -100.0), 30).any()


def test_scores_are_log_probabilities_that_none_rules_alone():
    windows = Windows(0, ("a", "b"), 0.25, np.array([[0.25, 0.75], [1, 0]], np.float32), np.array([0.5, 1], np.float32))
    np.testing.assert_allclose(np.exp(windows.scores[0]), [0.125, 0.375, 0.5], rtol=1e-5)
    np.testing.assert_allclose(windows.scores[1], [0, np.log(1e-8), np.log(1e-8)], rtol=1e-5)


def test_a_window_is_answered_as_a_file_of_its_own(packed, tmp_path):
    predictor = Predictor(open_model(packed))
    samples = noise(3.3)[:, 0].astype(np.float32)
    samples *= np.linspace(0.05, 1, len(samples), dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    own = settings(window=1.0)
    found = score_windows(tmp_path / "a.wav", predictor, own, read_levels(tmp_path / "a.wav", RATE, 0.25))[0]
    assert found.posteriors.shape == (13, 4)
    for cell, start in ((0, 0), (6, 6 * 2000 + 1000 - 4000), (12, len(samples) - 8000)):
        excerpt = predictor.prepare(predictor.spectrum(samples[start : start + 8000]))
        np.testing.assert_allclose(found.posteriors[cell], predictor.posteriors([excerpt])[0], atol=1e-5)
    assert np.ptp(found.posteriors, axis=0).max() > 1e-3


def test_channels_are_scored_apart_and_equal_ones_once(tmp_path):
    left, right = noise(5, seed=1)[:, 0] + 0.2, noise(5, seed=2)[:, 0] - 0.2
    for name, second in (("apart", right), ("equal", left)):
        soundfile.write(tmp_path / f"{name}.wav", np.stack([left, second], axis=1), RATE, subtype="FLOAT")
    apart, equal = (
        score_windows(path, Stub(), settings(), read_levels(path, RATE, 0.25))
        for path in (tmp_path / "apart.wav", tmp_path / "equal.wav")
    )
    assert [w.channel for w in apart] == [0, 1]
    assert (apart[0].posteriors[:, 0] > 0.1).all()
    assert (apart[1].posteriors[:, 0] < -0.1).all()
    assert (apart[0].posteriors[:, 1] == 16000).all()
    assert len(equal) == 1


def test_statistics_of_a_channel_make_up_for_its_level_and_leave_pauses_out(packed_with, tmp_path):
    predictor = Predictor(open_model(packed_with("batches.normalisation=speaker")[1]))
    loud, silence = noise(4)[:, 0], np.zeros(8 * RATE)
    for name, parts in (("loud", [loud]), ("soft", [0.05 * loud]), ("sparse", [silence, loud, silence])):
        soundfile.write(tmp_path / f"{name}.wav", np.concatenate(parts), RATE, subtype="FLOAT")

    def middle(name, normalisation):
        path = tmp_path / f"{name}.wav"
        own = settings(window=1.0, normalisation=normalisation, statistics_minimum=2)
        found = score_windows(path, predictor, own, read_levels(path, RATE, 0.25))[0].posteriors
        return found[len(found) // 2]

    by_model = np.abs(middle("loud", "model") - middle("soft", "model")).max()
    by_itself = np.abs(middle("loud", "channel") - middle("soft", "channel")).max()
    by_pauses = np.abs(middle("loud", "channel") - middle("sparse", "channel")).max()
    assert by_itself < 0.02 * by_model
    assert by_pauses < 0.2 * by_model


def test_statistics_are_of_the_channel_from_so_much_speech_on(packed_with, tmp_path):
    predictor = Predictor(open_model(packed_with("batches.normalisation=speaker")[1]))
    left, right = noise(12, seed=1)[:, 0], noise(12, seed=2)[:, 0] * np.repeat([0, 0, 1], 4 * RATE)
    path = tmp_path / "call.wav"
    soundfile.write(path, np.stack([left, right], axis=1), RATE, subtype="FLOAT")

    def statistics(minimum, **changes):
        own = settings(window=1.0, statistics_minimum=minimum, **changes)
        return score_windows(path, predictor, own, read_levels(path, RATE, 0.25))

    long, short = statistics(8)
    assert (str(long.statistics), str(short.statistics)) == (
        "statistics of the channel (12.0 s of speech)",
        "statistics of the training speakers",
    )
    assert short.statistics.seconds == 4
    by_training = statistics(8, normalisation="model")
    assert [one.statistics.source for one in by_training] == ["training", "training"]
    np.testing.assert_array_equal(short.posteriors, by_training[1].posteriors)
    assert np.abs(long.posteriors - by_training[0].posteriors).max() > 1e-3
    assert [one.statistics.source for one in statistics(4)] == ["channel", "channel"]


def test_statistics_of_a_named_speaker_are_of_all_recordings(packed_with, tmp_path):
    predictor = Predictor(open_model(packed_with("batches.normalisation=speaker")[1]))
    parts = noise(12, seed=1)[:, 0].reshape(2, -1)
    for name, samples in (("one", parts[0]), ("two", parts[1]), ("both", np.concatenate(parts))):
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE, subtype="FLOAT")
    one, two, both = (tmp_path / f"{name}.wav" for name in ("one", "two", "both"))
    own = settings(window=1.0, hop=1.0, statistics_minimum=8)
    pooled = speaker_statistics({one: {0: "anna"}, two: {0: "anna"}, tmp_path / "absent.wav": {0: "x"}}, predictor, own)
    assert list(map(str, pooled.values())) == ["statistics of anna (12.0 s of speech)"]
    (whole,) = score_windows(both, predictor, own, read_levels(both, RATE, 1.0))
    np.testing.assert_allclose(pooled["anna"].values[0], whole.statistics.values[0], rtol=1e-4)
    (scored,) = score_windows(one, predictor, own, read_levels(one, RATE, 1.0), speakers={0: pooled["anna"]})
    assert scored.statistics is pooled["anna"]


@pytest.mark.slow
def test_a_long_recording_is_never_held(tmp_path):
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", RATE, 2, subtype="PCM_16") as file:
        for minute in range(30):
            file.write(noise(60, channels=2, seed=minute))
    tracemalloc.start()
    found = read_levels(path, RATE, 0.25)
    scored = score_windows(path, Stub(), settings(), found)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(scored) == 2
    assert len(scored[0].posteriors) == 30 * 60 * 4
    assert peak < 40e6  # of 115 MB of samples


@pytest.mark.parametrize("samples", [8, 700])
def test_a_recording_of_a_millisecond_is_one_cell(packed, tmp_path, samples):
    soundfile.write(tmp_path / "a.wav", noise(1)[:samples], RATE, subtype="FLOAT")
    found = read_levels(tmp_path / "a.wav", RATE, 0.25)
    scored = score_windows(tmp_path / "a.wav", Predictor(open_model(packed)), settings(), found)
    assert scored[0].posteriors.shape == (1, 4)
    assert scored[0].posteriors.sum() == pytest.approx(1, abs=1e-5)


def test_too_little_to_resample_is_an_error(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(1)[:1], 6 * RATE)
    with refuses("too short"):
        read_levels(tmp_path / "a.wav", RATE, 0.25)


def test_a_fault_in_the_midst_is_an_error(tmp_path):
    samples = noise(60)
    samples[400_000] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    with refuses("sample 400000 is not a number"):
        read_levels(tmp_path / "a.wav", RATE, 0.25)
