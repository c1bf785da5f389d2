"""Decode files that libsndfile does not read (AMR, WavPack, some NIST SPHERE, ...) with the program sox.

sox gets the bytes of a file without its name, so that only the content determines the format. It decodes a truncated
file up to its end with exit code 0, sometimes with a warning. Therefore any output on standard error counts as an
error.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cached_property
from pathlib import Path

import numpy as np

from ser.audio.formats import AudioInfo, UnknownFormat, damaged
from ser.common import InputError

INSTALL = "apt-get install sox libsox-fmt-all, or conda install -c conda-forge sox"
UNKNOWN = "can't determine type"
# sox never ends for some damaged files, such as an AMR that ends within a frame. Intact files take much less time.
LEAST_SECONDS, BYTES_PER_SECOND = 10, 20_000


class SoxFile:
    """A file that sox decodes as a whole.

    Raises:
        InputError: sox is not installed or does not end, or the file is truncated or damaged.
        UnknownFormat: sox does not know the format.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._position = path, 0
        rate, count, self._channels = (float(_sox(path, "--info", option, "-")) for option in ("-r", "-s", "-c"))
        if not rate.is_integer():
            raise InputError(f"sampling rate {rate} Hz is no whole number", path, "convert it with sox to one that is")
        # Some headers have no length.
        self.info = AudioInfo(int(rate), int(count) or len(self._samples), int(self._channels))

    @cached_property
    def _samples(self) -> np.ndarray:
        data = _sox(self._path, "-D", "-", "-t", "f32", "-L", "-")
        return np.frombuffer(data, "<f4").reshape(-1, int(self._channels))

    def skip(self, count: int) -> None:
        self._position += count

    def read(self, count: int) -> np.ndarray:
        data = self._samples[self._position : self._position + count]
        self._position += len(data)
        return data


def _sox(path: Path, *arguments: str) -> bytes:
    """Run sox on a file; return its output."""
    program = shutil.which("sox")
    if program is None:
        raise InputError(
            "not a known audio format to libsndfile",
            path,
            "replace it by an intact copy, or, if it is AMR, WavPack or another kind that the program sox reads, "
            f"install that ({INSTALL})",
        )
    seconds = LEAST_SECONDS + path.stat().st_size / BYTES_PER_SECOND
    try:
        with path.open("rb") as file:
            run = subprocess.run([program, *arguments], stdin=file, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise damaged(f"sox has not ended after {seconds:.0f} s, as with a damaged file", path) from None
    message = " ".join(run.stderr.decode(errors="replace").split())
    if UNKNOWN in message:
        raise UnknownFormat(message)
    if "shorten" in message:
        what = "NIST SPHERE packed with shorten, which neither libsndfile nor sox reads"
        fix = "convert it with ffmpeg or NIST's sph2pipe (sph2pipe -f wav in.sph out.wav)"
        raise InputError(what, path, fix)
    if "no handler" in message:
        raise InputError(f"this sox lacks what it needs ({message})", path, f"install all its formats ({INSTALL})")
    if run.returncode or message:
        raise damaged(f"truncated or damaged ({message or f'sox ended with code {run.returncode}'})", path)
    return run.stdout
