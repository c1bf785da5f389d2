"""Kinds of perturbation of a waveform (da Silva et al. 2020; speed: Ko et al. 2015), and what all of them share.

A kind draws what it does, `values = kind.randomize_parameters(rng, pool)`, JSON-able and complete, and does it,
`kind.apply(samples, rate, values, pool)`, without drawing anything: from its values alone a copy comes out the same
again. Values name all other audio that goes in by its content, so they name what comes out. `pool` is of other
speakers, for babble.

`samples` is float32, mono, (n,), at `rate` Hz; it is not changed. The result is float32, (n,) but for speed, without
delay, finite, and all zeros where `samples` are. Its voiced part is as loud as before, but for volume: loudness would
mark the copies. A kind whose ranges make no sense raises InputError when it is made.
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
VOICED_DECIBELS = 30  # frames no more than this below the loudest are voiced
VOICED_SECONDS = 0.02  # of a frame
VTLP_FRAME = 512  # samples
VTLP_SHIFT = 128
FILTER_ORDER = 4  # of each edge of the band, each way
# LAME's bit rates in kbit/s at sampling rates up to so many Hz (MPEG 2.5, 2 and 1, layer III); it clips others to them.
MP3_RATES = {
    12000: (8, 16, 24, 32, 40, 48, 56, 64),
    24000: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    48000: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}


class TooShort(Exception):
    """A kind cannot do this to so short an utterance: the copy is left out, and counted."""


class Transform(ABC):
    """What every kind does; see the head of this file.

    Attributes:
        least_seconds: `apply` raises TooShort below; 0: any utterance will do.
    """

    least_seconds: ClassVar[float] = 0.0

    @abstractmethod
    def randomize_parameters(self, rng: np.random.Generator, pool: BabblePool | None = None) -> Values:
        """What to do, with which values."""

    @abstractmethod
    def apply(self, samples: np.ndarray, rate: int, values: Values, pool: BabblePool | None = None) -> np.ndarray:
        """Do it."""


def copy_rng(utterance_id: str, number: int, settings: str) -> np.random.Generator:
    """The generator that draws a copy: of utterance, copy number and digest of the settings, and of nothing else."""
    return np.random.default_rng(derive_seed("copy", utterance_id, number, settings))


def voiced(samples: np.ndarray, rate: int) -> np.ndarray:
    """Which samples lie in frames of 20 ms whose power is within 30 dB of the loudest frame's: bool, (n,)."""
    size = max(1, round(VOICED_SECONDS * rate))
    power = np.add.reduceat(np.square(samples, dtype=np.float64), np.arange(0, len(samples), size))
    return np.repeat(power >= power.max() * 10 ** (-VOICED_DECIBELS / 10), size)[: len(samples)]


def at_level(changed: np.ndarray, samples: np.ndarray, rate: int) -> np.ndarray:
    """`changed`, (n,), scaled so that it is as loud as `samples`, (n,), where those are voiced; float32."""
    where = voiced(samples, rate)
    now = rms(changed[where])
    return np.asarray(changed * (rms(samples[where]) / now if now > 0 else 0.0), np.float32)


def rms(samples: np.ndarray) -> float:
    """Root of the mean square, in double precision."""
    return math.sqrt(np.mean(np.square(samples, dtype=np.float64)))


