"""Background noise: recorded, synthetic or babble. Also the folders of sound files that augmentation uses."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser.audio import AUDIO_SUFFIXES, READABLE_SUFFIXES, audio_info, read_audio, resample
from ser.audio.reader import is_silent
from ser.augment.transforms import (
    Transform,
    Values,
    check_choices,
    check_range,
    choose,
    rms,
    sample_uniform,
    voiced_samples,
)
from ser.common import InputError, derive_seed, digest, locked, read_json, write_json
from ser.common.progress import progress
from ser.corpora.utterance import other_files

if TYPE_CHECKING:
    from ser.augment.babble_pool import BabblePool

# Exponent of the power over frequency.
COLOURS = {"white": 0, "pink": -1, "brown": -2}
BABBLE = "babble"
TEST_SHARE = 10  # one in 10 noises or rooms is reserved for testing


@lru_cache(maxsize=8)
def split_sources(names: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Split noises or rooms into training and test, so that no model is tested with noises or rooms of its training.

    A tenth is for testing, at least one if there are two or more. The split depends on the names only.

    Args:
        names: names or numbers of the sources; hashable: a tuple or a range.

    Returns:
        (train, test), each in the given order.
    """
    by_hash = sorted(names, key=lambda name: derive_seed("test share", name))
    test = set(by_hash[len(names) - max(1, len(names) // TEST_SHARE) :]) if len(names) > 1 else set()
    return tuple(name for name in names if name not in test), tuple(name for name in names if name in test)


@lru_cache(maxsize=8)
def sound_files(folder: str, what: str, cache: str = "") -> Mapping[str, str]:
    """List the sound files below a folder: sorted relative names, and the digest of the content of each.

    Hidden files, such as the `._` files of macOS, and duplicates of an earlier file are skipped; those that only ffmpeg
    reads too, with a warning. Each file is read once to check that it is not silent.

    Args:
        folder: of the sound files.
        what: kind of the sounds, for messages.
        cache: folder for a cache of the digests, so that any process reads only files of a new size or time again;
            empty: no cache.

    Raises:
        InputError: the folder is absent, has no sound file, or one that is silent or damaged.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"no such folder of {what}", folder, "name one, or none for made ones")
    files = other_files(root, ())
    paths = [path for path in files if path.suffix.lower() in READABLE_SUFFIXES]
    if ignored := [path for path in files if path.suffix.lower() in AUDIO_SUFFIXES - READABLE_SUFFIXES]:
        unused = f"{len(ignored)} audio files are not used, such as {ignored[0].name}"
        warnings.warn(f"{folder}: {unused}: convert them to WAV or FLAC", stacklevel=2)
    if not paths:
        raise InputError(f"no sound file of {what} in it ({', '.join(sorted(READABLE_SUFFIXES))})", folder)
    cache_file = Path(cache, f"sounds-{digest(os.path.realpath(root))}.json") if cache else None
    firsts: dict[str, str] = {}
    for name, content in _digests(root, paths, what, cache_file).items():
        firsts.setdefault(content, name)
    return {name: content for content, name in firsts.items()}


def _digests(root: Path, paths: Sequence[Path], what: str, cache_file: Path | None) -> dict[str, str]:
    """Name -> digest of the content of each file, from the cache or by reading it."""
    states = {path.relative_to(root).as_posix(): _state(path) for path in paths}
    entries = _cached(cache_file, states)
    if len(entries) < len(states):
        with locked(cache_file, f"{root} is being read") if cache_file else nullcontext():
            entries = _cached(cache_file, states)  # another process may have read them meanwhile
            missing = [name for name in states if name not in entries]
            try:
                for name in progress(missing, text=f"reading {what}", unit="file"):
                    if is_silent(read_audio(root / name).mono):
                        raise InputError("silent", root / name, f"remove it from the folder of {what}")
                    entries[name] = [*states[name], digest(root / name)]
            finally:
                if cache_file:
                    write_json(cache_file, entries)
    return {name: entries[name][2] for name in states}


def _state(path: Path) -> list[int]:
    """Size and modification time of a file; impossible values for a broken link."""
    return [path.stat().st_size, path.stat().st_mtime_ns] if path.exists() else [-1, -1]


def _cached(cache_file: Path | None, states: Mapping[str, list[int]]) -> dict[str, list[Any]]:
    """The cache entries, [size, time, digest], of files that have not changed."""
    rows = read_json(cache_file) if cache_file and cache_file.is_file() else {}
    return {name: rows[name] for name, state in states.items() if rows.get(name, [])[:2] == state}


def sampled_file(folder: str, sources: Mapping[str, str], values: Mapping[str, Any]) -> Path:
    """The path of a sampled file.

    Args:
        folder: of the sound files.
        sources: name -> digest of the files that exist now.
        values: parameters of a transform, with name and digest of the file.

    Raises:
        InputError: the file no longer exists or has changed.
    """
    path = Path(folder) / values["file"]
    if sources.get(values["file"]) != values["audio_digest"]:
        raise InputError("not there, or not what it was when the copies were drawn", path, "run stage 2")
    return path


@dataclass(frozen=True)
class Noise(Transform):
    """Add noise; the speech itself does not change.

    The signal-to-noise ratio is that of mean powers over the whole utterance, as in wav-reverberate of Kaldi and in
    lhotse. A recording is mixed down to mono, resampled and freed of its mean; it starts at a random position and is
    looped if it is too short. Babble is the sum of utterances of other speakers, equally loud, each prepared in the
    same way (Snyder et al. 2018).

    Attributes:
        folder: recordings of noise, with any sampling rate and number of channels; empty: synthetic noise.
        colours: of synthetic noise: white, pink, brown, babble; one is sampled, without babble if the training part
            has no other speakers.
        snr: range of the signal-to-noise ratio, decibels.
        talkers: range of the number of utterances in babble; fewer if there are fewer.
        babble_snr: range of the signal-to-noise ratio of babble, decibels.
        cache: folder for the cache of `sound_files`.
    """

    folder: str
    colours: list[str]
    snr: tuple[float, float]
    talkers: tuple[int, int]
    babble_snr: tuple[float, float]
    cache: str = ""

    def __post_init__(self) -> None:
        check_choices("noise.colours", self.colours, [*COLOURS, BABBLE])
        check_range("noise.snr", self.snr, -60, 120)
        check_range("noise.talkers", self.talkers, 1, 100)
        check_range("noise.babble_snr", self.babble_snr, -60, 120)
        self.sources()

    def sources(self) -> Mapping[str, str]:
        """Name -> digest of the recordings; empty for synthetic noise."""
        return sound_files(self.folder, "noise", self.cache) if self.folder else {}

    def randomize_parameters(self, rng: np.random.Generator, pool: BabblePool | None = None) -> Values:
        """Sample the parameters; InputError if babble is the only colour and there are no other speakers."""
        if self.folder:
            file = choose(rng, split_sources(tuple(self.sources()))[0])
            values = {"file": file, "audio_digest": self.sources()[file], "place": float(rng.random())}
            return {"snr": sample_uniform(rng, self.snr), **values}
        others = pool.ids if pool else []
        colours = [colour for colour in self.colours if colour != BABBLE or others]
        if not colours:
            raise InputError(
                f"noise.colours = {self.colours}: there is a single training speaker, and nobody else to babble",
                "augment",
                f"add one of {', '.join(COLOURS)}",
            )
        colour = choose(rng, colours)
        if pool is None or colour != BABBLE:
            return {"snr": sample_uniform(rng, self.snr), "colour": colour, "seed": int(rng.integers(2**63))}
        count = min(int(rng.integers(self.talkers[0], self.talkers[1] + 1)), len(others))
        chosen = rng.choice(len(others), count, replace=False)
        talkers = [{**pool.content(others[number]), "place": float(rng.random())} for number in chosen]
        return {"snr": sample_uniform(rng, self.babble_snr), "colour": BABBLE, "talkers": talkers}

    def apply(self, samples: np.ndarray, rate: int, values: Values, pool: BabblePool | None = None) -> np.ndarray:
        """Add the noise; InputError if a recording or an utterance of the babble has changed since sampling."""
        if not samples.any():
            return samples.copy()
        if "file" in values:
            path = sampled_file(self.folder, self.sources(), values)
            noise = _recorded_noise(path, values["place"], len(samples), rate)
        elif pool is not None and values["colour"] == BABBLE:
            noise = _babble(values["talkers"], len(samples), rate, pool)
        else:
            noise = coloured_noise(values["colour"], len(samples), values["seed"])
        noise_rms = rms(noise)
        gain = rms(samples) / noise_rms * 10 ** (-values["snr"] / 20) if noise_rms > 0 else 0.0
        return np.asarray(samples + gain * noise, np.float32)


def coloured_noise(colour: str, size: int, seed: int) -> np.ndarray:
    """Generate Gaussian noise whose power is proportional to 1 (white), 1/f (pink) or 1/f^2 (brown).

    Args:
        colour: white, pink or brown.
        size: number of samples.
        seed: of the generator.

    Returns:
        float32, (size,).
    """
    from scipy.fft import irfft, next_fast_len, rfft

    full = next_fast_len(max(size, 2), real=True)
    noise = np.random.default_rng(seed).standard_normal(full, np.float32)
    if COLOURS[colour]:
        shape = np.arange(full // 2 + 1, dtype=np.float32)
        shape[1:] **= COLOURS[colour] / 2
        noise = irfft(rfft(noise) * shape, full)
    return noise[:size]


def _babble(talkers: Sequence[Mapping[str, Any]], size: int, rate: int, pool: BabblePool) -> np.ndarray:
    """Sum utterances with equal power in their voiced frames, (size,); silent utterances add nothing."""
    total = np.zeros(size, np.float32)
    for talker in talkers:
        name = talker["utterance"]
        if {**pool.content(name), "place": talker["place"]} != talker:
            raise InputError("not what it was when babble was made of it", name, "run stage 2")
        voice = pool.samples(name, rate)
        if not is_silent(voice):
            voice = voice - voice.mean()
            start = int(talker["place"] * len(voice))
            level = rms(voice[voiced_samples(voice, rate)])
            total += np.take(voice, np.arange(start, start + size), mode="wrap") / level
    return total


def _recorded_noise(path: Path, place: float, size: int, rate: int) -> np.ndarray:
    """Read `size` samples at `rate` Hz of a recording from `place` on, a share of its length; looped."""
    info = audio_info(path)
    start = int(place * info.num_samples)
    needed = -(-size * info.sampling_rate // rate) + 1
    if start + needed <= info.num_samples:
        noise = resample(read_audio(path, start, needed).mono, info.sampling_rate, rate)
        noise = noise - noise.mean()
        if not is_silent(noise):
            return noise[:size]
    # Too short, near its end, or silent there: loop the whole recording from the first sound after that position.
    noise = resample(read_audio(path).mono, info.sampling_rate, rate)
    noise = np.roll(noise - noise.mean(), -int(place * len(noise)))
    first = int(np.argmax(np.abs(noise) > 1e-3 * np.abs(noise).max()))
    return np.take(noise, np.arange(first, first + size), mode="wrap")
