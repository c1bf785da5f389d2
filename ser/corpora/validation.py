"""Read the audio of utterances and validate it; a file that several utterances share is read once."""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

from ser.audio import Audio, check_length, read_audio
from ser.audio.reader import is_silent
from ser.common import InputError, digest
from ser.common.progress import progress
from ser.corpora.issues import Issue
from ser.corpora.protocol import Protocol
from ser.corpora.utterance import Utterance

# Seconds by which an utterance may end after its recording; its end is then moved to that of the recording. One frame
# of the default features.
FRAME = 0.016
# Fewest files of a process, which takes as long to start (half a second) as to read them.
FILES_A_JOB = 250
SHOWN = 3  # warnings of the reader of audio; others are counted


@dataclass(frozen=True)
class ValidatedUtterance:
    """An utterance whose audio has been read.

    Attributes:
        num_samples: number of samples of the utterance.
        num_channels: number of channels of the file.
        audio_digest: hash of the file's content.
        samples_digest: hash of the utterance's samples, mixed down to mono.
        first_sample: index in the file of the utterance's first sample.
        file_samples: number of samples of the whole file.
    """

    utterance: Utterance
    sampling_rate: int
    num_samples: int
    num_channels: int
    audio_digest: str
    samples_digest: str
    first_sample: int
    file_samples: int

    @property
    def start(self) -> float:
        """Start in the file, in seconds."""
        return self.first_sample / self.sampling_rate

    @property
    def duration(self) -> float:
        """Duration of the utterance in seconds."""
        return self.num_samples / self.sampling_rate

    @property
    def recording(self) -> str:
        """Id of the recording."""
        return self.utterance.recording or self.utterance.id

    @property
    def channel(self) -> int | None:
        """The channel, from 0; None: the file has one channel, or all of them are mixed down to mono."""
        return self.utterance.channel if self.num_channels > 1 else None


def is_segmented(utterances: Sequence[Utterance]) -> bool:
    """Whether any utterance is only a part of its file, so that recordings have ids of their own."""
    return any(u.start or u.end is not None or u.channel is not None or u.recording for u in utterances)


def check_times(utterance: Utterance) -> Issue | None:
    """Return an issue if an utterance starts before its file or does not end after its start."""
    start, end = utterance.start, utterance.end
    numbers = math.isfinite(start) and (end is None or math.isfinite(end))
    if not numbers or start < 0 or (end is not None and end != -1 and end <= start):
        what = f"{utterance.id} starts at {start:g} s and ends at {end} s"
        fix = "give a start from 0 and an end after it, or -1 for the end of the file"
        return Issue("segments", what, origin_of(utterance), fix)
    return None


def origin_of(utterance: Utterance) -> str:
    """Name an utterance in messages: by its line of the table, or else by its file."""
    return utterance.origin or str(utterance.path)


def validate_utterances(
    protocol: Protocol,
    utterances: Sequence[Utterance],
    known: Mapping[str, ValidatedUtterance] | None = None,
    jobs: int = 1,
) -> tuple[list[ValidatedUtterance], dict[str, Issue]]:
    """Read every file once, and check its utterances; those that the protocol drops are not read.

    Args:
        known: utterance id -> utterance whose file need not be read again.
        jobs: largest number of processes; fewer are started for few files.

    Returns:
        The usable utterances, in the given order, and utterance id -> issue of the others.

    Raises:
        InputError: a process was killed.
    """
    results: dict[str, ValidatedUtterance | Issue] = dict(known or {})
    used = [u for u in utterances if u.id not in protocol.drop]
    files: dict[str, list[Utterance]] = {}
    for utterance in used:
        if utterance.id not in results:
            files.setdefault(utterance.real_path, []).append(utterance)
    read = partial(_read_file, str(protocol.path))
    jobs = min(jobs, len(os.sched_getaffinity(0)), len(files) // FILES_A_JOB)
    with ExitStack() as stack:
        groups: Iterable[tuple[dict[str, ValidatedUtterance | Issue], list[str]]] = map(read, files.values())
        if jobs > 1:
            pool = stack.enter_context(ProcessPoolExecutor(jobs, get_context("spawn")))
            groups = pool.map(read, files.values(), chunksize=16)
        try:
            texts: list[str] = []
            for group, more in progress(groups, text=f"{protocol.corpus}: reading", unit="file", total=len(files)):
                results |= group
                texts += more
        except BrokenProcessPool:
            what = "a process that read files was killed, maybe for lack of memory"
            raise InputError(what, protocol.corpus, "run the same command again with a smaller --nj") from None
    for text in texts[:SHOWN]:
        warnings.warn(text, stacklevel=2)
    if len(texts) > SHOWN:
        warnings.warn(f"{protocol.corpus}: {len(texts)} warnings on audio files, {SHOWN} of them shown", stacklevel=2)
    items = [item for u in used if isinstance(item := results[u.id], ValidatedUtterance)]
    return items, {key: issue for key, issue in results.items() if isinstance(issue, Issue)}


def _read_file(protocol: str, group: Sequence[Utterance]) -> tuple[dict[str, ValidatedUtterance | Issue], list[str]]:
    """Read the file that some utterances share.

    Args:
        protocol: path of the protocol, for messages.
        group: the utterances of one file.

    Returns:
        Utterance id -> validated utterance, or what is wrong with it; and the warnings of the reader.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            audio = read_audio(group[0].path)
        except InputError as error:
            return {u.id: Issue("unreadable", error.what, error.where, error.fix) for u in group}, []
    audio_digest = digest(group[0].path)
    return {u.id: _validate(protocol, u, audio, audio_digest) for u in group}, [str(w.message) for w in caught]


def _validate(protocol: str, u: Utterance, audio: Audio, audio_digest: str) -> ValidatedUtterance | Issue:
    rate = audio.sampling_rate
    channels, length = audio.samples.shape
    if u.channel is not None and not 0 <= u.channel < channels:
        available = "channel 0 only" if channels == 1 else f"channels 0 to {channels - 1}"
        what = f"{u.id} needs channel {u.channel}, and {u.path} has {available}"
        return Issue("segments", what, origin_of(u), "fix the number")
    first = round(u.start * rate)
    last = length if u.end is None or u.end == -1 else round(u.end * rate)
    if last > length + round(FRAME * rate) or first >= length:
        end = "the end" if last == length else f"{u.end:g} s"
        file_end = f"{u.path} ends at {length / rate:g} s ({length} samples at {rate} Hz)"
        what = f"{u.id} lies between {u.start:g} s and {end}, and {file_end}"
        return Issue("segments", what, origin_of(u), "fix the times, or replace the file by an intact copy")
    last = min(last, length)
    if first >= last:
        return Issue("segments", f"{u.id} is shorter than a sample", origin_of(u), "fix the times")
    try:
        check_length(f"{origin_of(u)}: {u.id}", last - first, rate)
    except InputError as error:
        return Issue("too short", error.what, error.where, error.fix)
    segment = audio.samples[:, first:last]
    mono = segment[u.channel] if u.channel is not None and channels > 1 else Audio(segment, rate).mono
    if is_silent(mono):
        which = f": {u.id} ({first / rate:g} s to {last / rate:g} s)" if is_segmented([u]) else ""
        fix = f"replace it by an intact copy, or name {u.id} under `drop` in {protocol}"
        return Issue("silent", "silence from end to end", f"{u.path}{which}", fix)
    samples_digest = hashlib.blake2b(mono.tobytes(), digest_size=8).hexdigest()
    return ValidatedUtterance(u, rate, last - first, channels, audio_digest, samples_digest, first, length)
