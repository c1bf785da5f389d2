import os
import re
import socket
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import refuses
from sounds import READERS, refused, tone

from ser.audio import audio_info, read_audio, read_blocks
from ser.audio.reader import Audio, is_silent
from ser.common import InputError

pytestmark = pytest.mark.filterwarnings("error")
SAMPLES = np.round(12000 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)).astype("<i2")


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    size = len(body) if size is None else size
    return name + struct.pack("<I", size) + body + b"\0" * (len(body) % 2)


def wav(data: bytes, *, tag=1, channels=1, bits=16, before=b"", after=b"", size=None, riff=None) -> bytes:
    """A wav made by hand; `size` and `riff` are the sizes of data chunk and file in its header."""
    block = channels * bits // 8
    fmt = chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, 8000, 8000 * block, block, bits))
    body = b"WAVE" + fmt + before + chunk(b"data", data, size) + after
    return b"RIFF" + struct.pack("<I", len(body) if riff is None else riff) + body


def written(tmp_path, content: bytes, name: str = "a.wav"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_sixteen_bits_are_read_exactly_at_the_rate_of_the_file(tmp_path):
    audio = read_audio(written(tmp_path, wav(SAMPLES.tobytes())))
    assert audio.sampling_rate == 8000
    assert audio.samples.dtype == np.float32
    np.testing.assert_array_equal(audio.samples, SAMPLES[None] / np.float32(32768))


@pytest.mark.parametrize(
    ("size", "riff"),
    [
        (0, 0),
        (0, 36),
        (0xFFFFFFFF, 0xFFFFFFFF),  # ffmpeg
        (0x7FFFF000, 0x7FFFF024),  # sox
        (0x80000000, 0x80000024),  # arecord
        (0x7FFFFFFF - 36, 0x7FFFFFFF),
        (0xFFFFFFFF - 36, 0xFFFFFFFF),
    ],
)
@pytest.mark.parametrize(
    ("before", "more"),
    [(b"", b""), (b"", b"\x01"), *((chunk(b"LIST", body), b"") for body in (b"INFO", b"odd", b"x" * 25))],
)
def test_a_wav_from_a_pipe_is_read_to_its_end_with_one_warning(tmp_path, size, riff, before, more):
    """Also with other chunks before the samples; an incomplete last frame is dropped."""
    path = written(tmp_path, wav(SAMPLES.tobytes(), before=before, size=size, riff=riff) + more)
    with pytest.warns(UserWarning, match="no size") as caught:
        audio = read_audio(path)
    assert [str(w.message) for w in caught] == [f"{path}: the header gives no size; read to the end of the file"]
    np.testing.assert_array_equal(audio.samples[0], SAMPLES / np.float32(32768))


def test_a_wav_from_a_pipe_is_read_to_its_end_in_blocks_too(tmp_path):
    path = written(tmp_path, wav(SAMPLES.tobytes(), size=0xFFFFFFFF, riff=0xFFFFFFFF) + b"\0")  # half a sample more
    with pytest.warns(UserWarning, match="gives no size"):
        blocks = list(read_blocks(path, block=3000))
    np.testing.assert_array_equal(np.concatenate([b.samples[0] for b in blocks]), SAMPLES / np.float32(32768))
    assert path.read_bytes()[4:8] == b"\xff" * 4


WHOLE = SAMPLES.tobytes()
WRONG = [
    (wav(WHOLE[:8000], size=16000), "truncated: 4000 of 8000 samples"),
    (wav(WHOLE[:8000], before=chunk(b"bext", b"odd"), size=16000), "truncated: 4000 of 8000 samples"),
    (wav(WHOLE[:8000], channels=2, size=16000), "truncated: 2000 of 4000 samples"),
    (wav(b""), "holds no samples"),
    (wav(b"", after=chunk(b"LIST", b"INFOISFT\x04\0\0\0sox\0")), "holds no samples"),  # no pipe
    (b"", "empty file"),
    *((wav(WHOLE)[:length], "") for length in (4, 11, 20, 38, 42)),  # within its header
]


@pytest.mark.parametrize(("content", "words"), WRONG)
def test_a_wav_without_its_samples_is_an_error_with_both_counts(tmp_path, content, words):
    refused(written(tmp_path, content), words, "intact copy", readers=READERS)


@pytest.mark.parametrize("content", [wav(WHOLE, riff=99), wav(WHOLE) + b"TAG" + bytes(125)])
def test_a_wrong_size_of_the_whole_and_a_tag_behind_it_do_no_harm(tmp_path, content):
    assert read_audio(written(tmp_path, content)).samples.shape == (1, 8000)


def test_absent_file_link_to_nothing_and_folder(tmp_path):
    refused(tmp_path / "none.wav", "no such file", readers=READERS)
    (tmp_path / "link.wav").symlink_to(tmp_path / "none.wav")
    refused(tmp_path / "link.wav", "link to none")
    (tmp_path / "folder.wav").mkdir()
    refused(tmp_path / "folder.wav", "folder")


def mu_law(code: int) -> float:
    """ITU-T G.711, mu-law: 14-bit value, here as a fraction of 16-bit full scale."""
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return (-magnitude if code & 0x80 else magnitude) / 32768


def a_law(code: int) -> float:
    """ITU-T G.711, A-law."""
    code ^= 0x55
    exponent, magnitude = code >> 4 & 7, (code & 0x0F) << 4
    magnitude = magnitude + 8 if exponent == 0 else magnitude + 0x108 << exponent - 1
    return (magnitude if code & 0x80 else -magnitude) / 32768


@pytest.mark.parametrize(("tag", "law"), [(7, mu_law), (6, a_law)])
def test_companded_codes_are_decoded(tmp_path, tag, law):
    path = written(tmp_path, wav(bytes(range(256)), tag=tag, bits=8))
    np.testing.assert_array_equal(read_audio(path).samples[0], np.array([law(c) for c in range(256)], np.float32))


@pytest.mark.parametrize(
    ("form", "subtype", "error"),
    [
        ("WAV", "PCM_U8", 1 / 128),
        ("WAV", "PCM_24", 2**-23),
        ("WAV", "PCM_32", 1e-7),
        ("WAV", "FLOAT", 1e-7),
        ("WAV", "DOUBLE", 1e-7),
        ("WAVEX", "PCM_16", 2**-15),
        ("WAVEX", "PCM_24", 2**-23),
        ("WAVEX", "FLOAT", 1e-7),
        ("W64", "PCM_16", 2**-15),
        ("RF64", "PCM_16", 2**-15),
        ("FLAC", "PCM_16", 2**-15),
        ("FLAC", "PCM_24", 2**-23),
        ("AIFF", "PCM_16", 2**-15),
        ("NIST", "PCM_16", 2**-15),
    ],
)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_every_format_is_read(tmp_path, form, subtype, error, channels):
    path = tmp_path / f"a.{'wav' if form == 'WAVEX' else form.lower()}"
    expected = tone(path, 1, 8000, channels, subtype, format=form)
    audio = read_audio(path)
    assert audio.sampling_rate == 8000
    assert audio.samples.shape == (channels, 8000)
    np.testing.assert_allclose(audio.samples, np.stack([expected] * channels), atol=error * 1.01, rtol=0)
    audio.samples[:] = 0  # it is the caller's


HALVED = ["WAVEX", "W64", "RF64", "FLAC", "AIFF", "AU", "OGG", "MP3", "CAF", "VOC", "WVE", "SVX", "BIG"]


@pytest.mark.parametrize("form", HALVED)
@pytest.mark.parametrize("function", [read_audio, audio_info])
def test_half_a_file_is_an_error_in_every_format(tmp_path, form, function):
    path = tmp_path / "a.bin"
    tone(path, 1, 8000, subtype=None, **({"format": "WAV", "endian": "BIG"} if form == "BIG" else {"format": form}))
    content = path.read_bytes()
    assert (content[:4] == b"RIFX") == (form == "BIG")
    assert function(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=f"^{path}: .*intact copy"):
        function(path)


def test_a_peak_above_full_scale_is_kept(tmp_path):
    samples = np.tile(np.array([0, 2, -2, 0.5], np.float32), 10)
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav").samples[0], samples)


@pytest.mark.parametrize(("peak", "warned"), [(7.9, 0), (32767, 1)])
def test_integers_stored_as_floats_are_kept_with_a_warning(tmp_path, recwarn, peak, warned):
    samples = np.tile(np.array([0, peak, -0.5 * peak, 0.5], np.float32), 200)
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav").samples[0], samples)
    assert [str(w.message) for w in recwarn] == warned * [
        f"{tmp_path}/a.wav: samples far above full scale (1). Integers stored as floats must be divided by their full "
        "scale, such as 32768"
    ]


READS = [read_audio, lambda path: read_audio(path, 1000, 1000), lambda path: list(read_blocks(path, block=100))]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -3e9, 3.4e38])
@pytest.mark.parametrize("function", READS)
def test_a_sample_without_finite_power_is_named_by_its_index(tmp_path, value, function):
    samples = np.zeros((8000, 2), np.float32)
    samples[1234, 1] = samples[5000, 0] = value
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    what = "not a number" if np.isnan(value) else f"{np.float32(value):g}, far beyond full scale"
    with pytest.raises(InputError, match=rf"sample 1234 is {re.escape(what)}.*intact copy"):
        function(tmp_path / "a.wav")
    assert np.isfinite(read_audio(tmp_path / "a.wav", 1235, 100).samples).all()


