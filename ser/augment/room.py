"""Rooms: impulse responses, simulated once into a bank or measured, with which an utterance is convolved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser.audio import check_length, read_audio, resample
from ser.augment.noise import drawn_file, shares, sound_files
from ser.augment.transforms import Transform, Values, at_level, check_range, draw_within, one_of
from ser.common import InputError, atomic_path, derive_seed, digest, locked
from ser.common.progress import progress

if TYPE_CHECKING:
    from ser.augment.babble_pool import BabblePool

BANK_RATE = 16000  # Hz, at which rooms are simulated
BANK_VERSION = 1  # raise it when the same settings make other responses
LATE = 40  # samples by which pyroomacoustics' responses come late
FROM_WALL = 0.5  # metres that source and microphone keep from a wall at least
TOLERANCE = 0.15  # of the reverberation time, measured against what was drawn
TRIES = 1000  # of rooms for one response


@dataclass(frozen=True)
class Room(Transform):
    """Reverberation of a room, without the delay of the direct sound.

    Attributes:
        folder: measured impulse responses, at any rate; empty: simulated ones.
        count: simulated responses.
        length, width, height: ranges of the room's, metres.
        rt60: range of the time in which sound decays by 60 dB, seconds; drawn again with the room where no such room
            exists, or where the response, measured, is more than 15 % off.
        cache: folder in which the bank of simulated ones is kept, or what was found in `folder`.
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
        """Names of the measured responses and digests of what they hold; none for simulated ones."""
        return sound_files(self.folder, "impulse responses", self.cache) if self.folder else {}

    @property
    def bank(self) -> Path:
        """The file of simulated responses, named by what they follow from."""
        settings = {key: value for key, value in asdict(self).items() if key not in ("folder", "cache")}
        return Path(self.cache) / f"rooms-{digest([BANK_VERSION, BANK_RATE, settings])}.npz"

    def randomize_parameters(self, rng: np.random.Generator, pool: BabblePool | None = None) -> Values:
        if self.folder:
            file = one_of(rng, shares(tuple(self.sources()))[0])
            return {"file": file, "audio_digest": self.sources()[file]}
        response = one_of(rng, shares(range(self.count))[0])
        return {"bank": self.bank.stem, "response": response, **self._bank()[1][response]}

    def apply(self, samples: np.ndarray, rate: int, values: Values, pool: BabblePool | None = None) -> np.ndarray:
        if not samples.any():
            return np.zeros_like(samples)
        from scipy.signal import oaconvolve

        reverberant = oaconvolve(samples, self.response(rate, values))[: len(samples)]
        return at_level(reverberant, samples, rate)

    def response(self, rate: int, values: dict[str, Any]) -> np.ndarray:
        """The impulse response that a draw names, at `rate` Hz, direct sound at sample 0: float32, (samples,)."""
        if "file" in values:
            return _measured(str(drawn_file(self.folder, self.sources(), values)), rate)
        if values["bank"] != self.bank.stem:
            raise InputError(f"room: drawn from {values['bank']}, and the settings are of {self.bank.stem}", "augment")
        self._bank()
        return _simulated(str(self.bank), values["response"], rate)

    def _bank(self) -> tuple[list[np.ndarray], list[dict[str, Any]]]:
        """Responses and what is known of each; made when there are none.

        Raises:
            InputError: the settings allow no room, or the file is damaged.
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
        constants.set("num_threads", 1)  # the order of sums, and so the last bits, follow from it
        try:
            numbers = progress(range(self.count), text="simulating rooms", unit="room")
            made = [self._one(np.random.default_rng(derive_seed(path.stem, number))) for number in numbers]
        finally:
            constants.set("num_threads", threads)
        with atomic_path(path) as temporary:
            np.savez(
                temporary,
                samples=np.concatenate([response for response, _ in made]),
                sizes=np.array([len(response) for response, _ in made]),
                about=np.array(json.dumps([about for _, about in made])),
            )

    def _one(self, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, Any]]:
        import pyroomacoustics

        for _ in range(TRIES):
            room = [draw_within(rng, bounds) for bounds in (self.length, self.width, self.height)]
            rt60 = draw_within(rng, self.rt60)
            source, microphone = ([draw_within(rng, (FROM_WALL, side - FROM_WALL)) for side in room] for _ in range(2))
            try:
                absorption, order = pyroomacoustics.inverse_sabine(rt60, room)
            except ValueError:
                continue  # so large a room rings on for longer, whatever its walls
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
            if all(_is_as_drawn(resample(response, BANK_RATE, rate), rate, rt60) for rate in (BANK_RATE, 8000)):
                about = {"room": room, "rt60": rt60, "source": source, "microphone": microphone}
                return response / np.abs(response).max(), about
        raise InputError(f"room: no room of these sizes has an RT60 of {list(self.rt60)} s", "augment", "change either")


def _is_as_drawn(response: np.ndarray, rate: int, rt60: float) -> bool:
    """Whether the direct sound stands out, without which copies come late, and the time is near what was drawn."""
    return int(np.argmax(np.abs(response))) == 0 and abs(measured_rt60(response, rate) / rt60 - 1) <= TOLERANCE


def measured_rt60(response: np.ndarray, rate: int) -> float:
    """Reverberation time in seconds: Schroeder's backward integral, line from -5 to -35 dB (ISO 3382, T30).

    NaN where the response does not fall so far.
    """
    left = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]
    decay = 10 * np.log10(np.maximum(left / left[0], 1e-30))
    where = np.flatnonzero((decay <= -5) & (decay >= -35))
    if len(where) < 2:
        return float("nan")
    return float(-60 / np.polyfit(where / rate, decay[where], 1)[0])


@lru_cache(maxsize=2)
def _read_bank(path: str) -> tuple[list[np.ndarray], list[dict[str, Any]]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            responses = np.split(file["samples"], np.cumsum(file["sizes"])[:-1])
            return responses, json.loads(str(file["about"]))
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise InputError(f"not a readable bank of rooms ({error})", path, "remove it, and it is made again") from None


@lru_cache(maxsize=4096)
def _simulated(bank: str, number: int, rate: int) -> np.ndarray:
    return resample(_read_bank(bank)[0][number], BANK_RATE, rate)


@lru_cache(maxsize=512)
def _measured(path: str, rate: int) -> np.ndarray:
    audio = read_audio(Path(path))
    direct = int(np.argmax(np.abs(audio.mono)))
    check_length(f"{path}: behind its peak", audio.samples.shape[1] - direct, audio.sampling_rate)
    return resample(audio.mono[direct:], audio.sampling_rate, rate)
