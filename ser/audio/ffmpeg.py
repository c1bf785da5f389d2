"""Files that neither libsndfile nor sox reads (M4A, 3GP, WebM, WMA, video, ...) through the program ffmpeg.

ffmpeg gets an open file without its name, so that the content alone decides what it is, and writes an AU stream to a
pipe, of which a block at a time is held. Of a truncated file it gives what there is, mostly with exit code 0. So any
message of level `error` is an error of the file.
"""

from __future__ import annotations

import functools
import os
import re
import select
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from ser.audio.sox import UnknownFormat
from ser.common import InputError

INSTALL = "apt-get install ffmpeg, or conda install -c conda-forge ffmpeg"
STALLED_SECONDS = 60  # without a byte of output, after which ffmpeg is stopped
# au: a header with rate and channels, then big-endian samples; only the first audio stream, as players take it
_ARGUMENTS = ["-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
_HEADER = struct.Struct(">4s5I")  # magic, offset of the samples, their size, encoding, Hz, channels
_CHUNK = 1 << 20  # bytes


class FfmpegStream:
    """The samples of a file as ffmpeg decodes them.

    Attributes:
        sampling_rate: in Hz.
        num_channels: of the samples.
    """

    def __init__(self, path: Path, process: subprocess.Popen[bytes], messages: IO[bytes]) -> None:
        self._path, self._process, self._messages = path, process, messages
        assert process.stdout is not None
        self._output = process.stdout.fileno()
        self._rest = self._bytes(_HEADER.size)
        if len(self._rest) < _HEADER.size:
            raise UnknownFormat(self._failure() or "no samples")
        _, offset, _, _, self.sampling_rate, self.num_channels = _HEADER.unpack(self._rest)
        self._bytes(offset - _HEADER.size)

    def read(self, count: int) -> np.ndarray:
        """The next samples, float32, (channels, samples); fewer than `count` only at the end of the file.

        Raises:
            InputError: the file is truncated or damaged, or ffmpeg does not go on.
        """
        frame = 4 * self.num_channels
        data = self._bytes(count * frame)
        if len(data) < count * frame and (failure := self._failure()):
            raise InputError(f"truncated or damaged ({failure})", self._path, "replace it by an intact copy")
        samples = np.frombuffer(data[: len(data) // frame * frame], ">f4").reshape(-1, self.num_channels)
        return np.ascontiguousarray(samples.T, np.float32)

    def _bytes(self, count: int) -> bytes:
        found = bytearray()
        while len(found) < count:
            if not select.select([self._output], [], [], STALLED_SECONDS)[0]:
                raise InputError(
                    f"ffmpeg has given nothing for {STALLED_SECONDS} s, as with a damaged file",
                    self._path,
                    "replace it by an intact copy",
                )
            part = os.read(self._output, min(_CHUNK, count - len(found)))
            if not part:
                break
            found += part
        return bytes(found)

    def _failure(self) -> str:
        """What ffmpeg reports once its output has ended; "" where all is well."""
        try:
            code = self._process.wait(STALLED_SECONDS)
        except subprocess.TimeoutExpired:
            return "ffmpeg does not end"
        self._messages.seek(0)
        text = " ".join(self._messages.read(2000).decode(errors="replace").split())
        return re.sub(r"\[\S+ @ 0x\w+\] |file:/dev/fd/\d+: ", "", text)[:300] or (
            f"ffmpeg: exit code {code}" if code else ""
        )


def has_ffmpeg() -> bool:
    """Whether the program is on PATH."""
    return shutil.which("ffmpeg") is not None


@contextmanager
def ffmpeg_stream(path: Path) -> Iterator[FfmpegStream]:
    """Decode a file; ffmpeg is stopped where the block ends before the file does.

    Raises:
        InputError: ffmpeg is not installed.
        UnknownFormat: it finds no audio in the file.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise InputError("only the program ffmpeg reads this format", path, f"install ffmpeg ({INSTALL})")
    with path.open("rb") as file, tempfile.TemporaryFile() as messages:
        given = ["-protocol_whitelist", "file", "-i", f"file:/dev/fd/{file.fileno()}"]
        with subprocess.Popen(
            [program, "-nostdin", "-hide_banner", "-v", "error", *given, *_ARGUMENTS],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=messages,
            pass_fds=[file.fileno()],
        ) as process:
            try:
                yield FfmpegStream(path, process, messages)
            finally:
                process.kill()  # where it has ended, nothing happens


def ffmpeg_info(path: Path) -> tuple[int, int, int]:
    """Sampling rate in Hz, number of samples, number of channels; the file is decoded for it, once a version of it.

    Raises:
        InputError, UnknownFormat: as for `ffmpeg_stream` and `FfmpegStream.read`.
    """
    state = path.stat()
    return _counted(path, state.st_ino, state.st_size, state.st_mtime_ns)


@functools.lru_cache(256)
def _counted(path: Path, *_state: int) -> tuple[int, int, int]:
    with ffmpeg_stream(path) as stream:
        total = 0
        while count := stream.read(_CHUNK // 4 // stream.num_channels).shape[1]:
            total += count
        return stream.sampling_rate, total, stream.num_channels
