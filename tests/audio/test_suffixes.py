"""Files of every readable suffix are read, if this machine can write one."""

import os
import shutil
import subprocess
import time

import numpy as np
import pytest
import soundfile
from conftest import refuses
from sounds import write_by_sox

from ser.audio import audio_info, ffmpeg, read_audio, read_blocks
from ser.audio.suffixes import AUDIO_SUFFIXES, FFMPEG_SUFFIXES, READABLE_SUFFIXES, UNREADABLE_SUFFIXES

# What libsndfile writes under each suffix.
BY_LIBSNDFILE = {
    "AIFF": "aif aifc aiff",
    "AU": "au snd",
    "AVR": "avr",
    "CAF": "caf",
    "FLAC": "flac",
    "IRCAM": "ircam sf",
    "MP3": "mp3",
    "NIST": "nist sph wv1 wv2",
    "OGG": "oga ogg opus",
    "PAF": "fap paf",
    "PVF": "pvf",
    "RAW": "gsm",
    "RF64": "rf64",
    "SVX": "8svx svx",
    "VOC": "voc",
    "W64": "w64",
    "WAV": "bwf wav wave",
    "WVE": "wve",
    "XI": "xi",
}
FORMATS = {suffix: form for form, suffixes in BY_LIBSNDFILE.items() for suffix in suffixes.split()}
# What the program sox writes: its name of the format.
BY_SOX = {"amb": "amb", "amr": "amr-nb", "awb": "amr-wb", "maud": "maud", "prc": "prc", "smp": "smp", "sndt": "sndt"}
BY_SOX["wv"] = "wv"
TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)


def written(path) -> None:
    suffix = path.suffix[1:]
    if suffix in FORMATS:
        subtype = {"opus": "OPUS", "gsm": "GSM610"}.get(suffix)
        soundfile.write(path, TONE, 8000, format=FORMATS[suffix], subtype=subtype)
        return
    write_by_sox(path, TONE, BY_SOX[suffix], *(["-r", "16000"] if suffix == "awb" else []))


@pytest.mark.parametrize("suffix", sorted(READABLE_SUFFIXES))
def test_a_readable_suffix_is_read(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    written(path)
    audio, info = read_audio(path), audio_info(path)
    assert info == (audio.sampling_rate, audio.samples.shape[1], 1)
    assert abs(info.num_samples / info.sampling_rate - 1) < 0.2 or suffix == ".xi"  # which knows no rate
    assert 0.2 < np.abs(audio.samples).max() < 0.7


def test_all_formats_of_libsndfile_are_listed():
    named = {"RAW", "SD2", "SDS", "MAT4", "MAT5", "HTK", "MPC2K", "WAVEX"}  # no header, or no suffix of audio
    assert set(soundfile.available_formats()) - named <= set(FORMATS.values())


def test_the_lists_are_lower_case_and_disjoint():
    lists = READABLE_SUFFIXES, FFMPEG_SUFFIXES, UNREADABLE_SUFFIXES
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in AUDIO_SUFFIXES)
    assert sum(map(len, lists)) == len(AUDIO_SUFFIXES)
    assert {".m4a", ".3gp", ".webm", ".wma", ".aac", ".mp4", ".mkv"} <= FFMPEG_SUFFIXES


# Options of ffmpeg to write what the suffix alone does not choose.
BY_FFMPEG = {
    "-f mp4": "f4a 3ga",
    "-f mov": "qt",
    "-f mpegts": "m2ts",
    "-f webm": "weba",
    "-f 3gp -c:a aac": "3gpp",
    "-c:a aac": "3gp 3g2 flv f4v",
    "-f mp2": "mp1 mpa",
    "-f mpeg": "vob",
    "-f rm": "rmvb ram",
    "-f ogg -c:a libspeex": "ogx ogv",
    "-strict -2 -ar 48000": "dts",
}
OPTIONS = {suffix: options for options, suffixes in BY_FFMPEG.items() for suffix in suffixes.split()}


@pytest.fixture(scope="module")
def by_ffmpeg(tmp_path_factory):
    """A function from a suffix to a file with 4 s of a tone, written by ffmpeg."""
    folder = tmp_path_factory.mktemp("ffmpeg")
    soundfile.write(folder / "tone.wav", np.tile(TONE, 4), 8000)

    def make(suffix):
        if not shutil.which("ffmpeg"):
            pytest.skip("no program ffmpeg, which writes and reads this")
        path = folder / f"a.{suffix}"
        options = OPTIONS.get(suffix, "").split()
        command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", folder / "tone.wav", "-ar", "16000", *options, path]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode:
            pytest.skip(f"this ffmpeg does not write {suffix}: {run.stderr.strip()[-100:]}")
        return path

    return make


@pytest.mark.parametrize("suffix", sorted(FFMPEG_SUFFIXES))
def test_a_suffix_of_ffmpeg_is_read(by_ffmpeg, suffix):
    path = by_ffmpeg(suffix[1:])
    audio, info = read_audio(path), audio_info(path)
    assert info == (audio.sampling_rate, audio.samples.shape[1], 1)
    assert abs(info.num_samples / info.sampling_rate - 4) < 0.2
    assert 0.3 < np.abs(audio.samples).max() < 0.7


