"""Reverberation: convolve an utterance with a room impulse response, simulated (in a bank) or measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser.audio import audio_info, check_length, read_audio, resample
from ser.augment.noise import sampled_file, sound_files, split_sources
from ser.augment.transforms import Transform, Values, check_range, choose, match_level, sample_uniform
from ser.common import InputError, as_input_error, atomic_path, derive_seed, digest, locked
from ser.common.progress import progress

if TYPE_CHECKING:
    from ser.augment.babble_pool import BabblePool

BANK_RATE = 16000  # sampling rate of simulated rooms, Hz
BANK_VERSION = 1  # raise it when the same settings make other responses
LATE = 40  # delay of the responses of pyroomacoustics, samples
FROM_WALL = 0.5  # least distance of source and microphone from a wall, metres
TOLERANCE = 0.15  # relative difference of measured and sampled reverberation time
TRIES = 1000  # rooms that are tried for one response


@dataclass(frozen=True)
class Room(Transform):
    """Add the reverberation of a room, without the delay of the direct sound.

    Attributes:
        folder: measured impulse responses, at any sampling rate, of which the first channel is taken; empty: simulated
            responses.
        count: number of simulated responses.
        length, width, height: ranges of the room dimensions, metres.
        rt60: range of the reverberation time (decay by 60 dB), seconds. Room and time are sampled again if no such room
            exists or if the measured time of the response differs by more than 15 %.
        cache: folder for the bank of simulated responses, or for the cache of `sound_files`.
    """

    folder: str
    count: int
    length: tuple[float, float]
    width: tuple[float, float]
    height: tuple[float, float]
    rt60: tuple[float, float]
    cache: str = ""

    def __post_init__(self) -> None:
        for name in ("length", "width", "height"):
            check_range(f"room.{name}", getattr(self, name), 3 * FROM_WALL, 50)
        check_range("room.rt60", self.rt60, 0.05, 2)
        check_range("room.count", (self.count, self.count), 1, 100_000)
        self.sources()

    def sources(self) -> Mapping[str, str]:
        """Name -> digest of the measured responses; empty for simulated responses."""
        return sound_files(self.folder, "impulse responses", self.cache) if self.folder else {}

    @property
    def bank(self) -> Path:
        """The file of simulated responses; its name has a digest of their settings."""
        settings = {key: value for key, value in asdict(self).items() if key not in ("folder", "cache")}
        return Path(self.cache) / f"rooms-{digest([BANK_VERSION, BANK_RATE, settings])}.npz"

    def randomize_parameters(self, rng: np.random.Generator, pool: BabblePool | None = None) -> Values:
        if self.folder:
            file = choose(rng, split_sources(tuple(self.sources()))[0])
            values = {"file": file, "audio_digest": self.sources()[file]}
            return values | ({"channel": 0} if audio_info(Path(self.folder, file)).num_channels > 1 else {})
        response = choose(rng, split_sources(range(self.count))[0])
        return {"bank": self.bank.stem, "response": response, **self._load_bank()[1][response]}

    def apply(self, samples: np.ndarray, rate: int, values: Values, pool: BabblePool | None = None) -> np.ndarray:
        if not samples.any():
            return np.zeros_like(samples)
        from scipy.signal import oaconvolve

        reverberant = oaconvolve(samples, self.response(rate, values))[: len(samples)]
        return match_level(reverberant, samples, rate)

    def response(self, rate: int, values: dict[str, Any]) -> np.ndarray:
        """The sampled impulse response, with the direct sound at sample 0.

        Args:
            rate: of the response, in Hz.
            values: parameters of this transform.

        Returns:
            float32, (samples,).
        """
        if "file" in values:
            return _measured(str(sampled_file(self.folder, self.sources(), values)), rate, values.get("channel"))
        if values["bank"] != self.bank.stem:
            raise InputError(f"room: drawn from {values['bank']}, and the settings are of {self.bank.stem}", "augment")
        self._load_bank()
        return _simulated(str(self.bank), values["response"], rate)

    def _load_bank(self) -> tuple[list[np.ndarray], list[dict[str, Any]]]:
        """Load the simulated responses and their parameters; simulate them first if there are none.

        Raises:
            InputError: no room fulfils the settings, or the file is damaged.
        """
        path = self.bank
        if not path.is_file():
            with locked(path, f"{path}: rooms are being simulated"):
                if not path.is_file():
                    self._simulate(path)
        return _read_bank(str(path))

    def _simulate(self, path: Path) -> None:
        from pyroomacoustics import constants

        threads = constants.get("num_threads")
        constants.set("num_threads", 1)  # it affects the order of sums, and so the last bits
        try:
            numbers = progress(range(self.count), text="simulating rooms", unit="room")
            rooms = [self._simulate_one(np.random.default_rng(derive_seed(path.stem, number))) for number in numbers]
        finally:
            constants.set("num_threads", threads)
        with atomic_path(path) as temporary:
            np.savez(
                temporary,
                samples=np.concatenate([response for response, _ in rooms]),
                sizes=np.array([len(response) for response, _ in rooms]),
                about=np.array(json.dumps([about for _, about in rooms])),
            )

    def _simulate_one(self, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, Any]]:
        """Simulate one response, (samples,); return it with its parameters."""
        import pyroomacoustics

        for _ in range(TRIES):
            room = [sample_uniform(rng, bounds) for bounds in (self.length, self.width, self.height)]
            rt60 = sample_uniform(rng, self.rt60)
            ranges = [(FROM_WALL, side - FROM_WALL) for side in room]
            source, microphone = ([sample_uniform(rng, bounds) for bounds in ranges] for _ in range(2))
            try:
                absorption, order = pyroomacoustics.inverse_sabine(rt60, room)
            except ValueError:
                continue  # such a large room has a longer reverberation with any walls
            distance = float(np.linalg.norm(np.subtract(source, microphone)))
            late = distance / pyroomacoustics.constants.get("c") * BANK_RATE
            if late < 1:
                continue
            box = pyroomacoustics.ShoeBox(
                room, fs=BANK_RATE, materials=pyroomacoustics.Material(absorption), max_order=order
            )
            box.add_source(source)
            box.add_microphone(microphone)
            box.compute_rir()
            response = np.asarray(box.rir[0][0], np.float32)[round(LATE + late) :]
            if all(_has_rt60(resample(response, BANK_RATE, rate), rate, rt60) for rate in (BANK_RATE, 8000)):
                about = {"room": room, "rt60": rt60, "source": source, "microphone": microphone}
                return response / np.abs(response).max(), about
        raise InputError(f"room: no room of these sizes has an RT60 of {list(self.rt60)} s", "augment", "change either")


def _has_rt60(response: np.ndarray, rate: int, rt60: float) -> bool:
    """Whether the direct sound is the peak (otherwise copies have a delay) and the measured time is near `rt60`."""
    return int(np.argmax(np.abs(response))) == 0 and abs(measured_rt60(response, rate) / rt60 - 1) <= TOLERANCE


def measured_rt60(response: np.ndarray, rate: int) -> float:
    """Measure the reverberation time by backward integration (Schroeder), from -5 to -35 dB (ISO 3382, T30).

    Args:
        response: impulse response, (samples,).
        rate: in Hz.

    Returns:
        Seconds; NaN if the response does not decay that far.
    """
    energy = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]
    decay = 10 * np.log10(np.maximum(energy / energy[0], 1e-30))
    fitted = np.flatnonzero((decay <= -5) & (decay >= -35))
    if len(fitted) < 2:
        return float("nan")
    return float(-60 / np.polyfit(fitted / rate, decay[fitted], 1)[0])


@lru_cache(maxsize=2)
def _read_bank(path: str) -> tuple[list[np.ndarray], list[dict[str, Any]]]:
    errors, fix = (ValueError, KeyError, OSError, EOFError), "remove it, and it is made again"
    with as_input_error("not a readable bank of rooms", path, fix, *errors), np.load(path, allow_pickle=False) as file:
        responses = np.split(file["samples"], np.cumsum(file["sizes"])[:-1])
        return responses, json.loads(str(file["about"]))


@lru_cache(maxsize=4096)
def _simulated(bank: str, number: int, rate: int) -> np.ndarray:
    return resample(_read_bank(bank)[0][number], BANK_RATE, rate)


@lru_cache(maxsize=512)
def _measured(path: str, rate: int, channel: int | None) -> np.ndarray:
    audio = read_audio(Path(path))
    response = audio.mono if channel is None else audio.samples[channel]
    direct = int(np.argmax(np.abs(response)))
    check_length(f"{path}: behind its peak", len(response) - direct, audio.sampling_rate)
    return resample(response[direct:], audio.sampling_rate, rate)
