"""Files that libsndfile does not know (AMR, WavPack, some NIST SPHERE, ...) through the program sox.

sox gets a file's bytes, never its name, so that the content alone decides what it is. Its exit code 0 means little: of
a truncated file it gives what there is, with a warning at most. So any word on its stderr is an error, and the
samples must be as many as it reported beforehand.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np

from ser.common import InputError

INSTALL = "apt-get install sox libsox-fmt-all, or conda install -c conda-forge sox"
UNKNOWN = "can't determine type"
# Of some damaged files, such as an AMR that ends within a frame, sox never ends. Intact ones take much less than this.
LEAST_SECONDS, BYTES_PER_SECOND = 10, 20_000


class UnknownFormat(Exception):
    """sox does not know what the file is either."""


def has_sox() -> bool:
    """Whether the program is on PATH."""
    return shutil.which("sox") is not None


def sox_info(path: Path) -> tuple[int, int, int]:
    """Sampling rate in Hz, number of samples, number of channels.

    Raises:
        InputError: sox is not installed or does not end, or the file is truncated or damaged.
        UnknownFormat: it is no audio that sox knows.
    """
    rate, count, channels = (float(_sox(path, "--info", option, "-")) for option in ("-r", "-s", "-c"))
    if not rate.is_integer():
        raise InputError(f"sampling rate {rate} Hz is no whole number", path, "convert it with sox to one that is")
    # Some headers do not have the length.
    return int(rate), int(count) or sox_read(path, int(channels), 0, None).shape[1], int(channels)


def sox_read(path: Path, channels: int, start: int, samples: int | None) -> np.ndarray:
    """Samples from `start` on, all or so many; float32, (channels, samples). Errors as for `sox_info`."""
    stretch = [] if start == 0 and samples is None else ["trim", f"{start}s", *([f"{samples}s"] if samples else [])]
    data = _sox(path, "-D", "-", "-t", "f32", "-L", "-", *stretch)
    return np.ascontiguousarray(np.frombuffer(data, "<f4").reshape(-1, channels).T, dtype=np.float32)


def _sox(path: Path, *arguments: str) -> bytes:
    program = shutil.which("sox")
    if program is None:
        raise InputError(
            "not a known audio format to libsndfile",
            path,
            (
                "replace it by an intact copy, or, if it is AMR, WavPack or another kind that the "
                f"program sox reads, install that ({INSTALL})"
            ),
        )
    seconds = LEAST_SECONDS + path.stat().st_size / BYTES_PER_SECOND
    try:
        with path.open("rb") as file:
            run = subprocess.run([program, *arguments], stdin=file, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise InputError(
            f"sox has not ended after {seconds:.0f} s, as with a damaged file", path, "replace it by an intact copy"
        ) from None
    message = " ".join(run.stderr.decode(errors="replace").split())
    if UNKNOWN in message:
        raise UnknownFormat(message)
    if "shorten" in message:
        raise InputError(
            "NIST SPHERE packed with shorten, which neither libsndfile nor sox reads",
            path,
            "convert it with ffmpeg or NIST's sph2pipe (sph2pipe -f wav in.sph out.wav)",
        )
    if "no handler" in message:
        raise InputError(f"this sox lacks what it needs ({message})", path, f"install all its formats ({INSTALL})")
    if run.returncode or message:
        raise InputError(
            f"truncated or damaged ({message or f'sox ended with code {run.returncode}'})",
            path,
            "replace it by an intact copy",
        )
    return run.stdout
