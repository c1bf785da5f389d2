"""Background noise, from recordings, made or of other speakers, and folders of sound files for augmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser.audio import READABLE_SUFFIXES, audio_info, read_audio, resample
from ser.audio.reader import is_silent
from ser.augment.transforms import Transform, Values, check_choices, check_range, draw_within, one_of, rms, voiced
from ser.common import InputError, derive_seed, digest, locked, read_json, write_json
from ser.common.progress import progress
from ser.corpora.utterance import other_files

if TYPE_CHECKING:
    from ser.augment.babble_pool import BabblePool

# Power against frequency: f to this power.
COLOURS = {"white": 0, "pink": -1, "brown": -2}
BABBLE = "babble"
TEST_SHARE = 10  # one of so many noises or rooms is kept for testing


@lru_cache(maxsize=8)
def shares(names: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Noises or rooms for training and for testing, by name or number: no model is tested in what it was trained in.

    A tenth is for testing, one at least where there are two; which of them follows from the names alone.

    Args:
        names: hashable: a tuple or a range.

    Returns:
        (train, test), each in the order given.
    """
    by_hash = sorted(names, key=lambda name: derive_seed("test share", name))
    test = set(by_hash[len(names) - max(1, len(names) // TEST_SHARE) :]) if len(names) > 1 else set()
    return tuple(name for name in names if name not in test), tuple(name for name in names if name in test)


@lru_cache(maxsize=8)
def sound_files(folder: str, what: str, cache: str = "") -> Mapping[str, str]:
    """The sound files below a folder: names relative to it, sorted, and the digest of what each holds.

    Hidden files, such as the `._` twins of macOS, are passed over; of files that hold the same, all but the first.
    Each is read once, to see that it sounds.

    Args:
        what: they hold, for the messages.
        cache: folder in which to keep what was found, so that only files of a new size or time are read again, by
            whatever process; empty: nowhere.

    Raises:
        InputError: no such folder, no sound file in it, or one that is silent or damaged.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"no such folder of {what}", folder, "name one, or none for made ones")
    paths = [path for path in other_files(root, ()) if path.suffix.lower() in READABLE_SUFFIXES]
    if not paths:
        raise InputError(f"no sound file of {what} in it ({', '.join(sorted(READABLE_SUFFIXES))})", folder)
    kept = Path(cache, f"sounds-{digest(str(root.resolve()))}.json") if cache else None
    firsts: dict[str, str] = {}
    for name, content in _contents(root, paths, what, kept).items():
        firsts.setdefault(content, name)
    return {name: content for content, name in firsts.items()}


def _contents(root: Path, paths: Sequence[Path], what: str, kept: Path | None) -> dict[str, str]:
    states = {path.relative_to(root).as_posix(): _state(path) for path in paths}
    found = _known(kept, states)
    if len(found) < len(states):
        with locked(kept, f"{root} is being read") if kept else nullcontext():
            found = _known(kept, states)  # another process may have read them meanwhile
            missing = [name for name in states if name not in found]
            try:
                for name in progress(missing, text=f"reading {what}", unit="file"):
                    if is_silent(read_audio(root / name).mono):
                        raise InputError("silent", root / name, f"remove it from the folder of {what}")
                    found[name] = [*states[name], digest(root / name)]
            finally:
                if kept:
                    write_json(kept, found)
    return {name: found[name][2] for name in states}


def _state(path: Path) -> list[int]:
    """Size, and time of the last change; of a link to nothing, what no file has."""
    return [path.stat().st_size, path.stat().st_mtime_ns] if path.exists() else [-1, -1]


def _known(kept: Path | None, states: Mapping[str, list[int]]) -> dict[str, list[Any]]:
    """Size, time and content of files that are as they were when they were read."""
    rows = read_json(kept) if kept and kept.is_file() else {}
    return {name: rows[name] for name, state in states.items() if rows.get(name, [])[:2] == state}


def drawn_file(folder: str, sources: Mapping[str, str], values: Mapping[str, Any]) -> Path:
    """The file that a draw names.

    Raises:
        InputError: it is no longer there, or no longer holds what it did.
    """
    path = Path(folder) / values["file"]
    if sources.get(values["file"]) != values["audio_digest"]:
        raise InputError("not there, or not what it was when the copies were drawn", path, "run stage 2")
    return path


@dataclass(frozen=True)
class Noise(Transform):
    """Noise is added; the speech stays as it is.

    The ratio is of mean powers over the whole utterance, as in Kaldi's wav-reverberate and in lhotse. A recording is
    mixed to mono, resampled, freed from its mean, begins at a random place and is looped where it is shorter. Babble
    is the sum of utterances of other speakers, all equally loud, each treated likewise (Snyder et al. 2018).

    Attributes:
        folder: recordings of noise, at any rate and with any channels; empty: noise is made.
        colours: of noise that is not recorded: white, pink, brown, babble; one is drawn, of the others than babble
            where there is nobody else in the training part.
        snr: range of the signal-to-noise ratio, decibels.
        talkers: range of the number of utterances in babble; fewer where there are fewer.
        babble_snr: as snr, of babble.
        cache: folder in which to keep what was found in `folder`.
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
        """Names of the recordings and digests of what they hold; none for made noise."""
        return sound_files(self.folder, "noise", self.cache) if self.folder else {}

    def randomize_parameters(self, rng: np.random.Generator, pool: BabblePool | None = None) -> Values:
        """Raises InputError where babble is the only colour, and there is nobody else."""
        if self.folder:
            file = one_of(rng, shares(tuple(self.sources()))[0])
            values = {"file": file, "audio_digest": self.sources()[file], "place": float(rng.random())}
            return {"snr": draw_within(rng, self.snr), **values}
        others = pool.ids if pool else []
        colours = [colour for colour in self.colours if colour != BABBLE or others]
        if not colours:
            raise InputError(
                f"noise.colours = {self.colours}: there is a single training speaker, and nobody else to babble",
                "augment",
                f"add one of {', '.join(COLOURS)}",
            )
        colour = one_of(rng, colours)
        if pool is None or colour != BABBLE:
            return {"snr": draw_within(rng, self.snr), "colour": colour, "seed": int(rng.integers(2**63))}
        count = min(int(rng.integers(self.talkers[0], self.talkers[1] + 1)), len(others))
        chosen = rng.choice(len(others), count, replace=False)
        talkers = [{**pool.content(others[number]), "place": float(rng.random())} for number in chosen]
        return {"snr": draw_within(rng, self.babble_snr), "colour": BABBLE, "talkers": talkers}

    def apply(self, samples: np.ndarray, rate: int, values: Values, pool: BabblePool | None = None) -> np.ndarray:
        """Raises InputError where a recording, or an utterance in babble, is not what it was when it was drawn."""
        if not samples.any():
            return samples.copy()
        if "file" in values:
            path = drawn_file(self.folder, self.sources(), values)
            noise = _recorded(path, values["place"], len(samples), rate)
        elif pool is not None and values["colour"] == BABBLE:
            noise = _babble(values["talkers"], len(samples), rate, pool)
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


def _babble(talkers: Sequence[Mapping[str, Any]], size: int, rate: int, pool: BabblePool) -> np.ndarray:
    """`size` samples of some utterances at once, as loud as each other where voiced; silent ones add nothing."""
    total = np.zeros(size, np.float32)
    for talker in talkers:
        name = talker["utterance"]
        if {**pool.content(name), "place": talker["place"]} != talker:
            raise InputError("not what it was when babble was made of it", name, "run stage 2")
        voice = pool.samples(name, rate)
        if not is_silent(voice):
            voice = voice - voice.mean()
            start = int(talker["place"] * len(voice))
            total += np.take(voice, np.arange(start, start + size), mode="wrap") / rms(voice[voiced(voice, rate)])
    return total


def _recorded(path: Path, place: float, size: int, rate: int) -> np.ndarray:
    """`size` samples at `rate` Hz of a recording from a place on, which is a share of it; looped."""
    info = audio_info(path)
    start = int(place * info.num_samples)
    needed = -(-size * info.sampling_rate // rate) + 1
    if start + needed <= info.num_samples:
        noise = resample(read_audio(path, start, needed).mono, info.sampling_rate, rate)
        noise = noise - noise.mean()
        if not is_silent(noise):
            return noise[:size]
    # Short, near its end, or silent just there: the whole of it, from the first sound behind that place on.
    noise = resample(read_audio(path).mono, info.sampling_rate, rate)
    noise = np.roll(noise - noise.mean(), -int(place * len(noise)))
    first = int(np.argmax(np.abs(noise) > 1e-3 * np.abs(noise).max()))
    return np.take(noise, np.arange(first, first + size), mode="wrap")
