"""Corpora of synthetic speech: eSpeak NG speaks sentences with a prosody that differs by class.

The library comes with the package espeakng-loader and is called through ctypes. Synthetic speech measures nothing about
people: these corpora only show that everything works.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser.common import InputError, atomic_path
from ser.common.progress import progress
from ser.corpora import Utterance, audio_files
from ser.corpora.issues import Issues

NAME = re.compile(r"([a-z]+_([fm])\d)_([a-z]+)_(\d\d)\.wav")
SYNCHRONOUS, DONT_EXIT, UTF8 = 2, 0x8000, 1
RATE, PITCH, RANGE = 1, 3, 4  # espeak_PARAMETER


@dataclass(frozen=True)
class Prosody:
    """Prosody of a class: rate in words a minute, pitch and its range (0 to 100, 50 is usual), peak level in dB."""

    rate: float
    pitch: float
    range: float
    level: float


PROSODY = {
    "angry": Prosody(rate=195, pitch=56, range=80, level=-8),
    "happy": Prosody(rate=180, pitch=68, range=85, level=-13),
    "neutral": Prosody(rate=165, pitch=50, range=50, level=-16),
    "sad": Prosody(rate=140, pitch=40, range=25, level=-21),
}
# Standard deviations of utterances around their class, so that the classes overlap.
SPREAD = Prosody(rate=16, pitch=9, range=15, level=3.0)


class Synthesizer:
    """eSpeak NG as a function from text to samples.

    Raises:
        InputError: espeakng-loader is not installed, or the library does not load or start.
    """

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError:
            raise InputError("espeakng-loader is not installed", fix="python -m pip install espeakng-loader") from None
        try:
            library = ctypes.CDLL(espeakng_loader.get_library_path())
            data = Path(espeakng_loader.get_data_path())
        except (OSError, RuntimeError) as error:
            raise InputError(f"eSpeak NG does not load ({error})", fix="install espeakng-loader again") from None
        callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
        library.espeak_SetSynthCallback.argtypes, library.espeak_SetSynthCallback.restype = [callback], None
        library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
        library.espeak_SetParameter.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int]
        library.espeak_Synth.argtypes = [
            *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint),
            *(ctypes.c_void_p, ctypes.c_void_p),
        ]
        library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
        # Without DONT_EXIT the library ends the whole process if it finds no data.
        self.sampling_rate: int = library.espeak_Initialize(SYNCHRONOUS, 0, str(data).encode(), DONT_EXIT)
        if self.sampling_rate <= 0:
            raise InputError(
                "eSpeak NG does not start with this data",
                data,
                (
                    f"install espeakng-loader again, at a shorter path if this one, of {len(str(data))} "
                    "characters, is long"
                ),
            )
        self.library = library
        self.variants = data / "voices" / "!v"
        self.chunks: list[np.ndarray] = []
        self.callback = callback(self._take)  # the library holds no reference to it
        library.espeak_SetSynthCallback(self.callback)

    def _take(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: int) -> int:
        if samples and count:
            self.chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def speak(self, text: str, voice: str, prosody: Prosody, seed: int) -> np.ndarray:
        """Synthesise a sentence; `prosody.level` is not applied.

        Args:
            text: the sentence.
            voice: voice of eSpeak NG, such as "en+f1".
            prosody: rate, pitch and range.
            seed: for the breath noise of the voice. The synthesizer keeps a state from sentence to sentence, so equal
                samples need equal sentences before.

        Returns:
            Samples, float64, (samples,), full scale 1.

        Raises:
            InputError: there is no such voice, or the synthesis fails.
        """
        variant = voice.partition("+")[2]
        # The library ignores an unknown variant, so that two speakers would sound the same.
        known = not variant or (self.variants / variant).is_file()
        if not known or self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise InputError(f"eSpeak NG has no voice {voice}", fix="install espeakng-loader again")
        for parameter, value in ((RATE, prosody.rate), (PITCH, prosody.pitch), (RANGE, prosody.range)):
            if self.library.espeak_SetParameter(parameter, round(value), 0) != 0:
                raise InputError(f"eSpeak NG does not take {value:.0f} as parameter {parameter}")
        self.library.espeak_ng_SetRandSeed(seed)
        self.chunks.clear()
        data = text.encode() + b"\0"
        if self.library.espeak_Synth(data, len(data), 0, 1, 0, UTF8, None, None) != 0 or not self.chunks:
            raise InputError(f"eSpeak NG cannot speak {text!r} with {voice}")
        return np.concatenate(self.chunks) / 32768


def make_corpus(corpus_dir: Path, voices: Mapping[str, str], sentences: Sequence[str]) -> None:
    """Make <speaker>/<speaker>_<emotion>_<text>.wav for every voice, class and sentence, unless all exist.

    Args:
        corpus_dir: folder to write.
        voices: speaker -> voice of eSpeak NG.
        sentences: texts to speak.

    Raises:
        InputError: the folder holds something else than the complete corpus; it is left as it is.
    """
    todo = [(s, e, i) for s in voices for e in PROSODY for i in range(1, len(sentences) + 1)]
    missing = sum(not (corpus_dir / s / f"{s}_{e}_{i:02d}.wav").is_file() for s, e, i in todo)
    if not missing:
        return
    if corpus_dir.is_dir() and any(corpus_dir.iterdir()):
        raise InputError(
            f"lacks {missing} of {len(todo)} files", corpus_dir, "remove it or name another folder, then run again"
        )
    import soundfile

    synthesizer = Synthesizer()
    rate = synthesizer.sampling_rate
    with atomic_path(corpus_dir) as folder:
        for speaker, emotion, number in progress(todo, text=f"speaking {corpus_dir.name}", unit="utt"):
            rng = np.random.default_rng(int(hashlib.sha256(f"{speaker} {emotion} {number}".encode()).hexdigest(), 16))
            prosody = _sample_prosody(PROSODY[emotion], rng)
            speech = synthesizer.speak(sentences[number - 1], voices[speaker], prosody, int(rng.integers(2**31)))
            speech *= 10 ** (prosody.level / 20) / np.abs(speech).max()
            quiet = np.zeros(int(rng.uniform(0.05, 0.2) * rate))
            samples = np.concatenate([quiet, speech, quiet])
            # Background noise, so that no frame is digital silence.
            samples += 10 ** (-70 / 20) * rng.standard_normal(len(samples))
            (folder / speaker).mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / speaker / f"{speaker}_{emotion}_{number:02d}.wav", samples, rate, "PCM_16")


def list_utterances(corpus_dir: Path, issues: Issues) -> Iterator[Utterance]:
    """Yield the utterances of a corpus of `make_corpus`.

    Args:
        corpus_dir: folder of the corpus.
        issues: gets files whose names do not follow the scheme.
    """
    for path, match in audio_files(corpus_dir, NAME, issues):
        short, gender, emotion, text = match.groups()
        speaker = f"mini_{short}"
        yield Utterance(f"{speaker}-{emotion}-{text}", path, speaker, emotion, gender, f"mini_{short[:2]}_{text}")


def _sample_prosody(mean: Prosody, rng: np.random.Generator) -> Prosody:
    rate, pitch, span, level = (
        getattr(mean, name) + getattr(SPREAD, name) * rng.standard_normal()
        for name in ("rate", "pitch", "range", "level")
    )
    return Prosody(
        float(np.clip(rate, 80, 300)), float(np.clip(pitch, 0, 99)), float(np.clip(span, 0, 100)), float(min(level, -1))
    )
