"""Segments of long recordings, wrong headers, and formats that need special care or sox."""

import os
import shutil

import numpy as np
import pytest
import soundfile
from conftest import refuses
from sounds import refused, write_by_sox

from ser.audio import audio_info, read_audio

SAMPLES = (0.4 * np.sin(2 * np.pi * np.cumsum(np.linspace(200, 3000, 16000)) / 8000)).astype(np.float32)


def written(path, samples=SAMPLES, rate=8000, **kind):
    soundfile.write(path, samples, rate, **kind)
    return path


def halved(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def test_both_channels_of_a_call(tmp_path):
    path = written(tmp_path / "call.wav", np.stack([SAMPLES, -SAMPLES / 2], axis=1), subtype="ULAW")
    assert audio_info(path) == (8000, 16000, 2)
    samples = read_audio(path, 100, 50).samples
    np.testing.assert_allclose(samples, [SAMPLES[100:150], -SAMPLES[100:150] / 2], atol=0.02)


@pytest.mark.parametrize(
    ("start", "samples"), [(16000, None), (0, 16001), (15999, 2), (20000, 5), (-1, 5), (0, 0), (5, -5)]
)
def test_a_segment_that_is_not_within_the_recording_is_refused(tmp_path, start, samples):
    path = written(tmp_path / "call.wav")
    refused(path, "of a recording of 16000 (2.000 s)", "fix start and end", start=start, samples=samples)


@pytest.mark.parametrize("read", [read_audio, audio_info])
@pytest.mark.parametrize("kind", ["PCM_16", "ULAW", "ALAW"])
def test_half_a_sphere_file_is_an_error_with_both_counts(tmp_path, read, kind):
    path = halved(written(tmp_path / "call.sph", format="NIST", subtype=kind))
    there = (path.stat().st_size - 1024) // (2 if kind == "PCM_16" else 1)
    with refuses(f"truncated: {there} of 16000 samples"):
        read(path)


def test_a_cut_gsm_wav_counts_blocks(tmp_path):
    refused(halved(written(tmp_path / "call.wav", subtype="GSM610")), "truncated: 24 of 50 blocks")


def test_raw_gsm_is_read_by_its_name_and_its_frames(tmp_path):
    soundfile.write(tmp_path / "call.gsm", SAMPLES, 8000, format="RAW", subtype="GSM610")
    audio = read_audio(tmp_path / "call.gsm")
    assert audio_info(tmp_path / "call.gsm") == (8000, 16000, 1)
    assert np.corrcoef(audio.samples[0, 500:4000], SAMPLES[500:4000])[0, 1] > 0.95
    np.testing.assert_array_equal(read_audio(tmp_path / "call.gsm", 999, 40).samples, audio.samples[:, 999:1039])


def test_raw_gsm_of_other_content_or_truncated_is_refused(tmp_path):
    path = tmp_path / "call.gsm"
    soundfile.write(path, SAMPLES, 8000, format="RAW", subtype="GSM610")
    path.write_bytes(path.read_bytes()[:1000])
    refused(path, "truncated: it ends within a GSM frame")
    path.write_bytes(b"this is a readme\n" * 20)
    refused(path, "text, not audio")
    path.write_bytes(bytes([1]) * 330)
    refused(path, "no GSM 06.10")


@pytest.mark.parametrize("suffix", ["vox", "au", "snd", "raw", "ul"])
def test_a_suffix_does_not_make_a_file_audio(tmp_path, suffix):
    path = tmp_path / f"call.{suffix}"
    path.write_bytes(b"this is a readme\n" * 20)
    refused(path, "text, not audio")
    path.write_bytes(np.random.default_rng(0).bytes(25_600))
    refused(path, "not a known audio format")


@pytest.mark.parametrize("name", ["call.mp3", "call.gsm", "call.sph"])
def test_a_wav_under_another_name_is_a_wav(tmp_path, name):
    written(tmp_path / name, format="WAV")
    assert read_audio(tmp_path / name).samples.shape == (1, 16000)


@pytest.mark.parametrize(("suffix", "error"), [("wv", 2e-4), ("amr-nb", None), ("sndt", 0.02), ("prc", 0.02)])
def test_formats_that_libsndfile_does_not_know_are_read_by_sox(tmp_path, suffix, error):
    path = tmp_path / f"call.{suffix}"
    write_by_sox(path, SAMPLES, suffix)
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.read(path)
    audio = read_audio(path)
    assert audio.sampling_rate == 8000
    assert audio.samples.dtype == np.float32
    assert audio.samples.shape == (1, 16000)
    assert audio_info(path) == (8000, 16000, 1)
    if error is not None:
        np.testing.assert_allclose(audio.samples[0], SAMPLES, atol=error)
    np.testing.assert_array_equal(read_audio(path, 4321, 1000).samples, audio.samples[:, 4321:5321])
    np.testing.assert_array_equal(read_audio(path, 15000).samples, audio.samples[:, 15000:])
    refused(path, "of a recording of 16000", start=15000, samples=1001)


def test_a_sphere_file_of_32_bits_and_two_channels_is_read_by_sox(tmp_path):
    write_by_sox(tmp_path / "call.sph", np.stack([SAMPLES, SAMPLES / 4], axis=1), "sph", "-b", "32")
    assert audio_info(tmp_path / "call.sph") == (8000, 16000, 2)
    np.testing.assert_allclose(read_audio(tmp_path / "call.sph").samples, [SAMPLES, SAMPLES / 4], atol=1e-4)


@pytest.mark.parametrize("suffix", ["wv", "amr-nb", "sndt", "prc"])
def test_half_a_file_is_an_error_though_sox_succeeds(tmp_path, suffix):
    write_by_sox(tmp_path / f"call.{suffix}", SAMPLES, suffix)
    content = (tmp_path / f"call.{suffix}").read_bytes()
    (tmp_path / f"call.{suffix}").write_bytes(content[: len(content) // 2 + 10])  # within a frame of AMR
    refused(tmp_path / f"call.{suffix}", "truncated", "intact copy")


SHORTEN = b"NIST_1A\n   1024\nchannel_count -i 1\nsample_count -i 8000\nsample_rate -i 8000\nsample_n_bytes -i 2\n"
SHORTEN += b"sample_byte_format -s2 01\nsample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n"


@pytest.mark.skipif(shutil.which("sox") is None, reason="no sox here: apt-get install sox libsox-fmt-all")
def test_a_shorten_sphere_file_is_refused_with_the_fix(tmp_path):
    (tmp_path / "call.sph").write_bytes(SHORTEN.ljust(1024) + b"ajkg\x02" + bytes(500))
    refused(tmp_path / "call.sph", "shorten", "sph2pipe")


def test_without_sox_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "call.amr").write_bytes(b"#!AMR\n" + bytes(100))
    refused(tmp_path / "call.amr", "AMR", "install that (apt-get install sox libsox-fmt-all")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exec sleep 600", ["sox has not ended", "damaged"]),
        ("exit 3", ["sox ended with code 3"]),
        ("echo 'sox WARN: premature EOF' >&2", ["premature EOF"]),
        ("echo 'sox FAIL: no handler for amr-nb' >&2; exit 2", ["libsox-fmt-all"]),
    ],
)
def test_a_sox_that_does_not_end_or_fails_or_warns_is_an_error(tmp_path, monkeypatch, script, words):
    (tmp_path / "call.amr").write_bytes(b"#!AMR\n" + bytes(100))
    (tmp_path / "sox").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "sox").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    if "sleep" in script:
        monkeypatch.setattr("ser.audio.sox.LEAST_SECONDS", 0.5)
    refused(tmp_path / "call.amr", *words)