def draw_within(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """A number uniform in a range."""
    return float(rng.uniform(*bounds))


def one_of(rng: np.random.Generator, choices: Any) -> Any:
    """One of a list, each as likely."""
    return choices[int(rng.integers(len(choices)))]


def check_range(name: str, bounds: tuple[float, float], least: float = -math.inf, most: float = math.inf) -> None:
    """Refuse a range that is empty or goes beyond what can be."""
    if not least <= bounds[0] <= bounds[1] <= most:
        raise InputError(f"{name} = {list(bounds)}: must be two rising numbers within {least:g} to {most:g}", "augment")


def check_choices(name: str, choices: Any, known: Any = None) -> None:
    """Refuse an empty list, and choices that are not known."""
    wrong = [choice for choice in choices if known is not None and choice not in known]
    if wrong or not choices:
        known = f"; there is: {', '.join(map(str, known))}" if known is not None else ""
        raise InputError(f"{name} = {list(choices)}: {f'not {wrong[0]}' if wrong else 'name one'}{known}", "augment")


@dataclass(frozen=True)
class Volume(Transform):
    """Louder or quieter; nothing is clipped.

    Attributes:
        decibels: range of the gain, uniform in decibels.
    """

    decibels: tuple[float, float]

    def __post_init__(self) -> None:
        check_range("volume.decibels", self.decibels, -120, 120)

    def randomize_parameters(self, rng: np.random.Generator, pool: BabblePool | None = None) -> Values:
        return {"decibels": draw_within(rng, self.decibels)}

    def apply(self, samples: np.ndarray, rate: int, values: Values, pool: BabblePool | None = None) -> np.ndarray:
        return samples * np.float32(10 ** (values["decibels"] / 20))


@dataclass(frozen=True)
class Speed(Transform):
    """Faster and higher, or slower and lower (Ko et al. 2015), as sox's effect `speed` and lhotse's perturb_speed do.

    The result has n / factor samples, halves rounded up.

    Attributes:
        factors: one of them is drawn; 0.9 makes 48,000 samples 53,333, and 440 Hz 396 Hz.
    """

    factors: list[float]

    def __post_init__(self) -> None:
        check_choices("speed.factors", self.factors)
        check_range("speed.factors", (min(self.factors), max(self.factors)), 0.25, 4)

    def randomize_parameters(self, rng: np.random.Generator, pool: BabblePool | None = None) -> Values:
        return {"factor": float(one_of(rng, self.factors))}

    def apply(self, samples: np.ndarray, rate: int, values: Values, pool: BabblePool | None = None) -> np.ndarray:
        import soxr

        factor = values["factor"]
        size = math.floor(len(samples) / factor + 0.5)
        if not samples.any() or size == 0:
            return np.zeros(size, np.float32)
        changed = _fitted(soxr.resample(np.asarray(samples, np.float32), rate * factor, rate, quality="HQ"), size)
        loud = rms(changed)  # 0 where all of it lay above what the band now holds
        return changed * np.float32(rms(samples) / loud if loud > 0 else 0)


@dataclass(frozen=True)
class BandPass(Transform):
    """A Butterworth band-pass run forwards and backwards, so without delay: 6 dB down at both edges, flat between.

    Beyond an edge it falls by 48 dB an octave. An upper edge that the sampling rate cannot hold leaves the top as is.
    Computed on the spectrum, where there and back is the filter's power response: a third of the time of scipy's
    sosfiltfilt, and the same within 0.1 %.

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
        return {"low": draw_within(rng, self.low), "high": draw_within(rng, self.high)}

    def apply(self, samples: np.ndarray, rate: int, values: Values, pool: BabblePool | None = None) -> np.ndarray:
        from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

        if not samples.any():
            return np.zeros_like(samples)
        low, high = values["low"], values["high"]
        if low >= rate / 2:
            raise InputError(f"band_pass.low: {low:.0f} Hz is above what {rate} Hz can hold", "augment", "lower it")
        # Turned over at both ends for as long as the lower edge rings on, so that it is not in the result.
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
        return at_level(changed[padding : padding + len(samples)], samples, rate)


@dataclass(frozen=True)
class Mp3(Transform):
    """Encoded as MP3 at a constant bit rate by LAME and decoded again, with the encoder's delay taken out.

    Attributes:
        kbps: bit rates in kbit/s, of which one is drawn.
    """

    least_seconds: ClassVar[float] = 0.1
    kbps: list[int]

    def __post_init__(self) -> None:
        check_choices("mp3.kbps", self.kbps, sorted({kbps for known in MP3_RATES.values() for kbps in known}))

    def randomize_parameters(self, rng: np.random.Generator, pool: BabblePool | None = None) -> Values:
        return {"kbps": int(one_of(rng, self.kbps))}

    def apply(self, samples: np.ndarray, rate: int, values: Values, pool: BabblePool | None = None) -> np.ndarray:
        """Raises TooShort under 100 ms, InputError for a sampling rate or a bit rate there that MP3 does not have."""
        from fast_mp3_augment import SUPPORTED_SAMPLE_RATES, compress_roundtrip

        if rate not in SUPPORTED_SAMPLE_RATES:
            raise InputError(f"mp3: not at {rate} Hz; there is: {sorted(SUPPORTED_SAMPLE_RATES)}", "augment")
        known = next(rates for most, rates in MP3_RATES.items() if rate <= most)
        check_choices(f"mp3.kbps at {rate} Hz", [values["kbps"]], known)
        if len(samples) < self.least_seconds * rate:
            raise TooShort(f"{len(samples) / rate:.3f} s; mp3 takes {self.least_seconds} s or more")
        if not samples.any():
            return np.zeros_like(samples)
        # At a peak of 1/2, whatever the level, so that neither clipping nor the codec's threshold comes in.
        gain = 0.5 / float(np.abs(samples).max())
        changed = compress_roundtrip((samples.astype(np.float64) * gain).astype(np.float32), rate, values["kbps"])
        return at_level(_fitted(changed, len(samples)), samples, rate)


@dataclass(frozen=True)
class Vtlp(Transform):
    """Vocal tract length perturbation (Jaitly and Hinton 2013) of a waveform.

    The magnitudes of its short-time Fourier transform are warped by the map of `warp_frequency`, interpolated
    linearly. Each bin takes the phase of the bin it comes from, turned on from frame to frame as a shift by whole bins
    asks (Laroche and Dolson 1999): with the phases left in place, frames would cancel where they overlap, and only two
    thirds of the warp would remain. Harmonics move along with formants. The inverse has as many samples.

    Attributes:
        alpha: range of the warp; above 1 formants move up.
        boundary: where the map bends, as a fraction of half the sampling rate.
    """

    alpha: tuple[float, float]
    boundary: float

    def __post_init__(self) -> None:
        check_range("vtlp.boundary", (self.boundary, self.boundary), 0.01, 0.99)
        check_range("vtlp.alpha", self.alpha, self.boundary * 1.01, 1 / self.boundary)

    def randomize_parameters(self, rng: np.random.Generator, pool: BabblePool | None = None) -> Values:
        return {"alpha": draw_within(rng, self.alpha), "boundary": float(self.boundary)}

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
        # Where each bin comes from, in bins: the map itself, as the warp of a ramp.
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
        return at_level(result.reshape(-1)[start : start + len(samples)], samples, rate)


def _fitted(samples: np.ndarray, size: int) -> np.ndarray:
    """The first `size` samples, zeros behind where there are fewer."""
    return np.pad(samples[:size], (0, max(0, size - len(samples))))
