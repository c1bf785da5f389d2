"""Waveform transforms for augmentation (da Silva et al. 2020; speed: Ko et al. 2015) and their common interface.

`values = transform.randomize_parameters(rng, pool)` samples all parameters, as JSON allows. `transform.apply(samples,
rate, values, pool)` uses no random numbers, so the same values give the same copy again. The values have digests of all
other audio that is used, so they identify the result. `pool` has the other speakers, for babble.

`samples` is float32, mono, (n,), at `rate` Hz, and is not changed. The result is float32, (n,) (except for speed),
without delay, finite, and all zeros if `samples` are. Its voiced part is as loud as before (except for volume), so that
loudness does not tell copies from originals. The constructor of a transform raises InputError for invalid settings.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ser.augment.spectral import warp_frequency
from ser.common import InputError, derive_seed

if TYPE_CHECKING:
    from ser.augment.babble_pool import BabblePool

Values = dict[str, Any]
VOICED_DECIBELS = 30  # a frame is voiced if it is at most this far below the loudest frame
VOICED_SECONDS = 0.02  # length of these frames
VTLP_FRAME = 512  # samples
VTLP_SHIFT = 128
FILTER_ORDER = 4  # at each edge of the band, in each direction
# Highest sampling rate in Hz -> bit rates of LAME in kbit/s (MPEG 2.5, 2 and 1, layer III); LAME clips others to these.
MP3_RATES = {
    12000: (8, 16, 24, 32, 40, 48, 56, 64),
    24000: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    48000: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}


class TooShort(Exception):
    """The utterance is too short for a transform; the copy is left out and counted."""


class Transform(ABC):
    """A waveform transform; see the docstring of the module.

    Attributes:
        min_seconds: least duration; `apply` raises TooShort for shorter utterances.
    """

    min_seconds: ClassVar[float] = 0.0

    @abstractmethod
    def randomize_parameters(self, rng: np.random.Generator, pool: BabblePool | None = None) -> Values:
        """Sample the parameters.

        Args:
            rng: draws them.
            pool: the other speakers, for babble.
        """

    @abstractmethod
    def apply(self, samples: np.ndarray, rate: int, values: Values, pool: BabblePool | None = None) -> np.ndarray:
        """Apply the transform.

        Args:
            samples: float32, (n,).
            rate: in Hz.
            values: parameters from `randomize_parameters`.
            pool: the other speakers, for babble.

        Returns:
            float32, (n,), except for speed.
        """


def copy_rng(utterance_id: str, number: int, settings: str) -> np.random.Generator:
    """The random generator of a copy.

    Args:
        utterance_id: of the original.
        number: of the copy, from 1.
        settings: digest of the settings.
    """
    return np.random.default_rng(derive_seed("copy", utterance_id, number, settings))


def voiced_samples(samples: np.ndarray, rate: int) -> np.ndarray:
    """Mark the samples of 20 ms frames whose power is within 30 dB of the loudest frame, bool, (n,)."""
    size = max(1, round(VOICED_SECONDS * rate))
    power = np.add.reduceat(np.square(samples, dtype=np.float64), np.arange(0, len(samples), size))
    return np.repeat(power >= power.max() * 10 ** (-VOICED_DECIBELS / 10), size)[: len(samples)]


def match_level(changed: np.ndarray, samples: np.ndarray, rate: int) -> np.ndarray:
    """Scale `changed` to the level of `samples` in the voiced samples of the latter.

    Args:
        changed: (n,).
        samples: (n,).
        rate: in Hz.

    Returns:
        float32, (n,).
    """
    voiced = voiced_samples(samples, rate)
    level = rms(changed[voiced])
    return np.asarray(changed * (rms(samples[voiced]) / level if level > 0 else 0.0), np.float32)


def rms(samples: np.ndarray) -> float:
    """Root mean square, in double precision."""
    return math.sqrt(np.mean(np.square(samples, dtype=np.float64)))


def sample_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """Sample a number uniformly from a range."""
    return float(rng.uniform(*bounds))


def choose(rng: np.random.Generator, choices: Any) -> Any:
    """Choose one of several values with equal probabilities."""
    return choices[int(rng.integers(len(choices)))]


def check_range(name: str, bounds: tuple[float, float], low: float = -math.inf, high: float = math.inf) -> None:
    """Check that a range is not empty and within limits.

    Args:
        name: of the setting.
        bounds: of the range.
        low: lower limit.
        high: upper limit.

    Raises:
        InputError: it is not.
    """
    if not low <= bounds[0] <= bounds[1] <= high:
        raise InputError(f"{name} = {list(bounds)}: must be two rising numbers within {low:g} to {high:g}", "augment")


def check_choices(name: str, choices: Any, known: Any = None) -> None:
    """Check that a list is not empty and has known values only.

    Args:
        name: of the setting.
        choices: the list.
        known: allowed values; None: any.

    Raises:
        InputError: it is empty or has others.
    """
    unknown = [choice for choice in choices if known is not None and choice not in known]
    if unknown or not choices:
        problem = f"not {unknown[0]}" if unknown else "name one"
        allowed = f"; there is: {', '.join(map(str, known))}" if known is not None else ""
        raise InputError(f"{name} = {list(choices)}: {problem}{allowed}", "augment")


@dataclass(frozen=True)
class Volume(Transform):
    """Change the level; nothing is clipped.

    Attributes:
        decibels: range of the gain, uniform in decibels.
    """

    decibels: tuple[float, float]

    def __post_init__(self) -> None:
        check_range("volume.decibels", self.decibels, -120, 120)

    def randomize_parameters(self, rng: np.random.Generator, pool: BabblePool | None = None) -> Values:
        return {"decibels": sample_uniform(rng, self.decibels)}

    def apply(self, samples: np.ndarray, rate: int, values: Values, pool: BabblePool | None = None) -> np.ndarray:
        return samples * np.float32(10 ** (values["decibels"] / 20))


@dataclass(frozen=True)
class Speed(Transform):
    """Change speed and pitch together (Ko et al. 2015), as effect `speed` of sox and perturb_speed of lhotse do.

    The result has n / factor samples, halves rounded up.

    Attributes:
        factors: one is chosen; 0.9 makes 48,000 samples 53,333, and 440 Hz 396 Hz.
    """

    factors: list[float]

    def __post_init__(self) -> None:
        check_choices("speed.factors", self.factors)
        check_range("speed.factors", (min(self.factors), max(self.factors)), 0.25, 4)

    def randomize_parameters(self, rng: np.random.Generator, pool: BabblePool | None = None) -> Values:
        return {"factor": float(choose(rng, self.factors))}

    def apply(self, samples: np.ndarray, rate: int, values: Values, pool: BabblePool | None = None) -> np.ndarray:
        import soxr

        factor = values["factor"]
        size = math.floor(len(samples) / factor + 0.5)
        if not samples.any() or size == 0:
            return np.zeros(size, np.float32)
        changed = _fit_size(soxr.resample(np.asarray(samples, np.float32), rate * factor, rate, quality="HQ"), size)
        level = rms(changed)  # 0 if everything was above the band of the result
        return changed * np.float32(rms(samples) / level if level > 0 else 0)


@dataclass(frozen=True)
class BandPass(Transform):
    """Zero-phase Butterworth band-pass (forwards and backwards): -6 dB at both edges, flat between.

    It falls by 48 dB per octave beyond the edges. An upper edge above half the sampling rate has no effect. The filter
    is applied in the spectrum, by its power response, which takes a third of the time of sosfiltfilt of scipy and
    agrees within 0.1 %.

    Attributes:
        low: range of the lower edge, Hz.
        high: range of the upper edge, Hz.
    """

    low: tuple[float, float]
    high: tuple[float, float]

    def __post_init__(self) -> None:
        check_range("band_pass.low", self.low, 1)
        check_range("band_pass.high", self.high, self.low[1] * 1.1)

    def randomize_parameters(self, rng: np.random.Generator, pool: BabblePool | None = None) -> Values:
        return {"low": sample_uniform(rng, self.low), "high": sample_uniform(rng, self.high)}

    def apply(self, samples: np.ndarray, rate: int, values: Values, pool: BabblePool | None = None) -> np.ndarray:
        from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

        if not samples.any():
            return np.zeros_like(samples)
        low, high = values["low"], values["high"]
        if low >= rate / 2:
            raise InputError(f"band_pass.low: {low:.0f} Hz is above what {rate} Hz can hold", "augment", "lower it")
        # Odd reflection at both ends, as long as the response of the lower edge, so that transients stay outside.
        padding = min(len(samples) - 1, round(2 * rate / low))
        before, after = samples[padding:0:-1], samples[-2 : -padding - 2 : -1]
        padded = np.concatenate([2 * samples[0] - before, samples, 2 * samples[-1] - after])
        padded -= padded.mean()
        size = next_fast_len(len(padded), real=True)
        power = np.tan(np.pi * rfftfreq(size)) ** (2 * FILTER_ORDER)  # bilinear transform
        gain = power / (power + math.tan(math.pi * low / rate) ** (2 * FILTER_ORDER))
        if high < rate / 2:
            gain /= 1 + power / math.tan(math.pi * high / rate) ** (2 * FILTER_ORDER)
        changed = irfft(rfft(padded, size) * gain.astype(np.float32), size)
        return match_level(changed[padding : padding + len(samples)], samples, rate)


@dataclass(frozen=True)
class Mp3(Transform):
    """Encode as MP3 at a constant bit rate (LAME) and decode again, without the delay of the encoder.

    Attributes:
        kbps: bit rates in kbit/s; one is chosen.
    """

    min_seconds: ClassVar[float] = 0.1
    kbps: list[int]

    def __post_init__(self) -> None:
        check_choices("mp3.kbps", self.kbps, sorted({kbps for known in MP3_RATES.values() for kbps in known}))

    def randomize_parameters(self, rng: np.random.Generator, pool: BabblePool | None = None) -> Values:
        return {"kbps": int(choose(rng, self.kbps))}

    def apply(self, samples: np.ndarray, rate: int, values: Values, pool: BabblePool | None = None) -> np.ndarray:
        """Encode and decode; TooShort below 100 ms, InputError for rates that MP3 does not have."""
        from fast_mp3_augment import SUPPORTED_SAMPLE_RATES, compress_roundtrip

        if rate not in SUPPORTED_SAMPLE_RATES:
            raise InputError(f"mp3: not at {rate} Hz; there is: {sorted(SUPPORTED_SAMPLE_RATES)}", "augment")
        known = next(rates for highest, rates in MP3_RATES.items() if rate <= highest)
        check_choices(f"mp3.kbps at {rate} Hz", [values["kbps"]], known)
        if len(samples) < self.min_seconds * rate:
            raise TooShort(f"{len(samples) / rate:.3f} s; mp3 takes {self.min_seconds} s or more")
        if not samples.any():
            return np.zeros_like(samples)
        # Scale to a peak of 1/2, so that neither clipping nor the threshold of the codec matters.
        gain = 0.5 / float(np.abs(samples).max())
        changed = compress_roundtrip((samples.astype(np.float64) * gain).astype(np.float32), rate, values["kbps"])
        return match_level(_fit_size(changed, len(samples)), samples, rate)


@dataclass(frozen=True)
class Vtlp(Transform):
    """Vocal tract length perturbation (Jaitly and Hinton 2013) of a waveform.

    The magnitudes of the short-time Fourier transform are warped as by `warp_frequency`, with linear interpolation.
    Each bin has the phase of its source bin, advanced from frame to frame according to the shift in whole bins (Laroche
    and Dolson 1999). With unchanged phases, overlapping frames would cancel, and only two thirds of the warp would
    remain. Harmonics move with the formants. The length does not change.

    Attributes:
        alpha: range of the warp; above 1 formants move up.
        boundary: frequency at which the map bends, as a fraction of half the sampling rate.
    """

    alpha: tuple[float, float]
    boundary: float

    def __post_init__(self) -> None:
        check_range("vtlp.boundary", (self.boundary, self.boundary), 0.01, 0.99)
        check_range("vtlp.alpha", self.alpha, self.boundary * 1.01, 1 / self.boundary)

    def randomize_parameters(self, rng: np.random.Generator, pool: BabblePool | None = None) -> Values:
        return {"alpha": sample_uniform(rng, self.alpha), "boundary": float(self.boundary)}

    def apply(self, samples: np.ndarray, rate: int, values: Values, pool: BabblePool | None = None) -> np.ndarray:
        from scipy.fft import irfft, rfft

        if values["alpha"] == 1 or not samples.any():
            return samples.copy()
        window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(VTLP_FRAME) / VTLP_FRAME), dtype=np.float32)
        overlap = VTLP_FRAME // VTLP_SHIFT
        blocks = -(-len(samples) // VTLP_SHIFT) + overlap - 1  # every sample lies in as many windows
        padded = np.zeros((blocks + overlap - 1) * VTLP_SHIFT, np.float32)
        start = VTLP_FRAME - VTLP_SHIFT
        padded[start : start + len(samples)] = samples
        frames = np.lib.stride_tricks.sliding_window_view(padded, VTLP_FRAME)[::VTLP_SHIFT]
        spectrum = rfft(frames * window, axis=1)
        size = warp_frequency(np.abs(spectrum), values["alpha"], values["boundary"])
        # The shift of each bin from its source, found by warping a ramp.
        bins = np.arange(size.shape[1], dtype=np.float32)
        shift = np.rint(bins - warp_frequency(bins[None], values["alpha"], values["boundary"])[0]).astype(np.intp)
        spectrum = spectrum.take(np.arange(len(bins)) - shift, axis=1)
        turns = np.exp(2j * np.pi / overlap * np.arange(overlap)[:, None] * shift).astype(np.complex64)
        spectrum *= turns[np.arange(len(frames)) % overlap]
        spectrum *= size / np.maximum(np.abs(spectrum), 1e-30)
        changed = (irfft(spectrum, VTLP_FRAME, axis=1) * window).reshape(len(frames), overlap, VTLP_SHIFT)
        result = np.zeros((len(frames) + overlap - 1, VTLP_SHIFT), np.float32)
        for part in range(overlap):
            result[part : part + len(frames)] += changed[:, part]
        return match_level(result.reshape(-1)[start : start + len(samples)], samples, rate)


def _fit_size(samples: np.ndarray, size: int) -> np.ndarray:
    """Cut to `size` samples, or pad with zeros at the end."""
    return np.pad(samples[:size], (0, max(0, size - len(samples))))
