"""Stage 3 on real RAVDESS files, against a direct computation with scipy."""

from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile

from ser.config import load
from ser.corpora.cuts import Cut
from ser.features.store import read_samples
from ser.frontends.log_stft import LogStft

CONFIG = load("strict", None, ["corpora=[ravdess]"]).features


@pytest.mark.parametrize(
    ("name", "rate", "channels"),
    [("Actor_01/03-01-05-02-01-01-01", 16000, 1), ("Actor_20/03-01-03-01-02-01-20", 48000, 2)],
)
def test_values_are_those_of_scipy(real_ravdess: Path, name: str, rate: int, channels: int) -> None:
    path = next(real_ravdess.glob(f"{name}.*"))
    samples, found_rate = soundfile.read(path, always_2d=True)
    if (found_rate, samples.shape[1]) != (rate, channels):
        pytest.skip(
            f"{path}: {found_rate} Hz and {samples.shape[1]} channels, where {rate} and {channels} are compared"
        )
    frontend = LogStft(CONFIG)
    features = frontend.extract(read_samples(Cut("u", path, 0.0, len(samples) / rate, ""), frontend.sampling_rate))
    slow = scipy.signal.resample_poly(samples.mean(1), 1, rate // 8000, window=("kaiser", 12.0))
    window = scipy.signal.get_window("hann", 512)
    frames = np.lib.stride_tricks.sliding_window_view(slow, 512)[::128] * window
    expected = np.log(np.maximum(np.abs(np.fft.rfft(frames, axis=1)) ** 2, 1e-10))
    assert abs(len(features) - len(expected)) <= 1
    n = min(len(features), len(expected))
    # Two resamplers differ in the last bins below 4000 Hz and where there is next to no sound.
    loud = expected[:n, :220] > np.log(1e-4)
    assert loud.mean() > 0.2
    difference = np.abs(features[:n, :220] - expected[:n, :220])[loud]
    assert np.median(difference) < 0.01
    assert np.quantile(difference, 0.99) < 0.3
