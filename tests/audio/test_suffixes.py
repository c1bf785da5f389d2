"""Every suffix that is listed as readable names a file that is read, wherever this machine can write one."""

import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from ser.audio import READABLE_SUFFIXES, UNREADABLE_SUFFIXES, audio_info, read_audio

# What libsndfile writes under each suffix.
FORMATS = {
    "8svx": "SVX",
    "aif": "AIFF",
    "aifc": "AIFF",
    "aiff": "AIFF",
    "au": "AU",
    "avr": "AVR",
    "bwf": "WAV",
    "caf": "CAF",
    "fap": "PAF",
    "flac": "FLAC",
    "ircam": "IRCAM",
    "mp3": "MP3",
    "nist": "NIST",
    "oga": "OGG",
    "ogg": "OGG",
    "opus": "OGG",
    "paf": "PAF",
    "pvf": "PVF",
    "rf64": "RF64",
    "sf": "IRCAM",
    "snd": "AU",
    "sph": "NIST",
    "svx": "SVX",
    "voc": "VOC",
    "w64": "W64",
    "wav": "WAV",
    "wave": "WAV",
    "wv1": "NIST",
    "wv2": "NIST",
    "wve": "WVE",
    "xi": "XI",
}
# What the program sox writes: its name of the format.
BY_SOX = {"amb": "amb", "amr": "amr-nb", "awb": "amr-wb", "maud": "maud", "prc": "prc", "smp": "smp", "sndt": "sndt"}
BY_SOX["wv"] = "wv"
TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)


def written(path) -> None:
    suffix = path.suffix[1:]
    if suffix == "gsm":
        soundfile.write(path, TONE, 8000, format="RAW", subtype="GSM610")
        return
    if suffix in FORMATS:
        subtype = "OPUS" if suffix == "opus" else None
        soundfile.write(path, TONE, 8000, format=FORMATS[suffix], subtype=subtype)
        return
    if not shutil.which("sox"):
        pytest.skip("no program sox, which writes and reads this")
    soundfile.write(path.with_name("tone.wav"), TONE, 8000)
    options = ["-r", "16000"] if suffix == "awb" else []
    command = ["sox", path.with_name("tone.wav"), *options, "-t", BY_SOX[suffix], path]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        pytest.skip(f"this sox does not write {suffix}: {run.stderr.strip()}")


@pytest.mark.parametrize("suffix", sorted(READABLE_SUFFIXES))
def test_a_readable_suffix_is_read(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    written(path)
    audio, info = read_audio(path), audio_info(path)
    assert info == (audio.sampling_rate, audio.samples.shape[1], 1)
    assert abs(info.num_samples / info.sampling_rate - 1) < 0.2 or suffix == ".xi"  # which knows no rate
    assert 0.2 < np.abs(audio.samples).max() < 0.7


def test_what_libsndfile_reads_by_content_is_listed():
    named = {"RAW", "SD2", "SDS", "MAT4", "MAT5", "HTK", "MPC2K", "WAVEX"}  # no header, or no suffix of audio
    assert set(soundfile.available_formats()) - named <= set(FORMATS.values())


def test_the_lists_are_lower_case_and_apart():
    both = READABLE_SUFFIXES | UNREADABLE_SUFFIXES
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in both)
    assert not READABLE_SUFFIXES & UNREADABLE_SUFFIXES
    assert {".m4a", ".3gp", ".webm", ".wma", ".aac", ".mp4", ".mkv"} <= UNREADABLE_SUFFIXES
