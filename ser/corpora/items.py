"""Utterances and what their files turned out to hold: every file is read once, however many utterances share it."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from ser.audio import Audio, check_length, read_audio
from ser.audio.reader import is_silent
from ser.common import InputError, digest
from ser.common.progress import progress
from ser.corpora.issues import Issue
from ser.corpora.protocol import Protocol
from ser.corpora.utterance import Utterance

# Seconds. An end that lies this far behind the recording is cut to it: one frame of the features by default.
FRAME = 0.016
# A process takes half a second to start, in which so many files are read.
FILES_A_JOB = 250


@dataclass(frozen=True)
class ValidatedUtterance:
    """An utterance and what its file turned out to hold.

    Attributes:
        num_samples: of the utterance.
        num_channels: of the file.
        digest: names the content of the file.
        sound: names the samples of the utterance, mixed down, whatever else the file holds.
        first_sample: where the utterance begins in the file.
        file_samples: of the whole file.
    """

    utterance: Utterance
    sampling_rate: int
    num_samples: int
    num_channels: int
    digest: str
    sound: str
    first_sample: int
    file_samples: int

    @property
    def start(self) -> float:
        """Seconds."""
        return self.first_sample / self.sampling_rate

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.num_samples / self.sampling_rate

    @property
    def recording(self) -> str:
        """Id of the recording."""
        return self.utterance.recording or self.utterance.id

    @property
    def channel(self) -> int | None:
        """The channel, or None where all are taken: mixed down to mono where there are several."""
        return self.utterance.channel if self.num_channels > 1 else None


def is_segmented(utterances: Sequence[Utterance]) -> bool:
    """Whether any is less than its file, so that recordings have ids of their own."""
    return any(u.start or u.end is not None or u.channel is not None or u.recording for u in utterances)


def wrong_times(utterance: Utterance) -> Issue | None:
    """The issue of a stretch that begins before the file, ends before it begins, or has no length."""
    start, end = utterance.start, utterance.end
    numbers = math.isfinite(start) and (end is None or math.isfinite(end))
    if not numbers or start < 0 or (end is not None and end != -1 and end <= start):
        what = f"{utterance.id} starts at {start:g} s and ends at {end} s"
        fix = "give a start from 0 and an end after it, or -1 for the end of the file"
        return Issue("segments", what, where(utterance), fix)
    return None


def where(utterance: Utterance) -> str:
    """What errors name: the line of the table, or else the file."""
    return utterance.origin or str(utterance.path)


def read_items(
    protocol: Protocol,
    utterances: Sequence[Utterance],
    known: Mapping[str, ValidatedUtterance] | None = None,
    jobs: int = 1,
) -> tuple[list[ValidatedUtterance], dict[str, Issue]]:
    """Read every file once.

    Args:
        known: by utterance id, what need not be read again.
        jobs: processes at most; each has some hundred files, or there are fewer.

    Returns:
        Those that can be used, in the order given, and for each of the others what is wrong, by utterance id;
        utterances that the protocol drops are not read.

    Raises:
        InputError: a process was killed.
    """
    items: dict[str, ValidatedUtterance] = dict(known or {})
    files: dict[Path, list[Utterance]] = {}
    for utterance in utterances:
        if utterance.id not in protocol.drop and utterance.id not in items:
            files.setdefault(utterance.real_path, []).append(utterance)
    unusable: dict[str, Issue] = {}
    read = partial(_read_file, str(protocol.path))
    jobs = min(jobs, len(os.sched_getaffinity(0)), len(files) // FILES_A_JOB)
    with ExitStack() as stack:
        found: Iterable[dict[str, ValidatedUtterance | Issue]] = map(read, files.values())
        if jobs > 1:
            pool = stack.enter_context(ProcessPoolExecutor(jobs, get_context("spawn")))
            found = pool.map(read, files.values(), chunksize=16)
        try:
            for group in progress(found, text=f"{protocol.corpus}: reading", unit="file", total=len(files)):
                items |= {key: item for key, item in group.items() if isinstance(item, ValidatedUtterance)}
                unusable |= {key: item for key, item in group.items() if isinstance(item, Issue)}
        except BrokenProcessPool:
            what = "a process that read files was killed, maybe for lack of memory"
            raise InputError(what, protocol.corpus, "run the same command again with a smaller --nj") from None
    return [items[u.id] for u in utterances if u.id in items and u.id not in protocol.drop], unusable


def _read_file(protocol: str, group: Sequence[Utterance]) -> dict[str, ValidatedUtterance | Issue]:
    """Read a file: what each of its utterances is, or what is wrong with it, by id.

    Args:
        protocol: file that may drop utterances, for messages.
    """
    try:
        audio = read_audio(group[0].path)
    except InputError as error:
        return {u.id: Issue("unreadable", error.what, error.where, error.fix) for u in group}
    name = digest(group[0].path)
    result: dict[str, ValidatedUtterance | Issue] = {}
    for u in group:
        found = _item(u, audio.samples, audio.sampling_rate, name)
        if isinstance(found, ValidatedUtterance) and is_silent(_mono_samples(found, audio.samples)):
            which = f": {u.id} ({found.start:g} s to {found.start + found.duration:g} s)" if is_segmented([u]) else ""
            fix = f"replace it by an intact copy, or name {u.id} under `drop` in {protocol}"
            found = Issue("silent", "silence from end to end", f"{u.path}{which}", fix)
        result[u.id] = found
    return result


def _mono_samples(item: ValidatedUtterance, samples: np.ndarray) -> np.ndarray:
    """The samples of an utterance as they are trained on: of its channel, or mixed down to mono; (samples,)."""
    own = samples[:, item.first_sample : item.first_sample + item.num_samples]
    return Audio(own, item.sampling_rate).mono if item.channel is None else own[item.channel]


def _item(u: Utterance, samples: np.ndarray, rate: int, name: str) -> ValidatedUtterance | Issue:
    channels, length = samples.shape
    if u.channel is not None and not 0 <= u.channel < channels:
        there = "channel 0 only" if channels == 1 else f"channels 0 to {channels - 1}"
        what = f"{u.id} wants channel {u.channel}, and {u.path} has {there}"
        return Issue("segments", what, where(u), "fix the number")
    first = round(u.start * rate)
    last = length if u.end is None or u.end == -1 else round(u.end * rate)
    if last > length + round(FRAME * rate) or first >= length:
        end = "the end" if last == length else f"{u.end:g} s"
        there = f"{u.path} ends at {length / rate:g} s ({length} samples at {rate} Hz)"
        what = f"{u.id} lies between {u.start:g} s and {end}, and {there}"
        return Issue("segments", what, where(u), "fix the times, or replace the file by an intact copy")
    last = min(last, length)
    if first >= last:
        return Issue("segments", f"{u.id} is shorter than a sample", where(u), "fix the times")
    try:
        check_length(f"{where(u)}: {u.id}", last - first, rate)
    except InputError as error:
        return Issue("too short", error.what, error.where, error.fix)
    item = ValidatedUtterance(u, rate, last - first, channels, name, "", first, length)
    return replace(item, sound=hashlib.blake2b(_mono_samples(item, samples).tobytes(), digest_size=8).hexdigest())