# Magic, first byte of a frame (its mode), and bytes and rate of frames of 20 ms: any bits in them are sound.
PHONES = {"narrow": (b"#!AMR\n", 0x3C, 32, 8000), "wide": (b"#!AMR-WB\n", 0x44, 61, 16000)}


@pytest.mark.parametrize("container", ["amr", "3gp"])
@pytest.mark.parametrize("band", sorted(PHONES))
def test_the_speech_codecs_of_phones_are_read(tmp_path, band, container):
    if not shutil.which("ffmpeg"):
        pytest.skip("no program ffmpeg, which reads this")
    magic, mode, size, rate = PHONES[band]
    frames = np.random.default_rng(0).integers(0, 256, (100, size), np.uint8)
    frames[:, 0] = mode
    path = tmp_path / "call.amr"
    path.write_bytes(magic + frames.tobytes())
    if container == "3gp":
        path = tmp_path / "call.3gp"
        subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "call.amr", "-c", "copy", path], check=True)
    audio = read_audio(path)
    assert audio.sampling_rate == rate
    assert audio.samples.shape == (1, 2 * rate)
    assert audio.samples.std() > 0.01


def test_segments_and_blocks_of_ffmpeg_equal_the_whole(by_ffmpeg):
    path = by_ffmpeg("m4a")
    whole = read_audio(path).samples
    np.testing.assert_array_equal(read_audio(path, 1000, 3000).samples, whole[:, 1000:4000])
    blocks = [block.samples for block in read_blocks(path, 500, None, 7000)]
    assert max(block.shape[1] for block in blocks) == 7000
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), whole[:, 500:])


@pytest.mark.parametrize("suffix", ["m4a", "webm", "mkv", "avi", "spx"])
def test_a_truncated_file_of_ffmpeg_is_an_error(by_ffmpeg, tmp_path, suffix):
    data = by_ffmpeg(suffix).read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(data[: len(data) * 2 // 3])
    with refuses(where="cut"):
        read_audio(path)


@pytest.mark.parametrize("suffix", ["m4a", "mov", "wma", "tta"])
def test_a_second_recording_that_ffmpeg_does_not_read_is_named(by_ffmpeg, tmp_path, suffix):
    data = by_ffmpeg(suffix).read_bytes()
    path = tmp_path / f"two.{suffix}"
    path.write_bytes(data * 2)
    with refuses(f"a second recording begins at byte {len(data)}"):
        read_audio(path)


@pytest.mark.parametrize("suffix", ["mp3", "opus"])
def test_a_wav_behind_a_compressed_recording_is_named(tmp_path, suffix):
    soundfile.write(tmp_path / "a.wav", TONE, 8000)
    kind = {"format": "OGG", "subtype": "OPUS"} if suffix == "opus" else {"format": "MP3"}
    path = tmp_path / f"two.{suffix}"
    soundfile.write(path, TONE, 8000, **kind)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + (tmp_path / "a.wav").read_bytes())
    with refuses(f"a second recording begins at byte {size}"):
        read_audio(path)


@pytest.mark.parametrize(("codec", "rate"), [("g722", 16000), ("g726", 8000), ("adpcm_yamaha", 16000), ("mp3", 16000)])
def test_codecs_in_a_wav_that_libsndfile_does_not_know_are_read_by_ffmpeg(by_ffmpeg, tmp_path, codec, rate):
    path = tmp_path / "a.wav"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", by_ffmpeg("mka"), "-ar", str(rate), "-c:a", codec, path]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip(f"this ffmpeg does not write {codec}")
    audio = read_audio(path)
    assert abs(audio.samples.shape[1] / audio.sampling_rate - 4) < 0.2
    assert 0.3 < np.abs(audio.samples).max() < 0.7
    path.write_bytes(path.read_bytes()[:-2000])
    with refuses("truncated"):
        read_audio(path)


def test_flac_in_ogg_as_ffmpeg_writes_it_is_read(by_ffmpeg, tmp_path):
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", by_ffmpeg("mka"), "-c:a", "flac", tmp_path / "a.ogg"]
    subprocess.run(command, check=True)
    assert abs(audio_info(tmp_path / "a.ogg").num_samples / 16000 - 4) < 0.2


def test_without_ffmpeg_the_error_reports_what_to_install(by_ffmpeg, monkeypatch):
    path = by_ffmpeg("m4a")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with refuses(fix="install ffmpeg"):
        read_audio(path)


def test_an_ffmpeg_without_output_is_stopped(by_ffmpeg, tmp_path, monkeypatch):
    path = by_ffmpeg("webm")
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(ffmpeg, "STALLED_SECONDS", 0.5)
    started = time.monotonic()
    with refuses("given nothing"), ffmpeg.ffmpeg_stream(path):
        pass
    assert time.monotonic() - started < 10
