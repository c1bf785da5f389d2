"""Read lhotse's cut manifests without lhotse, whose import takes seconds; a job needs a few fields only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ser.audio import check_length, read_audio
from ser.common import InputError
from ser.common.json_lines import read_json_lines
from ser.common.once import parsed_once


class Cut(NamedTuple):
    """A segment of a recording, or an augmented copy of one.

    Attributes:
        source: the audio file.
        start, duration: seconds.
        audio_digest: hash of the file's content.
        samples_digest: hash of the cut's samples, which does not depend on the file's format; "": the manifest is of
            an earlier version.
        channel: from 0; None: all channels of the file, mixed down to mono.
        stretch: first sample and number of samples, at the file's own rate; None: the whole file.
        original: id of the utterance that this is an augmented copy of; None: it is no copy.
        sampling_rate: of the file, in Hz; 0: not known.
        steps: transforms of a copy, in order: `{"kind": name, ...values}` each.
        speaker, emotion: of the utterance.
    """

    id: str
    source: str
    start: float
    duration: float
    audio_digest: str
    channel: int | None = None
    stretch: tuple[int, int] | None = None
    original: str | None = None
    steps: tuple[dict[str, Any], ...] = ()
    samples_digest: str = ""
    sampling_rate: int = 0
    speaker: str = ""
    emotion: str = ""

    @property
    def path(self) -> Path:
        """The audio file; made at each access, since making the paths of a large corpus takes time and memory."""
        return Path(self.source)


@parsed_once
def read_cuts(path: Path) -> Sequence[Cut]:
    """Read the cuts of a cuts.jsonl.gz that stage 1 or, with copies, stage 2 wrote, in its order."""
    cuts = read_json_lines(path, _cut, "a cut manifest")
    if not cuts:
        raise InputError("holds no cuts", path, "remove it and run stage 1")
    return cuts


def read_cut(cut: Cut) -> tuple[np.ndarray, int]:
    """Read the samples of a cut.

    Of a long recording only the cut's segment is read. Of an augmented copy, the original is read; no transform is
    applied.

    Returns:
        Samples, float32, (samples,), channels mixed down to mono, and the sampling rate in Hz.

    Raises:
        InputError: the file cannot be read, or has changed since it was prepared.
    """
    audio = read_audio(cut.path, *(cut.stretch or ()))
    check_length(f"{cut.path}: {cut.id}", audio.samples.shape[1], audio.sampling_rate)
    if cut.channel is None:
        return audio.mono, audio.sampling_rate
    if cut.channel >= len(audio.samples):
        raise InputError(f"has no channel {cut.channel} any more", cut.path, "run stage 1")
    return audio.samples[cut.channel], audio.sampling_rate


def _cut(row: dict[str, Any]) -> Cut:
    recording = row["recording"]
    source, rate = recording["sources"][0], recording["sampling_rate"]
    supervision = row["supervisions"][0]
    custom = supervision["custom"]
    mixed = len(source["channels"]) == 1 or isinstance(row["channel"], list)
    is_whole_file = row["start"] == 0 and row["duration"] == recording["duration"]
    copy = custom.get("copy")
    if not isinstance(copy, dict):  # absent, or an annotation of the corpus that has this name
        copy = {"of": None, "steps": []}
    return Cut(
        row["id"],
        source["source"],
        row["start"],
        row["duration"],
        custom["audio_digest"],
        None if mixed else row["channel"],
        None if is_whole_file else (round(row["start"] * rate), round(row["duration"] * rate)),
        copy["of"],
        tuple(copy["steps"]),
        str(custom.get("samples_digest", "")),
        rate,
        str(supervision["speaker"]),
        str(custom["emotion"]),
    )
