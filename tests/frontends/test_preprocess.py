"""Trimming, floor, every n-th frame and group statistics: by hand, and of a padded batch as of each row alone."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ser.config import load
from ser.frontends.preprocess import Preprocess, RunningStats, loud_span

SETTINGS = load("strict", None, ["corpora=[ravdess]"]).batches
FLOOR = np.float32(math.log(1e-10))
SPECTRA = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=40),
    elements=st.floats(float(FLOOR), 12, width=32),
)


def trimmed(values: np.ndarray, decibels: float) -> tuple[int, int]:
    first, last = loud_span(torch.from_numpy(values)[None], torch.tensor([len(values)]), decibels)
    return int(first), int(last)


def floored(values: np.ndarray, decibels: float) -> np.ndarray:
    preprocess = Preprocess(replace(SETTINGS, floor_decibels=decibels))
    return preprocess.select(torch.from_numpy(values)[None], torch.tensor([len(values)]))[0][0].numpy()


def spectrum_of_levels(decibels: list[float], bins: int = 4) -> np.ndarray:
    """Frames whose power, summed over bins, has these levels."""
    return np.repeat(np.array(decibels)[:, None] * math.log(10) / 10 - math.log(bins), bins, axis=1).astype(np.float32)


@pytest.mark.parametrize(
    ("decibels", "expected"), [(35, (1, 6)), (41, (0, 6)), (10, (2, 5)), (3, (4, 5)), (0, (4, 5)), (100, (0, 7))]
)
def test_trim_keeps_from_the_first_loud_frame_to_the_last(decibels, expected):
    assert trimmed(spectrum_of_levels([-20, -10, 15, -60, 20, -11, -79]), decibels) == expected


def test_trim_sums_over_bins():
    # 256 bins at -20 dB have together 4 dB more than one at 0 dB.
    values = np.full((2, 257), np.float32(-20 * math.log(10) / 10))
    values[1, 1:] = FLOOR
    values[1, 0] = 0
    assert trimmed(values, 3) == (0, 1)
    assert trimmed(values, 5) == (0, 2)


@given(values=SPECTRA, decibels=st.floats(0, 200))
def test_trim_is_never_empty_and_has_the_loudest_frame(values, decibels):
    start, end = trimmed(values, decibels)
    assert 0 <= start < end <= len(values)
    power = np.exp(values.astype(np.float64)).sum(1)
    assert power[start:end].max() == pytest.approx(power.max(), rel=1e-5)


def test_trim_of_one_frame_and_of_silence():
    assert trimmed(np.full((1, 257), FLOOR), 35) == (0, 1)
    assert trimmed(np.full((9, 257), FLOOR), 35) == (0, 9)


def test_floor_by_hand():
    values = np.array([[1.0, -1.3], [-1.31, -23.0]], np.float32)
    # 10 dB of power are ln 10 = 2.302585
    np.testing.assert_allclose(floored(values, 10), [[1.0, -1.3], [-1.302585, -1.302585]], rtol=1e-6)


@given(values=SPECTRA, decibels=st.floats(0.1, 200))
def test_floor_twice_is_floor_once(values, decibels):
    once = floored(values, decibels)
    np.testing.assert_array_equal(floored(once, decibels), once)


def test_the_statistics_of_an_utterance_by_hand():
    preprocess = Preprocess(replace(SETTINGS, normalisation="utterance", frame_step=2))
    x = torch.tensor([[[1.0, 5.0], [9.0, 9.0], [3.0, 5.0], [7.0, 7.0]]])
    found, lengths = preprocess(x, torch.tensor([3]))
    assert lengths.tolist() == [2]
    # Frames 1 and 3: mean 2 and deviation 1; a bin that does not change stays 0.
    assert found[0].tolist() == [[-1, 0], [1, 0]]


def test_given_statistics_are_those_taken_out():
    preprocess = Preprocess(replace(SETTINGS, normalisation="speaker"))
    x = torch.tensor([[[1.0, 5.0]]])
    found, _ = preprocess(x, torch.tensor([1]), torch.tensor([3.0, 1.0]), torch.tensor([4.0, 2.0]))
    assert found[0].tolist() == [[-0.5, 2]]


def test_running_moments_are_those_of_all_frames():
    frames = np.random.default_rng(0).normal(3, 2, (50, 4)).astype(np.float32)
    running = RunningStats(4)
    for start in (0, 7, 30):
        running.add(frames[start : {0: 7, 7: 30, 30: 50}[start]])
    mean, deviation = running.finish()
    np.testing.assert_allclose(mean, frames.mean(0), rtol=1e-5)
    np.testing.assert_allclose(deviation, frames.std(0), rtol=1e-5)


@pytest.mark.parametrize("normalisation", ["global", "utterance"])
@pytest.mark.parametrize("step", [1, 3])
def test_a_padded_row_is_what_it_is_alone(normalisation, step):
    settings = replace(SETTINGS, normalisation=normalisation, frame_step=step, trim_decibels=20.0, floor_decibels=30.0)
    rng, preprocess = np.random.default_rng(1), Preprocess(settings)
    rows = [rng.normal(-5, 3, (length, 6)).astype(np.float32) for length in (1, 9, 40, 23)]
    batch = torch.full((len(rows), 40, 6), 50.0)  # louder than all there is
    for row, values in zip(batch, rows, strict=True):
        row[: len(values)] = torch.from_numpy(values)
    found, lengths = preprocess(batch, torch.tensor([len(values) for values in rows]))
    for got, length, values in zip(found, lengths, rows, strict=True):
        alone, (count,) = preprocess(torch.from_numpy(values)[None], torch.tensor([len(values)]))
        assert int(length) == int(count)
        torch.testing.assert_close(got[:length], alone[0, :count], rtol=1e-6, atol=1e-6)
