"""Spectral operations: numbers by hand, properties, and the spectrum of a waveform that was really resampled."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import soxr
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ser.augment.spectral import change_speed, mask, mixup_weights, sample_augmentation, warp_frequency
from ser.config import load
from ser.frontends.log_stft import log_stft
from ser.frontends.preprocess import loud_span

CONFIG = load("strict", None, ["corpora=[ravdess]"]).features
FLOOR = np.float32(math.log(1e-10))
SPECTRA = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=40),
    elements=st.floats(float(FLOOR), 12, width=32),
)
FACTORS = st.floats(0.5, 2)
SEEDS = st.integers(0, 2**32)


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def peak_at(bins: int, where: int) -> np.ndarray:
    """Two frames of the floor with one bin at 0."""
    values = np.full((2, bins), FLOOR)
    values[:, where] = 0
    return values


OPERATIONS: dict[str, Callable[[np.ndarray, float, int], np.ndarray]] = {
    "warp_frequency": lambda values, factor, seed: warp_frequency(values, factor),
    "change_speed": lambda values, factor, seed: change_speed(values, factor),
    "mask": lambda values, factor, seed: mask(values, rng_of(seed), 2, 9, 2, 9, 0.0),
}


@pytest.mark.parametrize("name", OPERATIONS)
@settings(deadline=None)
@given(values=SPECTRA, factor=FACTORS, seed=SEEDS)
def test_new_float32_values_within_the_old_ones_range(name, values, factor, seed):
    before = values.copy()
    result = OPERATIONS[name](values, factor, seed)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    assert not np.shares_memory(result, values)
    np.testing.assert_array_equal(values, before)
    rows = max(1, round(len(values) / factor)) if name == "change_speed" else len(values)
    assert result.shape == (rows, values.shape[1])
    # A mask may bring in its fill, 0.
    assert result.min() >= min(values.min(), 0 if name == "mask" else np.inf) - 1e-4
    assert result.max() <= max(values.max(), 0 if name == "mask" else -np.inf) + 1e-4


# Warp


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        # F_hi is bin 6 of 10. Bin 5 comes to lie at 6, so bin 3 holds what lay at 2.5 and bin 8 what lay at 7.5.
        (1.2, [0, 2.5 / 3, 5 / 3, 2.5, 10 / 3, 12.5 / 3, 5, 6.25, 7.5, 8.75, 10]),
        # Bin 6 comes to lie at 4.8; above, 4 bins spread over 5.2.
        (0.8, [0, 1.25, 2.5, 3.75, 5, *(6 + (b - 4.8) * 4 / 5.2 for b in range(5, 11))]),
    ],
)
def test_warp_by_hand(alpha, expected):
    ramp = np.tile(np.arange(11, dtype=np.float32), (3, 1))
    np.testing.assert_allclose(warp_frequency(ramp, alpha), np.tile(expected, (3, 1)), rtol=1e-5)


def test_warp_interpolates_log_power():
    values = np.zeros((1, 11), np.float32)
    values[0, 2], values[0, 3] = 4.0, 8.0
    assert warp_frequency(values, 1.2)[0, 3] == pytest.approx(6.0, rel=1e-5)  # from 2.5


@given(alpha=st.floats(0.8, 1.25), where=st.integers(10, 115))
def test_warp_moves_a_peak_to_alpha_times_its_frequency(alpha, where):
    # Below the knee: 0.6 * 256 / 1.25 = 122
    warped = warp_frequency(peak_at(257, where), alpha)
    assert abs(int(warped[0].argmax()) - alpha * where) <= 1


@given(values=SPECTRA, alpha=FACTORS, boundary=st.floats(0.1, 0.9))
def test_warp_keeps_the_ends_and_the_order_of_frequencies(values, alpha, boundary):
    warped = warp_frequency(values, alpha, boundary)
    np.testing.assert_array_equal(warped[:, [0, -1]], values[:, [0, -1]])
    ramp = np.arange(257, dtype=np.float32)[None]
    assert np.all(np.diff(warp_frequency(ramp, alpha, boundary)) > 0)


@given(values=SPECTRA)
def test_warp_and_speed_of_one_change_nothing(values):
    np.testing.assert_array_equal(warp_frequency(values, 1.0), values)
    np.testing.assert_array_equal(change_speed(values, 1.0), values)


# Speed


def test_speed_by_hand():
    ramp = np.add.outer(100 * np.arange(6), np.arange(5)).astype(np.float32)
    # Windows start at 2 (j + centre) - centre: at 0, 2, 4 where they have no length.
    np.testing.assert_array_equal(
        change_speed(ramp, 2.0, centre=0), np.add.outer([0, 200, 400], [0, 0.5, 1, 1.5, 2]).astype(np.float32)
    )
    # At 2, 4, 6 where their middle is 2 frames on; there is no sixth, so the fifth is held.
    assert change_speed(ramp, 2.0)[:, 0].tolist() == [200, 400, 500]
    slow = change_speed(ramp, 0.5, centre=0)
    assert slow[:, 0].tolist() == [0, 50, 100, 150, 200, 250, 300, 350, 400, 450, 500, 500]
    assert slow[0].tolist() == [0, 2, 4, 4, 4]


def test_speed_of_one_frame_is_one_frame():
    assert change_speed(np.zeros((1, 257), np.float32), 2.0).shape == (1, 257)
    assert change_speed(np.zeros((1, 257), np.float32), 0.4).shape == (2, 257)


def played(samples: np.ndarray, factor: float) -> np.ndarray:
    """The log-STFT of a waveform played `factor` times as fast."""
    return log_stft(soxr.resample(samples, 8000 * factor, 8000, quality="HQ").astype(np.float32), CONFIG)


@pytest.mark.parametrize("factor", [0.9, 0.95, 1.1, 1.2])
def test_speed_of_a_sweep_is_that_of_the_waveform(factor):
    t = np.arange(16000) / 8000
    samples = (0.3 * np.sin(2 * np.pi * (300 * t + 1300 * t**2 / 2))).astype(np.float32)  # 300 to 2900 Hz in 2 s
    changed, truth = change_speed(log_stft(samples, CONFIG), factor), played(samples, factor)
    assert abs(len(changed) - len(truth)) <= 1
    frames = min(len(changed), len(truth))
    peaks, true_peaks = changed[:frames].argmax(1), truth[:frames].argmax(1)
    inner = slice(2, frames - 2)  # beyond the first and last window there is nothing to interpolate
    assert np.abs(peaks[inner] - true_peaks[inner]).max() <= 1
    assert abs(np.mean(peaks[inner] - true_peaks[inner])) < 0.25
    # Halfway between two bins a straight line cuts off the tip of a peak; the waveform's falls between others.
    assert np.abs(changed[:frames].max(1) - truth[:frames].max(1))[inner].max() < 0.65


def trimmed(values: np.ndarray, decibels: float) -> tuple[int, int]:
    first, last = loud_span(torch.from_numpy(values)[None], torch.tensor([len(values)]), decibels)
    return int(first), int(last)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_of_a_noise_burst_is_that_of_the_waveform(factor):
    samples = 1e-3 * rng_of(1).standard_normal(16000)
    samples[6000:10000] += 0.1 * rng_of(2).standard_normal(4000)
    samples = samples.astype(np.float32)
    changed, truth = change_speed(log_stft(samples, CONFIG), factor), played(samples, factor)
    assert abs(len(changed) - len(truth)) <= 1
    assert np.abs(np.subtract(trimmed(changed, 20), trimmed(truth, 20))).max() <= 1
    start, end = trimmed(truth, 3)
    top = int(0.88 * 256)  # above, a slowed waveform has nothing
    difference = changed[start:end, :top].mean() - truth[start:end, :top].mean()
    # The waveform's noise has spread over a band wider by the factor; ours has not.
    assert difference == pytest.approx(math.log(factor), abs=0.15)


@pytest.mark.parametrize("factor", [0.8, 0.9])
def test_slower_speech_has_nothing_new_at_the_top(factor):
    values = np.tile(np.linspace(0, -8, 257, dtype=np.float32), (10, 1))
    changed = change_speed(values, factor)
    assert np.all(changed[:, math.ceil(256 * factor) :] == values[0, -1])


# Masks


def test_mask_covers_whole_frames_and_bins():
    values = np.ones((50, 40), np.float32)
    seen = []
    for seed in range(60):
        hidden = mask(values, rng_of(seed), 2, 10, 1, 8, fill=0.0) == 0
        hidden_frames, hidden_bins = hidden.all(1), hidden.all(0)
        np.testing.assert_array_equal(hidden, hidden_frames[:, None] | hidden_bins)
        seen.append((hidden_frames.sum(), hidden_bins.sum()))
    most = np.max(seen, axis=0)
    assert 10 < most[0] <= 20
    assert most[1] == 8


def test_mask_widths_and_places_are_uniform():
    ones = np.ones((20, 2), np.float32)
    draws = np.array([mask(ones, rng, 1, 4, 0, 0, fill=0.0)[:, 0] == 0 for rng in map(rng_of, range(4000))])
    widths = np.bincount(draws.sum(1), minlength=5)
    assert len(widths) == 5
    np.testing.assert_allclose(widths / 4000, 0.2, atol=0.03)
    alone = draws[draws.sum(1) == 1]
    np.testing.assert_allclose(alone.mean(0), 1 / 20, atol=0.035)


@given(
    frames=st.integers(1, 30),
    bins=st.integers(1, 30),
    masks=st.tuples(st.integers(0, 5), st.integers(0, 99), st.integers(0, 5), st.integers(0, 99)),
    seed=SEEDS,
)
def test_mask_never_hides_everything(frames, bins, masks, seed):
    masked = mask(np.ones((frames, bins), np.float32), rng_of(seed), *masks, fill=0.0)
    assert masked.max() == 1


@given(values=SPECTRA, seed=SEEDS)
def test_mask_uses_the_fill_and_leaves_the_rest(values, seed):
    masked = mask(values, rng_of(seed), 1, 5, 1, 5, fill=99.0)
    np.testing.assert_array_equal(masked, np.where(masked == 99, np.float32(99), values))
    np.testing.assert_array_equal(masked, mask(values, rng_of(seed), 1, 5, 1, 5, fill=99.0))
    np.testing.assert_array_equal(mask(values, rng_of(seed), 0, 5, 3, 0, fill=99.0), values)


# Sampling


def test_mixup_weights_are_folded_beta():
    weights = mixup_weights(rng_of(0), 1.0, 20000)
    assert weights.shape == (20000,)
    assert weights.dtype == np.float32
    # Beta(1, 1) is uniform; folded, uniform in 0.5 to 1.
    np.testing.assert_allclose(np.histogram(weights, 5, (0.5, 1))[0] / 20000, 0.2, atol=0.015)
    # The variance of Beta(a, a) is 1 / (4 (2 a + 1)) about 0.5, and folding keeps it about 0.5.
    weights = mixup_weights(rng_of(0), 0.4, 20000)
    assert np.square(weights - 0.5).mean() == pytest.approx(1 / (4 * 1.8), rel=0.02)


def test_mixup_with_alpha_0_mixes_nothing():
    weights = mixup_weights(rng_of(0), 0.0, 4)
    assert weights.dtype == np.float32
    assert weights.tolist() == [1, 1, 1, 1]


@given(alpha=st.floats(1e-3, 100), size=st.integers(0, 50), seed=SEEDS)
def test_mixup_weights_are_at_least_a_half(alpha, size, seed):
    weights = mixup_weights(rng_of(seed), alpha, size)
    assert weights.shape == (size,)
    assert np.all((weights >= 0.5) & (weights <= 1))


def test_augmentation_is_sampled_uniformly():
    rng = rng_of(5)
    draws = [sample_augmentation(rng, [0.9, 1.0, 1.1], 0.1) for _ in range(6000)]
    speeds, alphas = np.array(draws).T
    np.testing.assert_allclose([np.mean(speeds == s) for s in (0.9, 1.0, 1.1)], 1 / 3, atol=0.03)
    assert alphas.min() >= 0.9
    assert alphas.max() <= 1.1
    np.testing.assert_allclose(np.histogram(alphas, 4, (0.9, 1.1))[0] / 6000, 0.25, atol=0.03)
    assert abs(np.corrcoef(speeds, alphas)[0, 1]) < 0.05


def test_without_augmentation_the_generator_advances_as_much():
    rng, other = rng_of(6), rng_of(6)
    assert sample_augmentation(rng, [1.0], 0.0) == (1.0, 1.0)
    sample_augmentation(other, [0.9, 1.1], 0.1)
    assert rng.random() == other.random()
