"""The length of a file agrees with decoding it to its end; a second stream is read or refused."""

import io

import numpy as np
import pytest
import soundfile
import sounds

from ser.audio import AudioInfo, audio_info, read_audio, read_blocks

pytestmark = pytest.mark.filterwarnings("ignore")
RATE = 16000
# Chirps, so that any shift shows.
NOW = 0.4 * np.sin(np.cumsum(np.linspace(0.1, 1.2, 3 * RATE)))
NEXT = 0.4 * np.sin(np.cumsum(np.linspace(1.2, 0.1, 2 * RATE)))


def made(samples, form, rate=RATE, **options) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, **options)
    return file.getvalue()


def mp3(samples, rate=RATE, header=True, **options) -> bytes:
    """An MP3; without its header frame as it comes through a pipe."""
    content = made(samples, "MP3", rate, **options)
    return content if header else content[content.index(content[:2], 4) :]


def read(path) -> np.ndarray:
    """Read a file, (channels, samples); check that header, segments and blocks agree."""
    audio = read_audio(path)
    assert audio_info(path) == AudioInfo(audio.sampling_rate, audio.samples.shape[1], len(audio.samples))
    length, last = audio.samples.shape[1], max(0, audio.samples.shape[1] - 999)
    for start, count in ((0, None), (0, 1), (length // 3, length // 2), (last, 1), (last, None)):
        expected = audio.samples[:, start : None if count is None else start + count]
        np.testing.assert_array_equal(read_audio(path, start, count).samples, expected)
        blocks = [block.samples for block in read_blocks(path, start, count, 7777)]
        np.testing.assert_array_equal(np.concatenate(blocks, axis=1), expected)
    return audio.samples


def of(tmp_path, content: bytes, name="a.bin") -> np.ndarray:
    (tmp_path / name).write_bytes(content)
    return read(tmp_path / name)


def refused(tmp_path, content: bytes, *words) -> None:
    (tmp_path / "a.bin").write_bytes(content)
    sounds.refused(tmp_path / "a.bin", *words, readers=sounds.READERS)


VARIABLE = {"bitrate_mode": "VARIABLE", "compression_level": 0.5}
CONSTANT = {"bitrate_mode": "CONSTANT", "compression_level": 0.7}


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("options", [VARIABLE, CONSTANT])
@pytest.mark.parametrize("channels", [1, 2])
def test_an_mp3_without_a_length_is_read_to_its_end(tmp_path, rate, options, channels):
    samples = np.stack([np.concatenate([NOW, 0.001 * NEXT, NEXT])] * channels, axis=1)
    with_header = of(tmp_path, mp3(samples, rate, **options))
    assert with_header.shape == (channels, len(samples))
    without = of(tmp_path, mp3(samples, rate, header=False, **options))
    frame = 1152 if rate >= 32000 else 576
    assert (without.shape[1] + 529) % frame == 0
    delay = next(d for d in range(3 * frame) if np.allclose(without[0, d:][: 2 * RATE], with_header[0, : 2 * RATE]))
    np.testing.assert_allclose(without[:, delay : delay + len(samples)], with_header, atol=1e-6)


def test_an_mp3_cut_within_a_frame_is_truncated_with_and_without_header(tmp_path):
    for header in (True, False):
        content = mp3(NOW, header=header)
        refused(tmp_path, content[: content.index(content[:2], len(content) // 2) + 10], "truncated")
        refused(tmp_path, content[:-1], "truncated")


def test_an_mp3_with_fewer_frames_than_its_header_counts_is_truncated(tmp_path):
    content = mp3(NOW, **CONSTANT)
    frame = content.index(content[:2], 4)
    size = content.index(content[frame : frame + 2], frame + 4) - frame
    refused(tmp_path, content[: frame + 20 * size], "truncated", f"{20 * 576} of")


JOINED = {
    "mp3": (mp3(NOW), mp3(NEXT)),
    "mp3 without headers": (mp3(NOW, **VARIABLE), mp3(NEXT, header=False, **VARIABLE)),
    "vorbis": (made(NOW, "OGG"), made(NEXT, "OGG")),
    "opus": (made(NOW, "OGG", subtype="OPUS"), made(NEXT, "OGG", subtype="OPUS")),
    "flac": (made(NOW, "FLAC"), made(NEXT, "FLAC")),
    "flac of one length": (made(NOW, "FLAC"), made(NOW[::-1], "FLAC")),
    "flac of 24 bits": (made(NOW, "FLAC", subtype="PCM_24"), made(NEXT, "FLAC")),
}


@pytest.mark.parametrize("kind", JOINED)
def test_joined_streams_are_read_one_after_another(tmp_path, kind):
    first, second = JOINED[kind]
    for together in ((first, second), (first, first), (second, first, second, first)):
        expected = np.concatenate([of(tmp_path, part) for part in together], axis=1)
        np.testing.assert_array_equal(of(tmp_path, b"".join(together)), expected)


ID3 = b"ID3\x04\0\0\0\0\x02\x03" + bytes(259)
APE = b"APETAGEX\xd0\x07\0\0\x20\0\0\0\0\0\0\0\0\0\0\x80" + bytes(8)


def test_tags_between_joined_mp3_are_no_samples(tmp_path):
    first, second = mp3(NOW), mp3(NEXT)
    expected = np.concatenate([of(tmp_path, first), of(tmp_path, second)], axis=1)
    for tags in (ID3, b"TAG" + bytes(125), APE + b"TAG" + b" " * 125 + ID3, bytes(1000)):
        np.testing.assert_array_equal(of(tmp_path, ID3 + first + tags + second + tags), expected)


@pytest.mark.parametrize("form", ["MP3", "OGG", "FLAC"])
@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 2)])
def test_streams_of_different_kinds_are_refused(tmp_path, form, rate, channels):
    second = made(np.stack([NEXT] * channels, axis=1), form, rate)
    refused(tmp_path, made(NOW, form) + second, "16000 Hz", f"{rate} Hz, channels: {channels}")


@pytest.mark.parametrize(
    "form", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "VOC", "NIST", "AVR", "PAF", "SVX"]
)
def test_a_second_recording_in_one_file_is_refused_by_its_byte(tmp_path, form):
    first = made(NOW, form)
    assert of(tmp_path, first).shape == (1, len(NOW))
    refused(tmp_path, first + made(NEXT, form), f"byte {len(first)}")


@pytest.mark.parametrize("form", ["IRCAM", "PVF", "WVE", "XI", "wv", "prc", "smp", "maud", "amr-nb"])
def test_a_second_recording_of_an_old_kind_is_refused_by_its_byte(tmp_path, form):
    if form.isupper():
        first = made(NOW[:8000], form, 8000)
    else:
        sounds.write_by_sox(tmp_path / "a.old", NOW[:8000], form)
        first = (tmp_path / "a.old").read_bytes()
    assert of(tmp_path, first).shape[0] == 1
    refused(tmp_path, first * 2, f"byte {len(first)}")


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_two_wavs_from_pipes_in_one_file_are_refused(tmp_path, size):
    first = bytearray(made(NOW, "WAV"))
    first[40:44] = size.to_bytes(4, "little")
    first[4:8] = size.to_bytes(4, "little")
    refused(tmp_path, bytes(first) * 2, f"byte {len(first)}")


def test_a_wav_of_several_data_chunks_is_refused(tmp_path):
    content = made(NOW, "WAV")
    refused(tmp_path, content + b"LIST\x04\0\0\0INFO" + b"data" + (8).to_bytes(4, "little") + bytes(8), "data chunk")


def test_an_mp3_after_other_bytes_is_read(tmp_path):
    content = mp3(NOW)
    expected = of(tmp_path, content)
    garbage = np.random.default_rng(0).integers(0, 255, 3000).astype(np.uint8).tobytes()
    too_large, wrong = b"ID3\x03\0\0\x7f\x7f\x7f\x7f", b"ID3\x03\0\0\0\0\x08\x00"
    false = content[:4] + b"\1" * 600  # the head of a frame that no other follows
    for before in (bytes(5000), garbage, false, APE, ID3, ID3 + garbage, too_large + b"x" * 50, wrong + b"x" * 50):
        np.testing.assert_array_equal(of(tmp_path, before + content), expected)
        np.testing.assert_array_equal(of(tmp_path, before + content + garbage), expected)
    for before in (garbage, false):
        (tmp_path / "a.mp3").write_bytes(before + content)
        with pytest.warns(UserWarning, match=f"{len(before)} bytes"):
            read_audio(tmp_path / "a.mp3")


def test_bytes_between_the_frames_of_an_mp3_are_damage(tmp_path):
    content = mp3(NOW)
    at = content.index(content[:2], len(content) // 2)
    refused(tmp_path, content[:at] + b"x" * 500 + content[at:], "damaged")


def with_length(content: bytes, samples: int) -> bytes:
    """A FLAC with some number of samples in its header."""
    packed = int.from_bytes(content[18:26], "big") >> 36 << 36 | samples
    return content[:18] + packed.to_bytes(8, "big") + content[26:]


@pytest.mark.parametrize("samples", [0, 1, len(NOW) - 1])
def test_a_flac_is_read_to_its_end_with_any_count_in_its_header(tmp_path, samples):
    content = made(NOW, "FLAC")
    expected = of(tmp_path, content)
    np.testing.assert_array_equal(of(tmp_path, with_length(content, samples)), expected)
    np.testing.assert_array_equal(of(tmp_path, with_length(content, samples) + b"TAG" + bytes(125)), expected)
    with pytest.warns(UserWarning, match="header"):
        read_audio(tmp_path / "a.bin")


@pytest.mark.parametrize("samples", [len(NOW) + 1, 2**36 - 1])
def test_a_flac_whose_header_counts_more_samples_is_truncated(tmp_path, samples):
    refused(tmp_path, with_length(made(NOW, "FLAC"), samples), "truncated", f"{len(NOW)} of {samples}")


def test_a_flac_without_a_length_that_is_cut_or_damaged_is_refused(tmp_path):
    content = with_length(made(NOW, "FLAC"), 0)
    refused(tmp_path, content[: len(content) // 2], "truncated")
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 0x10
    refused(tmp_path, bytes(damaged), "damaged")


@pytest.mark.parametrize(("at", "flip"), [(18, 0x10), (19, 0x08), (20, 0x40), (20, 0x02), (20, 0x01), (21, 0x80)])
def test_a_flac_whose_header_does_not_agree_with_its_frames_is_refused(tmp_path, at, flip):
    content = bytearray(made(NOW, "FLAC"))
    content[at] ^= flip  # of the rate, the channels or the bits
    refused(tmp_path, bytes(content))


def test_a_flac_after_an_id3_tag_is_read(tmp_path):
    content = made(NOW, "FLAC")
    np.testing.assert_array_equal(of(tmp_path, ID3 + content), of(tmp_path, content))


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_cut_in_its_last_page_is_truncated(tmp_path, subtype):
    content = made(np.tile(NOW, 5), "OGG", subtype=subtype)
    last = content.rindex(b"OggS")
    refused(tmp_path, content[:-1], "truncated")
    refused(tmp_path, content[: last + 20], "truncated")
    refused(tmp_path, content[:last] + b"x" * 40 + content[last:], "damaged")
    (tmp_path / "cut.ogg").write_bytes(content[:last])
    with pytest.warns(UserWarning, match="last"):
        assert 0 < read_audio(tmp_path / "cut.ogg").samples.shape[1] < 5 * len(NOW)


FORMS = [
    (form, subtype)
    for form in soundfile.available_formats()
    for subtype in soundfile.available_subtypes(form)
    if form not in ("RAW", "SD2", "SDS") and subtype not in ("DWVW_16", "DWVW_24", "MPEG_LAYER_I", "MPEG_LAYER_II")
]


@pytest.mark.parametrize(("form", "subtype"), FORMS)
def test_the_header_agrees_with_the_samples_in_every_format(tmp_path, form, subtype):
    path = tmp_path / "a.bin"
    try:
        soundfile.write(path, NOW, 8000, format=form, subtype=subtype)
    except soundfile.LibsndfileError as error:
        pytest.skip(f"libsndfile does not write it: {error}")
    samples = read(path)
    # Codecs with blocks are read to the end of the last one.
    assert len(NOW) <= samples.shape[1] < len(NOW) + 2048


@pytest.mark.parametrize("rate", [1, 999, 1_000_001, 1_000_000_000])
def test_an_implausible_rate_is_refused(tmp_path, rate):
    refused(tmp_path, made(NOW, "WAV", rate), f"{rate} Hz")


def test_a_rate_of_zero_is_refused(tmp_path):
    content = bytearray(made(NOW, "WAV"))
    content[24:28] = bytes(4)
    refused(tmp_path, bytes(content))


def test_a_thousand_channels_are_read(tmp_path):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (200, 1000)).astype(np.float32)
    np.testing.assert_array_equal(of(tmp_path, made(samples, "WAV", subtype="FLOAT")), samples.T)


@pytest.mark.parametrize("declared", [0, 1, 2**31 - 1])
def test_an_aiff_is_read_to_the_end_of_its_samples(tmp_path, declared):
    content = bytearray(made(NOW, "AIFF"))
    expected = of(tmp_path, bytes(content))
    at = content.index(b"COMM") + 10
    content[at : at + 4] = declared.to_bytes(4, "big")
    np.testing.assert_array_equal(of(tmp_path, bytes(content)), expected)


def test_an_aiff_with_more_samples_than_there_are_is_truncated(tmp_path):
    content = bytearray(made(NOW, "AIFF"))
    at = content.index(b"SSND") + 4
    content[at : at + 4] = (2**30).to_bytes(4, "big")
    refused(tmp_path, bytes(content), "truncated")
