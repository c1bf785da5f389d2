"""Whole FLAC files, decoded by dr_flac (miniaudio), which is faster than libsndfile's decoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

# The stream's marker, the head of its first block (STREAMINFO) and that block (RFC 9639, section 8.2).
HEADER = 4 + 4 + 34


def read_flac(path: Path) -> tuple[np.ndarray, int] | None:
    """Samples, float32, (samples, channels), and Hz; None for what is no FLAC or not wholly right."""
    import miniaudio

    with path.open("rb") as file:
        head = file.read(HEADER)
        if head[:4] != b"fLaC" or len(head) < HEADER or head[4] & 0x7F:
            return None
        data = head + file.read()
    # 20 bits of rate, 3 of channels - 1, 5 of bits a sample - 1, 36 of samples, where 0 is unknown.
    packed = int.from_bytes(head[18:26], "big")
    rate, channels, samples = packed >> 44, (packed >> 41 & 7) + 1, packed & (1 << 36) - 1
    try:
        found = miniaudio.flac_read_f32(data)
    except miniaudio.DecodeError:
        return None
    # A damaged frame is passed over, which the number of samples shows.
    if not samples or (found.sample_rate, found.nchannels, found.num_frames) != (rate, channels, samples):
        return None
    return np.frombuffer(found.samples, np.float32).reshape(-1, channels), rate
