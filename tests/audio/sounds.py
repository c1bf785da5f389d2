"""Helpers for the tests of audio files."""

import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from conftest import refuses

from ser.audio import audio_info, read_audio, read_blocks

READERS = [read_audio, audio_info, lambda path: list(read_blocks(path))]


def tone(path, seconds, rate, channels=1, subtype="PCM_16", **options):
    """Write a sine, the same in every channel; return its samples, float64, (samples,)."""
    samples = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, np.stack([samples] * channels, axis=1), rate, subtype=subtype, **options)
    return samples


def refused(path, *words, readers=(read_audio,), **stretch) -> None:
    """Check that the error of a file is one line that begins with the path and has all words."""
    for reader in readers:
        with refuses(where=path) as caught:
            reader(path, **stretch)
        assert all(word in str(caught.value) for word in words), caught.value


def write_by_sox(path, samples, form, *options) -> None:
    """Write samples at 8000 Hz with the program sox, if it is installed and knows the format."""
    if not shutil.which("sox"):
        pytest.skip("no sox here, which writes and reads this: apt-get install sox libsox-fmt-all")
    wav = path.with_name("by_sox.wav")
    soundfile.write(wav, samples, 8000)
    run = subprocess.run(["sox", wav, *options, "-t", form, path], capture_output=True, text=True)
    if run.returncode:
        pytest.skip(f"this sox does not write {form}: {run.stderr.strip()}")
