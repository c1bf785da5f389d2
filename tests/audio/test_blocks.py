import struct

import numpy as np
import pytest
import soundfile
from conftest import refuses

from ser.audio import read_audio, read_blocks, resample, resample_blocks


def noise(samples=20000, channels=2):
    return np.random.default_rng(0).uniform(-0.3, 0.3, (samples, channels)).astype(np.float32)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
@pytest.mark.parametrize(("start", "samples"), [(0, None), (7777, 5001)])
def test_blocks_are_what_is_read_whole(tmp_path, suffix, start, samples):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise(), 16000)
    blocks = list(read_blocks(path, start, samples, block=999))
    assert len(blocks) > 5
    whole = read_audio(path, start, samples)
    np.testing.assert_array_equal(np.concatenate([b.samples for b in blocks], axis=1), whole.samples)


@pytest.mark.parametrize("rates", [(44100, 8000), (16000, 8000), (8000, 8000), (6000, 8000)])
def test_a_resampled_stream_is_the_whole_resampled(rates):
    samples = noise(100_000)[:, 0]
    blocks = [samples[i : i + 7000] for i in range(0, len(samples), 7000)]
    streamed = np.concatenate(list(resample_blocks(blocks, *rates)))
    np.testing.assert_allclose(streamed, resample(samples, *rates), atol=1e-6)


def test_a_sample_that_is_no_number_is_found_in_its_block(tmp_path):
    samples = noise(channels=1)
    samples[12345] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    with refuses("sample 12345 is not a number"):
        list(read_blocks(tmp_path / "a.wav", block=1000))


def test_a_wav_of_unknown_size_is_read_to_its_end_in_blocks(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(channels=1), 16000)
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = struct.pack("<I", 0xFFFFFFFF)
    whole = read_audio(path).samples
    path.write_bytes(bytes(data) + b"\x00")  # half a sample more
    with pytest.warns(UserWarning, match="gives no size"):
        blocks = list(read_blocks(path, block=6000))
    np.testing.assert_array_equal(np.concatenate([b.samples for b in blocks], axis=1), whole)
    assert path.read_bytes()[4:8] == b"\xff" * 4