@pytest.mark.parametrize(("rate", "samples"), [(48000, 1), (48000, 2), (48000, 47), (8000, 7)])
@pytest.mark.parametrize("form", ["WAV", "FLAC", "AU"])
def test_less_than_a_millisecond_is_too_short_and_a_millisecond_is_not(tmp_path, rate, samples, form):
    path = tmp_path / "a.bin"
    for function in READERS:
        soundfile.write(path, np.full(samples, 0.1), rate, format=form)
        with refuses(f"too short: {samples} samples", where=path):
            function(path)
        soundfile.write(path, np.full(rate // 1000, 0.1), rate, format=form)
        function(path)


def test_integers_as_floats_are_samples_and_have_a_power(tmp_path):
    samples = np.full(8000, -(2.0**31), np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    with pytest.warns(UserWarning, match="far above full scale"):
        read = read_audio(tmp_path / "a.wav").mono
    np.testing.assert_array_equal(read, samples)
    assert np.isfinite(np.square(np.float32(2.0**32) * read)).all()


@pytest.mark.parametrize("function", READERS)
def test_paths_that_are_not_files_are_refused(tmp_path, function):
    os.mkfifo(tmp_path / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(tmp_path / "socket.wav"))
        for path, kind in (
            (tmp_path / "pipe.wav", "pipe"),
            (tmp_path / "socket.wav", "socket"),
            (Path("/dev/zero"), "device"),
            (tmp_path, "folder"),
        ):
            with refuses(f"a {kind}", where=path):
                function(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"this is a readme\nof two lines\n", "text, not audio"),
        ("Ação: não é áudio\n".encode(), "text, not audio"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG picture"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "a JPEG picture"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "git lfs pull"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "a web page"),
        (b'\n<html lang="en"><body>404</body></html>', "a web page"),
        (b"PK\x03\x04" + bytes(60), "a zip archive"),
        (bytes.fromhex("00051607000200004d6163204f532058"), "what macOS keeps beside a file"),
        (b"GIF89a" + bytes(range(200)), "a GIF picture"),
        (b"BM\x36\x04\0\0" + bytes(60), "a BMP picture"),
        (b"II*\0" + bytes(range(200)), "a TIFF picture"),
        (b"RIFF\x64\0\0\0WEBPVP8 " + bytes(90), "a WebP picture"),
        (b"RIFF\x64\0\0\0AVI LIST" + bytes(90), "an AVI video"),
        (b"%PDF-1.4\n%\xe2\xe3" + bytes(range(200)), "a PDF document"),
        (b"\0\0\0\x20ftypM4A " + bytes(range(200)), "an MP4, M4A or QuickTime file"),
        (b"\x1aE\xdf\xa3" + bytes(range(200)), "a Matroska or WebM file"),
        (b"Rar!\x1a\7\0" + bytes(range(200)), "a RAR or 7z archive"),
        ("texto em UTF-16\n".encode("utf-16"), "text in UTF-16"),
        (bytes(16000), "nothing but zeros where a header should be"),
        (np.random.default_rng(0).bytes(4000), "not a known audio format"),
    ],
)
def test_the_error_names_the_kind_of_a_file_that_is_not_audio(tmp_path, content, words):
    refused(written(tmp_path, content), words, "replace it by an intact copy")


@pytest.mark.parametrize("name", [b"LIST", b"bext", b"JUNK"])
@pytest.mark.parametrize("length", [4, 5, 26])
def test_chunks_before_and_after_the_data_are_skipped(tmp_path, name, length):
    extra = chunk(name, b"data"[: length % 4] + b"x" * (length - length % 4))
    path = written(tmp_path, wav(SAMPLES.tobytes(), before=extra, after=extra))
    np.testing.assert_array_equal(read_audio(path).samples[0], SAMPLES / np.float32(32768))


def test_a_data_chunk_of_odd_size(tmp_path):
    codes = bytes(range(101))
    path = written(tmp_path, wav(codes, bits=8, after=chunk(b"LIST", b"INFO")))
    expected = (np.arange(101) - 128) / np.float32(128)
    np.testing.assert_array_equal(read_audio(path).samples[0], expected)


@pytest.mark.parametrize("riff", [None, 8036])
def test_a_wav_that_counts_fewer_samples_than_there_are_reports_it(tmp_path, riff):
    path = written(tmp_path, wav(SAMPLES.tobytes(), size=8000, riff=riff))
    with pytest.warns(UserWarning, match=r"the header counts 4000 of 8000 samples, and no more are read") as caught:
        assert read_audio(path).samples.shape == (1, 4000)
    assert len(caught) == 1


def test_mono_is_the_mean_of_the_channels():
    audio = Audio(np.array([[1, 0.5, -1], [0, 0.5, 1]], np.float32), 8000)
    np.testing.assert_array_equal(audio.mono, [0.5, 0.5, 0])
    assert Audio(audio.samples[:1], 8000).mono.tolist() == [1, 0.5, -1]


def test_silence_has_no_signal_around_any_mean():
    quiet = 1e-4 * np.sin(np.arange(8000, dtype=np.float32))
    assert not is_silent(quiet)
    assert is_silent(np.zeros((1, 8000), np.float32))
    assert is_silent(np.full((1, 8000), 0.25, np.float32))
