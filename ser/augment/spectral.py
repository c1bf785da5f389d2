"""Augmentation of stored log spectra, fast enough to be applied on the fly to every utterance of every batch.

`values` is always float32, (frames, bins): natural logarithms of power, bins evenly spaced from 0 Hz to half the
sampling rate. No function changes its argument; each returns a new float32 array.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

NEPERS_PER_DECIBEL = math.log(10) / 10  # of power


def warp_frequency(values: np.ndarray, alpha: float, boundary: float = 0.6) -> np.ndarray:
    """Vocal tract length perturbation (Jaitly and Hinton 2013) of the spectrum instead of the mel filters.

    Frequency f moves to

        alpha f                                                     for f <= F_hi min(alpha, 1) / alpha
        S/2 - (S/2 - F_hi min(alpha, 1)) / (S/2 - F_hi min(alpha, 1) / alpha) (S/2 - f)         above,

    so alpha > 1 moves formants up, as a shorter vocal tract does; 0 Hz and S/2 do not move. Harmonics move with the
    formants, which mel filters would hide. Values between bins are interpolated linearly in log power, so the peak of a
    sine is up to 2.8 dB too low, compared with 1.4 dB in any spectrum with a Hann window.

    Args:
        values: float32, (frames, bins).
        alpha: above 0; from 0.9 to 1.1 in the paper.
        boundary: F_hi as a fraction of S/2, between 0 and 1. The paper has 4800 Hz of 8000 Hz, which is 0.6.
    """
    if alpha == 1:
        return values.copy()
    top = values.shape[1] - 1
    knee = boundary * min(alpha, 1.0) * top  # the bin at which the two lines meet, after warping
    source = np.interp(np.arange(top + 1), [0, knee, top], [0, knee / alpha, top])
    return _bins_at(values, source)


def change_speed(values: np.ndarray, factor: float, centre: float = 2.0) -> np.ndarray:
    """Speed perturbation (Ko et al. 2015) of a spectrum: time shrinks and all frequencies grow by `factor`.

    The result is close to the log-STFT of the waveform played `factor` times as fast. The differences: spectral peaks
    become wider with their frequency, the level of noise stays (in a waveform it falls by log(factor): 0.1 at 1.1), and
    linear interpolation in log power along both axes smooths: neighbouring bins of speech differ a quarter less.

    Bins that leave the band are lost. For factor < 1, empty bins at the top repeat the last bin, which has almost no
    power, as in a band-limited waveform that is slowed down.

    Args:
        values: float32, (frames, bins).
        factor: above 0; 1.1 is faster and higher.
        centre: frames from the start of a window to its centre, frame_length / (2 frame_shift), so that onsets are at
            the same frames as in the resampled waveform.

    Returns:
        float32, (max(1, round(frames / factor)), bins).
    """
    if factor == 1:
        return values.copy()
    frames, bins = values.shape
    rows = np.arange(max(1, round(frames / factor)))
    low, high, weight = _neighbours(factor * (rows + centre) - centre, frames)
    values = _interpolate(values[low], values[high], weight[:, None])
    return _bins_at(values, np.arange(bins) / factor)


def mask(
    values: np.ndarray,
    rng: np.random.Generator,
    time_masks: int,
    time_width: int,
    frequency_masks: int,
    frequency_width: int,
    fill: float,
) -> np.ndarray:
    """SpecAugment (Park et al. 2019, section 2) without time warping: set blocks of frames and of bins to `fill`.

    The width of a mask is uniform from 0 to the given width, its position uniform; masks may overlap. With n masks, no
    mask is wider than 1 / (n + 1) of the axis, so some frames and bins always remain (the paper limits time masks by a
    share p of the utterance).

    Args:
        values: float32, (frames, bins).
        rng: draws widths and positions.
        time_masks: number of masks over frames.
        time_width: limit on their width, frames.
        frequency_masks: number of masks over bins.
        frequency_width: limit on their width, bins.
        fill: value of masked bins, the mean of normalised features: 0, or that of the utterance.
    """
    result = values.copy()
    for start, end in _intervals(rng, time_masks, time_width, values.shape[0]):
        result[start:end] = fill
    for start, end in _intervals(rng, frequency_masks, frequency_width, values.shape[1]):
        result[:, start:end] = fill
    return result


def mixup_weights(rng: np.random.Generator, alpha: float, size: int) -> np.ndarray:
    """Sample the mixup weights of the utterances of a batch (Zhang et al. 2018), one per utterance.

    Weights are drawn from Beta(alpha, alpha) and folded, max(w, 1 - w), as in MixMatch (Berthelot et al. 2019,
    equation 9). With random partners this gives the same mixtures, but each is mostly the utterance whose length it
    has.

    Args:
        rng: draws the weights.
        alpha: parameter of the Beta distribution; 0: no mixup.
        size: number of utterances.

    Returns:
        float32, (size,), in [0.5, 1]; all 1 for alpha = 0.
    """
    if alpha == 0:
        return np.ones(size, np.float32)
    weights = rng.beta(alpha, alpha, size).astype(np.float32)
    return np.maximum(weights, 1 - weights)


def sample_augmentation(rng: np.random.Generator, speeds: Sequence[float], vtlp: float) -> tuple[float, float]:
    """Sample a speed and a warp: the arguments of change_speed and warp_frequency.

    The generator advances by the same amount for all settings, so that later random numbers do not depend on them.

    Args:
        rng: draws both.
        speeds: one of them is chosen, with equal probabilities.
        vtlp: the warp is uniform from 1 - vtlp to 1 + vtlp.
    """
    first, second = rng.random(2)
    return float(speeds[int(first * len(speeds))]), float(1 + vtlp * (2 * second - 1))


def _bins_at(values: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Interpolate at fractional bins, (frames, len(source)); beyond the last bin, its value is repeated."""
    low, high, weight = _neighbours(source, values.shape[1])
    return _interpolate(values.take(low, axis=1), values.take(high, axis=1), weight)


def _neighbours(source: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower and upper neighbour of fractional positions, clipped to the axis, and the weight of the upper."""
    position = np.clip(source, 0, size - 1)
    low = position.astype(np.intp)
    return low, np.minimum(low + 1, size - 1), (position - low).astype(np.float32)


def _interpolate(low: np.ndarray, high: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Compute low + weight (high - low) in place in `high`."""
    high -= low
    high *= weight
    high += low
    return high


def _intervals(rng: np.random.Generator, count: int, width: int, size: int) -> list[tuple[int, int]]:
    widest = min(width, size // (count + 1))
    widths = (rng.random(count) * (widest + 1)).astype(np.intp)
    starts = (rng.random(count) * (size - widths + 1)).astype(np.intp)
    return list(zip(starts.tolist(), (starts + widths).tolist(), strict=True))
