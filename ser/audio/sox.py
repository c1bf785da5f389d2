"""Files that libsndfile does not know (AMR, WavPack, some NIST SPHERE, ...) through the program sox.

sox gets a file's bytes, never its name, so that the content alone decides what it is. Its exit code 0 means little: of
a truncated file it gives what there is, with a warning at most. So any word on its stderr is an error, and the
samples must be as many as it reported beforehand.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cached_property
from pathlib import Path

import numpy as np

from ser.audio.kinds import AudioInfo, UnknownFormat, damaged
from ser.common import InputError

INSTALL = "apt-get install sox libsox-fmt-all, or conda install -c conda-forge sox"
UNKNOWN = "can't determine type"
# Of some damaged files, such as an AMR that ends within a frame, sox never ends. Intact ones take much less than this.
LEAST_SECONDS, BYTES_PER_SECOND = 10, 20_000


class SoxFile:
    """A file that sox decodes, as a whole.

    Raises:
        InputError: sox is not installed or does not end, or the file is truncated or damaged.
        UnknownFormat: it is no audio that sox knows.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, 0
        rate, count, self._channels = (float(_sox(path, "--info", option, "-")) for option in ("-r", "-s", "-c"))
        if not rate.is_integer():
            raise InputError(f"sampling rate {rate} Hz is no whole number", path, "convert it with sox to one that is")
        # Some headers do not have the length.
        self.info = AudioInfo(int(rate), int(count) or len(self._samples), int(self._channels))

    @cached_property
    def _samples(self) -> np.ndarray:
        data = _sox(self._path, "-D", "-", "-t", "f32", "-L", "-")
        return np.frombuffer(data, "<f4").reshape(-1, int(self._channels))

    def skip(self, count: int) -> None:
        self._at += count

    def read(self, count: int) -> np.ndarray:
        data = self._samples[self._at : self._at + count]
        self._at += len(data)
        return data


def _sox(path: Path, *arguments: str) -> bytes:
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
