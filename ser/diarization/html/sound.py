"""What the page plays and draws of a recording, in one reading: compressed audio and peaks of the waveform."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser.audio import audio_info
from ser.diarization.windows import blocks_at, regular

# By the name that --html-audio takes: format and subtype of libsndfile, and media type.
CODECS = {"opus": ("OGG", "OPUS", "audio/ogg"), "mp3": ("MP3", "MPEG_LAYER_III", "audio/mpeg")}
AUDIO = (*CODECS, "none")
# Hz, which both codecs have: the least that holds the recording's own rate, or else the last.
RATES = (8000, 12000, 16000, 24000)
# Peaks a second, and of a channel at most: a longer recording has fewer a second.
PEAKS, MOST = 100, 720_000
# Seconds of audio at most: browsers do not load a page of several hundred megabytes.
LONGEST = 7200.0


@dataclass(frozen=True)
class PageAudio:
    """Of a recording.

    Attributes:
        audio: compressed, as a data URI; "": none.
        peaks: least and greatest sample of each stretch, the greatest of the channel being 127; int8, (channels,
            stretches, 2).
        peak_rate: stretches a second.
    """

    audio: str
    peaks: np.ndarray
    peak_rate: float


def read_sound(path: Path, channels: int, codec: str) -> PageAudio:
    """Compress a recording for browsers, and take its peaks, in bounded memory but for the compressed audio.

    Args:
        channels: that have a timeline; 1 of several that hold the same.
        codec: of AUDIO.

    Raises:
        InputError: the file cannot be read.
    """
    import base64

    import soundfile

    own = audio_info(path).sampling_rate
    rate = next((rate for rate in RATES if rate >= own), RATES[-1])
    size = rate // PEAKS
    written, peaks = io.BytesIO(), []
    played = channels if channels <= 2 else 1
    opened = (
        soundfile.SoundFile(written, "w", rate, played, format=CODECS[codec][0], subtype=CODECS[codec][1])
        if codec in CODECS
        else nullcontext()
    )
    with opened as file:
        for block in _seconds(regular(blocks_at(path, rate), size), rate):
            block = block[:channels]
            starts = np.arange(0, block.shape[1], size)
            ends = np.minimum.reduceat(block, starts, axis=1), np.maximum.reduceat(block, starts, axis=1)
            peaks.append(np.stack(ends, axis=2))
            if file is not None:
                samples = block if played == channels else block.mean(0, keepdims=True)
                file.write(np.clip(samples.T, -1, 1))
    found = np.concatenate(peaks, axis=1)
    every = math.ceil(found.shape[1] / MOST)
    starts = np.arange(0, found.shape[1], every)
    low = np.minimum.reduceat(found[..., 0], starts, axis=1)
    high = np.maximum.reduceat(found[..., 1], starts, axis=1)
    scale = 127 / np.maximum(np.maximum(-low, high).max(1, keepdims=True), 1e-6)
    scaled = np.stack([np.floor(low * scale), np.ceil(high * scale)], axis=2).clip(-127, 127).astype(np.int8)
    audio = ""
    if codec in CODECS:
        audio = f"data:{CODECS[codec][2]};base64,{base64.b64encode(written.getvalue()).decode()}"
    return PageAudio(audio, scaled, PEAKS / every)


def _seconds(blocks: Iterator[np.ndarray], rate: int) -> Iterator[np.ndarray]:
    """Blocks of a second at most: libsndfile's encoders overflow the stack on long ones."""
    for block in blocks:
        for start in range(0, block.shape[1], rate):
            yield block[:, start : start + rate]
