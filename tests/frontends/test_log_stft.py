from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import get_window

from ser.config import load
from ser.frontends.log_stft import LogStft, log_stft

CONFIG = load("strict", None, ["corpora=[ravdess]"]).features


def direct(samples: np.ndarray, length: int = 512, shift: int = 128) -> np.ndarray:
    """The definition, frame by frame, in float64."""
    window = get_window("hann", length, fftbins=True)
    frames = [samples[i : i + length] * window for i in range(0, len(samples) - length + 1, shift)]
    power = np.abs(np.fft.rfft(np.array(frames, np.float64), axis=1)) ** 2
    return np.log(np.maximum(power, 1e-10))


@pytest.mark.parametrize("length", [512, 513, 639, 640, 8001])
def test_equals_the_definition(length):
    samples = np.random.default_rng(length).standard_normal(length).astype(np.float32) * 0.1
    found = log_stft(samples, CONFIG)
    expected = direct(samples)
    assert found.dtype == np.float32
    assert found.shape == expected.shape == (LogStft(CONFIG).num_frames(length), 257)
    np.testing.assert_allclose(found, expected, atol=2e-3, rtol=1e-4)


def test_a_full_scale_sine_has_the_power_of_its_window_and_silence_the_floor():
    t = np.arange(4096)
    samples = np.sin(2 * np.pi * 1000 / 8000 * t).astype(np.float32)
    found = log_stft(samples, CONFIG)
    # 1000 Hz is bin 64 exactly; |X| = sum(window) / 2 = 128
    assert found[0].argmax() == 64
    assert found[0, 64] == pytest.approx(2 * np.log(128), abs=1e-3)
    assert np.all(log_stft(0 * samples, CONFIG) == np.float32(np.log(1e-10)))


@pytest.mark.parametrize("length", [1, 511])
def test_less_than_a_frame_is_padded_to_one(length):
    samples = np.random.default_rng(length).standard_normal(length).astype(np.float32) * 0.1
    found = log_stft(samples, CONFIG)
    np.testing.assert_array_equal(found, log_stft(np.pad(samples, (0, 512 - length)), CONFIG))
    np.testing.assert_allclose(found, direct(np.pad(samples, (0, 512 - length))), atol=2e-3, rtol=1e-4)


def test_the_window_is_that_of_the_settings():
    samples = np.random.default_rng(0).standard_normal(2000).astype(np.float32)
    hamming = replace(CONFIG, window="hamming")
    for config in (CONFIG, hamming, CONFIG):
        power = np.abs(np.fft.rfft(samples[:512] * get_window(config.window, 512))) ** 2
        np.testing.assert_allclose(log_stft(samples, config)[0], np.log(power), atol=2e-3)


def test_frames_without_padding():
    assert [LogStft(CONFIG).num_frames(n) for n in (0, 511, 512, 639, 640, 8000)] == [0, 0, 1, 1, 2, 59]
