"""Operations on stored log spectra, cheap enough to be drawn again for every utterance of every batch.

`values` is always float32, (frames, bins): natural logarithms of power, bins evenly spaced from 0 Hz to half the
sampling rate. No function changes its argument; each returns new values in float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

NEPERS_PER_DECIBEL = math.log(10) / 10  # of power


def warp_frequency(values: np.ndarray, alpha: float, boundary: float = 0.6) -> np.ndarray:
    """Vocal tract length perturbation: Jaitly and Hinton (2013), on the spectrum in place of mel filters.

    What lay at frequency f comes to lie at

        alpha f                                                     for f <= F_hi min(alpha, 1) / alpha
        S/2 - (S/2 - F_hi min(alpha, 1)) / (S/2 - F_hi min(alpha, 1) / alpha) (S/2 - f)         above,

    so alpha > 1 moves formants up, as a shorter vocal tract does, and 0 Hz and S/2 stay where they are. Harmonics
    move along, which mel filters would hide. Values between bins are interpolated linearly in log power: a sine then
    stands up to 2.8 dB below its true height, in place of the 1.4 dB of any spectrum with a Hann window.

    Args:
        alpha: above 0; the paper's lie between 0.9 and 1.1.
        boundary: F_hi as a fraction of S/2, between 0 and 1. The paper's 4800 Hz of 8000 Hz is 0.6, which is 2400 Hz
            of 4000 Hz.
    """
    if alpha == 1:
        return values.copy()
    top = values.shape[1] - 1
    knee = boundary * min(alpha, 1.0) * top  # where the two lines meet, after warping
    source = np.interp(np.arange(top + 1), [0, knee, top], [0, knee / alpha, top])
    return _bins_at(values, source)


def change_speed(values: np.ndarray, factor: float, centre: float = 2.0) -> np.ndarray:
    """Speed perturbation (Ko et al. 2015) of a spectrum: time shrinks and all frequencies grow by `factor`.

    Close to the log-STFT of the waveform played `factor` times as fast, but spectral peaks grow wider with their
    frequency, the level of noise stays (a waveform's falls by log(factor): 0.1 at 1.1), and interpolation, linear in
    log power along both axes, smooths: neighbouring bins of speech differ a quarter less.

    Bins that leave the band are lost. Where factor < 1 leaves bins at the top empty, they repeat the last bin, which
    is what lies there when a band-limited waveform is slowed down: next to nothing.

    Args:
        factor: above 0; 1.1 is faster and higher.
        centre: frames from the start of a window to its middle, frame_length / (2 frame_shift), so that onsets fall
            where they do in the resampled waveform.

    Returns:
        (round(frames / factor), bins), one frame at least.
    """
    if factor == 1:
        return values.copy()
    frames, bins = values.shape
    rows = np.arange(max(1, round(frames / factor)))
    low, high, weight = _between(factor * (rows + centre) - centre, frames)
    values = _mixed(values[low], values[high], weight[:, None])
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
    """Blocks of frames and of bins set to `fill`: SpecAugment (Park et al. 2019), section 2, without time warping.

    A mask's width is uniform in 0 to the width given, its place uniform where it fits; masks may overlap. Of n masks
    none is wider than 1 / (n + 1) of the axis, so some frames and bins always stay (the paper bounds time masks by a
    share p of the utterance).

    Args:
        time_width: frames at most.
        frequency_width: bins at most.
        fill: a value without information, which in normalised features is their mean: 0, or the utterance's own.
    """
    result = values.copy()
    for start, end in _intervals(rng, time_masks, time_width, values.shape[0]):
        result[start:end] = fill
    for start, end in _intervals(rng, frequency_masks, frequency_width, values.shape[1]):
        result[:, start:end] = fill
    return result


def mixup_weights(rng: np.random.Generator, alpha: float, size: int) -> np.ndarray:
    """The share of each utterance in its own mixture: mixup (Zhang et al. 2018), one weight an utterance.

    Drawn from Beta(alpha, alpha) and folded, max(w, 1 - w), as in MixMatch (Berthelot et al. 2019, equation 9): with
    partners drawn at random the same mixtures come, but each is mostly the utterance whose length it has.

    Returns:
        float32, (size,), in [0.5, 1]; all 1, which mixes nothing, for alpha = 0.
    """
    if alpha == 0:
        return np.ones(size, np.float32)
    weights = rng.beta(alpha, alpha, size).astype(np.float32)
    return np.maximum(weights, 1 - weights)


def sample_augmentation(rng: np.random.Generator, speeds: Sequence[float], vtlp: float) -> tuple[float, float]:
    """A speed, each as likely, and a warp uniform in 1 - vtlp to 1 + vtlp: for change_speed and warp_frequency.

    The generator moves on alike whatever the settings, so what is drawn next does not depend on them.
    """
    first, second = rng.random(2)
    return float(speeds[int(first * len(speeds))]), float(1 + vtlp * (2 * second - 1))


def _bins_at(values: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Values at fractional bins, (frames, len(source)); beyond the last bin, the last bin's."""
    low, high, weight = _between(source, values.shape[1])
    return _mixed(values.take(low, axis=1), values.take(high, axis=1), weight)


def _between(source: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The neighbours of fractional places on an axis, and the weight of the upper; places beyond the ends are held."""
    place = np.clip(source, 0, size - 1)
    low = place.astype(np.intp)
    return low, np.minimum(low + 1, size - 1), (place - low).astype(np.float32)


def _mixed(low: np.ndarray, high: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """low + weight (high - low), written into `high`."""
    high -= low
    high *= weight
    high += low
    return high


def _intervals(rng: np.random.Generator, count: int, width: int, size: int) -> list[tuple[int, int]]:
    widest = min(width, size // (count + 1))
    widths = (rng.random(count) * (widest + 1)).astype(np.intp)
    starts = (rng.random(count) * (size - widths + 1)).astype(np.intp)
    return list(zip(starts.tolist(), (starts + widths).tolist(), strict=True))
