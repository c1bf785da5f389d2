"""Change of sampling rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np


def resample(samples: np.ndarray, rate: int, to_rate: int) -> np.ndarray:
    """(samples,) at `rate` Hz to float32 at `to_rate` Hz: soxr, high quality, which filters what would alias."""
    if rate == to_rate:
        return np.asarray(samples, dtype=np.float32)
    import soxr

    return np.asarray(soxr.resample(np.asarray(samples, dtype=np.float32), rate, to_rate, quality="HQ"))


def resample_blocks(blocks: Iterable[np.ndarray], rate: int, to_rate: int) -> Iterator[np.ndarray]:
    """The same of a signal that comes in blocks, (samples,) each; the blocks that it gives are of other lengths."""
    if rate == to_rate:
        yield from blocks
        return
    import soxr

    stream = soxr.ResampleStream(rate, to_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)
