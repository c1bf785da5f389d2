"""Background noise, from recordings or made, and folders of sound files that are read for augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ser.audio import audio_info, read_audio, resample
from ser.augment.kinds import check_choices, check_range, one_of, rms, within
from ser.common import InputError

# Power against frequency: f to this power.
COLOURS = {"white": 0, "pink": -1, "brown": -2}
SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".sph", ".aif", ".aiff", ".au", ".amr", ".wv"}


@lru_cache(maxsize=8)
def sound_files(folder: str, what: str) -> tuple[str, ...]:
    """Names of the sound files below a folder, relative to it, sorted; each is read once to see that it sounds.

    Args:
        what: they hold, for the messages.

    Raises:
        InputError: no such folder, no sound file in it, or one that is silent or damaged.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"{folder}: no such folder of {what}; name one, or none for made ones")
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not names:
        raise InputError(f"{folder}: no sound file of {what} in it ({', '.join(sorted(SUFFIXES))})")
    for name in names:
        samples = read_audio(root / name).mono
        if samples.size == 0 or np.ptp(samples) == 0:
            raise InputError(f"{root / name}: silent; remove it from the folder of {what}")
    return tuple(names)


@dataclass(frozen=True)
class Noise:
    """Noise is added; the speech stays as it is.

    The ratio is of mean powers over the whole utterance, as in Kaldi's wav-reverberate and in lhotse. A recording is
    mixed to mono, resampled, freed from its mean, begins at a random place and is looped where it is shorter.

    Attributes:
        folder: recordings of noise, at any rate and with any channels; empty: noise is made.
        colours: of made noise: white, pink, brown; one is drawn.
        snr: range of the signal-to-noise ratio, decibels.
    """

    folder: str
    colours: list[str]
    snr: tuple[float, float]

    def __post_init__(self) -> None:
        check_choices("noise.colours", self.colours, COLOURS)
        check_range("noise.snr", self.snr, -60, 120)
        self.sources()

    def sources(self) -> tuple[str, ...]:
        """Names of the recordings, none for made noise."""
        return sound_files(self.folder, "noise") if self.folder else ()

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        values = {"snr": within(rng, self.snr)}
        if self.folder:
            return values | {"file": one_of(rng, self.sources()), "place": float(rng.random())}
        return values | {"colour": one_of(rng, self.colours), "seed": int(rng.integers(2**63))}

    def apply(self, samples: np.ndarray, rate: int, values: dict[str, Any]) -> np.ndarray:
        if not samples.any():
            return samples.copy()
        if "file" in values:
            noise = _recorded(Path(self.folder) / values["file"], values["place"], len(samples), rate)
        else:
            noise = coloured(values["colour"], len(samples), values["seed"])
        loud = rms(noise)
        gain = rms(samples) / loud * 10 ** (-values["snr"] / 20) if loud > 0 else 0.0
        return np.asarray(samples + gain * noise, np.float32)


def coloured(colour: str, size: int, seed: int) -> np.ndarray:
    """Gaussian noise whose power falls with frequency f as 1 (white), 1/f (pink) or 1/f^2 (brown): (size,)."""
    from scipy.fft import irfft, next_fast_len, rfft

    full = next_fast_len(max(size, 2), real=True)
    noise = np.random.default_rng(seed).standard_normal(full, np.float32)
    if COLOURS[colour]:
        shape = np.arange(full // 2 + 1, dtype=np.float32)
        shape[1:] **= COLOURS[colour] / 2
        noise = irfft(rfft(noise) * shape, full)
    return noise[:size]


def _recorded(path: Path, place: float, size: int, rate: int) -> np.ndarray:
    """`size` samples at `rate` Hz of a recording from a place on, which is a share of it; looped."""
    info = audio_info(path)
    start = int(place * info.num_samples)
    needed = -(-size * info.sampling_rate // rate) + 1
    if start + needed <= info.num_samples:
        noise = resample(read_audio(path, start, needed).mono, info.sampling_rate, rate)
        noise = noise - noise.mean()
        if np.ptp(noise) > 1e-7:
            return noise[:size]
    # Short, near its end, or silent just there: the whole of it, from the first sound behind that place on.
    noise = resample(read_audio(path).mono, info.sampling_rate, rate)
    noise = np.roll(noise - noise.mean(), -int(place * len(noise)))
    first = int(np.argmax(np.abs(noise) > 1e-3 * np.abs(noise).max()))
    return np.take(noise, np.arange(first, first + size), mode="wrap")
