"""Recordings joined from utterances of known emotion, with their reference timeline."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ser.audio import resample
from ser.batches.part import data_dir_of
from ser.common import atomic_path, derive_seed
from ser.config import Experiment, Features
from ser.corpora import Protocol
from ser.corpora.cuts import Cut, read_cut, read_cuts
from ser.corpora.kaldi import read_table
from ser.diarization.segments import Segment
from ser.frontends.log_stft import log_stft
from ser.frontends.preprocess import loud_span

# dB below an utterance's loudest frame: softer ends are trimmed, so that pauses are where the reference has them.
TRIM_DECIBELS = 40.0
# Seconds of a pause, uniform.
PAUSE_SECONDS = (0.3, 1.2)
# Utterances of one emotion in a row, uniform.
TURN_UTTERANCES = (1, 2, 3)
# Utterances in a recording at most.
UTTERANCES = 28
# dB of the noise in pauses below the mean power of the speech, so that pauses are no digital silence.
PAUSE_NOISE_DECIBELS = 50.0


@dataclass(frozen=True)
class KnownUtterance:
    """An utterance whose speaker and emotion are known."""

    cut: Cut
    speaker: str
    emotion: str


@dataclass(frozen=True)
class JoinedRecording:
    """A recording of one speaker.

    Attributes:
        samples: float32, (samples,).
        reference: one segment an utterance; pauses lie between them.
    """

    name: str
    samples: np.ndarray
    rate: int
    reference: tuple[Segment, ...]

    def write(self, folder: Path) -> Path:
        """Write <folder>/<name>.wav, float."""
        import soundfile

        path = folder / f"{self.name}.wav"
        with atomic_path(path) as temporary:
            soundfile.write(temporary, self.samples, self.rate, subtype="FLOAT", format="WAV")
        return path


def known_utterances(
    data_root: Path, protocol: Protocol, experiment: Experiment, parts: Sequence[str]
) -> list[KnownUtterance]:
    """The utterances of some parts of a prepared corpus, in the experiment's fold.

    Raises:
        InputError: the corpus is not prepared.
    """
    cuts = {cut.id: cut for cut in read_cuts(data_root / protocol.corpus / "cuts.jsonl.gz")}
    utterances = []
    for part in parts:
        folder = data_dir_of(data_root, protocol, experiment, part)
        if not (folder / "utt2emo").is_file():
            continue
        emotions, speakers = read_table(folder / "utt2emo"), read_table(folder / "utt2spk")
        utterances += [KnownUtterance(cuts[key], speakers[key], emotion) for key, emotion in emotions.items()]
    return utterances


def join_all(
    known: Sequence[KnownUtterance], features: Features, seed: int, orders: int, prefix: str, most: int | None = None
) -> list[JoinedRecording]:
    """Recordings of each speaker, of the same utterances in so many random orders.

    Args:
        most: utterances in a recording; None: UTTERANCES.
    """
    speakers: dict[str, list[KnownUtterance]] = defaultdict(list)
    for one in known:
        speakers[one.speaker].append(one)
    recordings = []
    for speaker, utterances in sorted(speakers.items()):
        for order in range(orders):
            rng = np.random.default_rng(derive_seed(seed, "join", speaker, order))
            chosen = _in_turns(utterances, rng)[:most]
            recordings.append(join_utterances(chosen, features, rng, f"{prefix}_{speaker}_{order + 1}"))
    return recordings


def join_utterances(
    known: Sequence[KnownUtterance], features: Features, rng: np.random.Generator, name: str
) -> JoinedRecording:
    """One recording of utterances in the order given, with a pause before, between and after them."""
    rate = features.sampling_rate
    trimmed = [_trim_soft_ends(one.cut, features) for one in known]
    power = np.mean(np.concatenate([np.square(samples) for samples in trimmed]))
    deviation = np.sqrt(power) * 10 ** (-PAUSE_NOISE_DECIBELS / 20)
    parts: list[np.ndarray] = []
    reference, at = [], 0
    for one, samples in zip(known, trimmed, strict=True):
        pause = round(rng.uniform(*PAUSE_SECONDS) * rate)
        parts += [rng.normal(0, deviation, pause), samples]
        start, at = at + pause, at + pause + len(samples)
        reference.append(Segment(start / rate, at / rate, one.emotion, 1.0))
    parts.append(rng.normal(0, deviation, round(rng.uniform(*PAUSE_SECONDS) * rate)))
    return JoinedRecording(name, np.concatenate(parts).astype(np.float32), rate, tuple(reference))


def _in_turns(known: Sequence[KnownUtterance], rng: np.random.Generator) -> list[KnownUtterance]:
    """A random order in turns of one emotion each; the next turn has another emotion as long as there is another."""
    left: dict[str, list[KnownUtterance]] = defaultdict(list)
    for index in rng.permutation(len(known)):
        left[known[index].emotion].append(known[index])
    ordered: list[KnownUtterance] = []
    while left and len(ordered) < UTTERANCES:
        last = ordered[-1].emotion if ordered else None
        names = sorted(name for name in left if name != last) or sorted(left)
        name = names[rng.integers(len(names))]
        count = int(rng.choice(TURN_UTTERANCES))
        ordered += left[name][:count]
        left[name] = left[name][count:]
        if not left[name]:
            del left[name]
    return ordered[:UTTERANCES]


def _trim_soft_ends(cut: Cut, features: Features) -> np.ndarray:
    """The samples of an utterance between its soft ends, float32, (samples,), at the features' rate."""
    samples = resample(*read_cut(cut), features.sampling_rate)
    frames = torch.from_numpy(log_stft(samples, features))[None]
    first, last = map(int, loud_span(frames, torch.tensor([frames.shape[1]]), TRIM_DECIBELS))
    return samples[first * features.frame_shift : (last - 1) * features.frame_shift + features.frame_length]
