"""Damage in FLAC files, and bytes behind their frames."""

import warnings

import numpy as np
import pytest
from sounds import tone

from ser.audio import read_audio
from ser.common import InputError


@pytest.mark.parametrize("where", [0.3, 0.6, 0.95])
def test_a_damaged_frame_is_found(tmp_path, where):
    tone(tmp_path / "a.flac", 2, 16000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    at = int(len(content) * where)
    content[at : at + 8] = bytes(byte ^ 0x5A for byte in content[at : at + 8])
    (tmp_path / "a.flac").write_bytes(content)
    with pytest.raises(InputError):
        read_audio(tmp_path / "a.flac")


@pytest.mark.parametrize("zeros", [1, 5000, 70_000, 3_000_000])
def test_zeros_behind_the_frames_are_passed_over(tmp_path, zeros):
    tone(tmp_path / "a.flac", 2, 16000)
    samples = read_audio(tmp_path / "a.flac").samples
    with (tmp_path / "a.flac").open("ab") as file:
        file.write(bytes(zeros))
    np.testing.assert_array_equal(read_audio(tmp_path / "a.flac").samples, samples)


def test_a_truncated_file_is_an_error(tmp_path):
    tone(tmp_path / "a.flac", 2, 16000)
    content = (tmp_path / "a.flac").read_bytes()
    for size in (30, 60, len(content) // 2, len(content) - 3):
        (tmp_path / "a.flac").write_bytes(content[:size])
        with warnings.catch_warnings(), pytest.raises(InputError):
            read_audio(tmp_path / "a.flac")
