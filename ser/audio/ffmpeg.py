"""Decode files that neither libsndfile nor sox reads (M4A, 3GP, WebM, WMA, video, ...) with the program ffmpeg.

ffmpeg gets an open file without its name, so that only the content determines the format. It writes an AU stream to a
pipe, which is read block by block. It decodes a truncated file up to its end, usually with exit code 0. Therefore any
message of level `error` counts as an error of the file.
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

from ser.audio.formats import AudioInfo, UnknownFormat, damaged
from ser.common import InputError

INSTALL = "apt-get install ffmpeg, or conda install -c conda-forge ffmpeg"
STALLED_SECONDS = 60  # ffmpeg is stopped after this time without output
# AU: a header with rate and channels, then big-endian samples. Only the first audio stream is decoded, as in players.
_ARGUMENTS = ["-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
_HEADER = struct.Struct(">4s5I")  # magic, offset of the samples, their size, encoding, Hz, channels
_CHUNK = 1 << 20  # bytes


class FfmpegStream:
    """The samples of a file that ffmpeg decodes.

    Attributes:
        sampling_rate: in Hz.
        num_channels: number of channels.
        info: both, and the number of samples, which are counted by decoding the whole file.
    """

    def __init__(self, path: Path, process: subprocess.Popen[bytes], messages: IO[bytes]) -> None:
        self._path, self._process, self._messages = path, process, messages
        assert process.stdout is not None
        self._output = process.stdout.fileno()
        header = self._bytes(_HEADER.size)
        if len(header) < _HEADER.size:
            raise UnknownFormat(self._failure() or "no samples")
        _, offset, _, _, self.sampling_rate, self.num_channels = _HEADER.unpack(header)
        self._bytes(offset - _HEADER.size)

    @property
    def info(self) -> AudioInfo:
        state = self._path.stat()
        return _info(self._path, state.st_ino, state.st_size, state.st_mtime_ns)

    def skip(self, count: int) -> None:
        while count and (skipped := len(self.read(min(count, _CHUNK)))):
            count -= skipped

    def read(self, count: int) -> np.ndarray:
        """Read the next samples, float32, (samples, channels); fewer than `count` only at the end of the file.

        Raises:
            InputError: the file is truncated or damaged, or ffmpeg stalls.
        """
        frame = 4 * self.num_channels
        data = self._bytes(count * frame)
        if len(data) < count * frame and (failure := self._failure()):
            raise damaged(f"truncated or damaged ({failure})", self._path)
        count = len(data) // frame * self.num_channels
        return np.frombuffer(data, ">f4", count).astype(np.float32).reshape(-1, self.num_channels)

    def _bytes(self, count: int) -> bytearray:
        data = bytearray()
        while len(data) < count:
            if not select.select([self._output], [], [], STALLED_SECONDS)[0]:
                raise damaged(f"ffmpeg has given nothing for {STALLED_SECONDS} s, as with a damaged file", self._path)
            part = os.read(self._output, min(_CHUNK, count - len(data)))
            if not part:
                break
            data += part
        return data

    def _failure(self) -> str:
        """Wait for ffmpeg after the end of its output; return its error message, or "" for success."""
        try:
            code = self._process.wait(STALLED_SECONDS)
        except subprocess.TimeoutExpired:
            return "ffmpeg does not end"
        self._messages.seek(0)
        text = " ".join(self._messages.read(2000).decode(errors="replace").split())
        shown = re.sub(r"\[\S+ @ 0x\w+\] |file:/dev/fd/\d+: ", "", text)[:300]
        return shown or (f"ffmpeg: exit code {code}" if code else "")


@contextmanager
def ffmpeg_stream(path: Path) -> Iterator[FfmpegStream]:
    """Decode a file; ffmpeg is stopped if the block ends before the file does.

    Raises:
        InputError: ffmpeg is not installed.
        UnknownFormat: ffmpeg finds no audio in the file.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise InputError("only the program ffmpeg reads this format", path, f"install ffmpeg ({INSTALL})")
    with path.open("rb") as file, tempfile.TemporaryFile() as messages:
        source = ["-protocol_whitelist", "file", "-i", f"file:/dev/fd/{file.fileno()}"]
        with subprocess.Popen(
            [program, "-nostdin", "-hide_banner", "-v", "error", *source, *_ARGUMENTS],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=messages,
            pass_fds=[file.fileno()],
        ) as process:
            try:
                yield FfmpegStream(path, process, messages)
            finally:
                process.kill()  # no effect if it has ended


@functools.lru_cache(256)
def _info(path: Path, *_state: int) -> AudioInfo:
    """Decode the whole file to count its samples, once per version of the file."""
    with ffmpeg_stream(path) as stream:
        total = 0
        while count := len(stream.read(_CHUNK // 4 // stream.num_channels)):
            total += count
        return AudioInfo(stream.sampling_rate, total, stream.num_channels)
