"""What the page plays and draws of a recording, in one reading: compressed audio and peaks of the waveform."""

from __future__ import annotations

import io
import math
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np

from ser.audio import audio_info
from ser.diarization.windows import blocks_at, extremes
from ser.inference.predict.sound import cut_blocks

# By the name that --html-audio takes: format and subtype of libsndfile, and media type.
CODECS = {"opus": ("OGG", "OPUS", "audio/ogg"), "mp3": ("MP3", "MPEG_LAYER_III", "audio/mpeg")}
AUDIO = (*CODECS, "none")
# Hz, which both codecs have: the least that holds the recording's own rate, or else the last.
RATES = (8000, 12000, 16000, 24000)
# A longer recording has fewer peaks a second, so that a channel has no more than MOST_PEAKS.
PEAKS_PER_SECOND, MOST_PEAKS = 100, 720_000
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


def read_page_audio(path: Path, channels: int, codec: str) -> PageAudio:
    """Compress a recording for browsers, and take its peaks, in bounded memory but for the compressed audio.

    Args:
        channels: that have a timeline; 1 of several that hold the same.
        codec: of AUDIO.

    Raises:
        InputError: the file cannot be read.
    """
    import base64

    import soundfile

    native_rate = audio_info(path).sampling_rate
    rate = next((rate for rate in RATES if rate >= native_rate), RATES[-1])
    size = rate // PEAKS_PER_SECOND
    compressed, peaks = io.BytesIO(), []
    played = channels if channels <= 2 else 1
    encoder = (
        soundfile.SoundFile(compressed, "w", rate, played, format=CODECS[codec][0], subtype=CODECS[codec][1])
        if codec in CODECS
        else nullcontext()
    )
    with encoder as file:
        # Of a second: libsndfile's encoders overflow the stack on long blocks.
        for block in cut_blocks(blocks_at(path, rate), repeat(rate)):
            block = block[:channels]
            peaks.append(extremes(block, size))
            if file is not None:
                samples = block if played == channels else block.mean(0, keepdims=True)
                file.write(np.clip(samples.T, -1, 1))
    lows, highs = np.moveaxis(np.concatenate(peaks, axis=1), 2, 0)
    every = math.ceil(lows.shape[1] / MOST_PEAKS)
    low, high = extremes(lows, every)[..., 0], extremes(highs, every)[..., 1]
    scale = 127 / np.maximum(np.maximum(-low, high).max(1, keepdims=True), 1e-6)
    scaled = np.stack([np.floor(low * scale), np.ceil(high * scale)], axis=2).clip(-127, 127).astype(np.int8)
    audio = ""
    if codec in CODECS:
        audio = f"data:{CODECS[codec][2]};base64,{base64.b64encode(compressed.getvalue()).decode()}"
    return PageAudio(audio, scaled, PEAKS_PER_SECOND / every)
