import numpy as np
import pytest

from ser.audio import resample, resample_blocks


def sine(frequency: float, rate: int, seconds: float = 1.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def loudest(samples: np.ndarray, rate: int) -> float:
    """The frequency of the largest spectral line, Hz."""
    return np.abs(np.fft.rfft(samples * np.hanning(len(samples)))).argmax() * rate / len(samples)


@pytest.mark.parametrize(
    ("rate", "to"), [*((rate, 8000) for rate in (8000, 16000, 22050, 24414, 44100, 48000, 96000)), (8000, 16000)]
)
def test_a_tone_keeps_its_pitch_its_level_and_its_seconds(rate, to):
    resampled = resample(sine(440, rate), rate, to)
    assert resampled.dtype == np.float32
    assert len(resampled) == pytest.approx(to, abs=1)
    assert loudest(resampled, to) == pytest.approx(440, abs=1)
    np.testing.assert_allclose(resampled[200:-200], sine(440, to)[200 : len(resampled) - 200], atol=2e-3)


@pytest.mark.parametrize("frequency", [5000, 7000, 15000])
def test_frequencies_that_would_alias_are_filtered(frequency):
    resampled = resample(sine(frequency, 48000), 48000, 8000)
    assert 20 * np.log10(np.abs(resampled[200:-200]).max() / 0.5) < -80


def test_the_same_rate_changes_nothing():
    samples = sine(440, 8000).astype(np.float32)
    np.testing.assert_array_equal(resample(samples, 8000, 8000), samples)


@pytest.mark.parametrize("rates", [(44100, 8000), (16000, 8000), (8000, 8000), (6000, 8000)])
def test_resampled_blocks_equal_the_resampled_signal(rates):
    samples = np.random.default_rng(0).uniform(-0.3, 0.3, 100_000).astype(np.float32)
    blocks = [samples[i : i + 7000] for i in range(0, len(samples), 7000)]
    streamed = np.concatenate(list(resample_blocks(blocks, *rates)))
    np.testing.assert_allclose(streamed, resample(samples, *rates), atol=1e-6)
