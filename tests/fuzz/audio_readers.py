"""Every audio format that the reader reads, and archives that hold audio."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from lane import Case, Reader
from mutate import binary

from ser.audio import audio_info, read_audio, read_blocks, resample
from ser.corpora.fetch.unpack import unpack

RATE = 8000
SAMPLES = 0.3 * np.sin(0.3 * np.arange(1200)) + np.random.default_rng(0).normal(0, 0.01, 1200)
CONTAINERS = ("AIFF", "AU", "AVR", "CAF", "HTK", "IRCAM", "MPC2K", "NIST", "PAF", "PVF", "RF64", "SDS", "SVX", "VOC")
CONTAINERS += ("W64", "WAVEX", "WVE", "XI")


def _write(path: Path, kind: str, subtype: str | None, channels: int) -> None:
    rate = 48000 if subtype == "OPUS" else RATE
    soundfile.write(path, np.stack([SAMPLES] * channels, 1), rate, format=kind, subtype=subtype)


def _wav(folder: Path, _: object) -> None:
    for subtype in soundfile.available_subtypes("WAV"):
        for channels in (1, 2):
            if soundfile.check_format("WAV", subtype) and not (channels == 2 and subtype in ("GSM610", "G721_32")):
                _try(folder / f"{subtype}{channels}.wav", "WAV", subtype, channels)


def _try(path: Path, kind: str, subtype: str | None, channels: int) -> None:
    """Write a sample, unless libsndfile does not write this kind, or the reader does not take it."""
    from ser.common import InputError

    try:
        _write(path, kind, subtype, channels)
        read_audio(path)
    except (InputError, soundfile.LibsndfileError, ValueError):
        path.unlink(missing_ok=True)


def _compressed(folder: Path, _: object) -> None:
    for channels in (1, 2, 3):
        _try(folder / f"{channels}.flac", "FLAC", "PCM_16", channels)
    _try(folder / "24.flac", "FLAC", "PCM_24", 1)
    _try(folder / "vorbis.ogg", "OGG", "VORBIS", 2)
    _try(folder / "opus.ogg", "OGG", "OPUS", 1)
    for channels in (1, 2):
        _try(folder / f"{channels}.mp3", "MP3", "MPEG_LAYER_III", channels)


def _containers(folder: Path, _: object) -> None:
    for kind in CONTAINERS:
        if kind in soundfile.available_formats():
            _try(folder / f"sample.{kind.lower()}", kind, None, 1)
    (folder / "raw.gsm").write_bytes((b"\xd2" + bytes(range(32))) * 8)


def _sox(folder: Path, _: object) -> None:
    """What libsndfile does not read, where the program is installed."""
    soundfile.write(folder / "sample.wav", SAMPLES, RATE)
    for suffix in ("sph", "amr-nb", "wv", "8svx"):
        path = folder / f"sample.{suffix}"
        run = subprocess.run(["sox", folder / "sample.wav", path], capture_output=True)
        if run.returncode:
            path.unlink(missing_ok=True)
    (folder / "sample.wav").unlink()


def _ffmpeg(folder: Path, _: object) -> None:
    """What only ffmpeg reads, where the program is installed."""
    soundfile.write(folder / "sample.wav", SAMPLES, RATE)
    for suffix in ("m4a", "mkv", "wma", "aac", "ac3", "ts") if shutil.which("ffmpeg") else ():
        path = folder / f"sample.{suffix}"
        command = ["ffmpeg", "-nostdin", "-v", "quiet", "-i", folder / "sample.wav", "-ar", "16000", path]
        if subprocess.run(command).returncode:
            path.unlink(missing_ok=True)


def _read(case: Case) -> Any:
    found = []
    for name in case.chosen:
        path = case.folder / name
        info, audio = audio_info(path), read_audio(path)
        blocks = list(read_blocks(path, block=500))
        assert audio.samples.shape == (info.num_channels, info.num_samples), (audio.samples.shape, info)
        assert audio.sampling_rate == info.sampling_rate > 0
        joined = np.concatenate([block.samples for block in blocks], 1)
        np.testing.assert_allclose(joined, audio.samples, atol=1e-4)
        if info.num_samples < 1e6:
            found.append(resample(audio.mono, audio.sampling_rate, RATE))
        found.append(audio.samples)
    return found


def _zip(folder: Path, _: object) -> None:
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("Actor_01/a.wav", "Actor_01/b.wav", "é/c.wav"):
            file.writestr(name, bytes(range(256)) * 3)
    with zipfile.ZipFile(folder / "b.zip", "w", zipfile.ZIP_LZMA) as file:
        file.writestr("a.wav", bytes(range(256)) * 3)
    with zipfile.ZipFile(folder / "c.zip", "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("a.wav", bytes(range(256)) * 3)


def _tar(folder: Path, _: object) -> None:
    for suffix, mode in ((".tar", "w"), (".tgz", "w:gz"), (".tar.bz2", "w:bz2"), (".tar.xz", "w:xz")):
        with tarfile.open(folder / f"a{suffix}", mode) as tar:
            for name in ("Actor_01/a.wav", "é/c.wav"):
                member = tarfile.TarInfo(name)
                member.size = 700
                tar.addfile(member, io.BytesIO(bytes(range(256)) * 2 + bytes(188)))


def _unpack(case: Case) -> Any:
    for number, name in enumerate(case.chosen):
        out = case.folder / "out" / str(number)
        written = unpack(case.folder / name, out)
        assert written == {str(p.relative_to(out)): p.stat().st_size for p in out.rglob("*") if p.is_file()}
    assert {path.name for path in case.folder.parent.iterdir()} == {case.folder.name}


READERS = {
    "audio wav": Reader(_wav, ("*",), _read, binary),
    "audio compressed": Reader(_compressed, ("*",), _read, binary),
    "audio containers": Reader(_containers, ("*",), _read, binary),
    "audio by sox": Reader(_sox, ("*",), _read, binary, weight=0.3),
    "audio by ffmpeg": Reader(_ffmpeg, ("*",), _read, binary, weight=0.3),
    "zip": Reader(_zip, ("*.zip",), _unpack, binary),
    "tar": Reader(_tar, ("a.*",), _unpack, binary),
}
