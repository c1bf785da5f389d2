"""Change the sampling rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np


def resample(samples: np.ndarray, rate: int, to_rate: int) -> np.ndarray:
    """Resample with soxr in high quality, with an anti-aliasing filter.

    Args:
        samples: (samples,).
        rate: of the samples, in Hz.
        to_rate: of the result, in Hz.

    Returns:
        float32, (samples at `to_rate`,).
    """
    if rate == to_rate:
        return np.asarray(samples, dtype=np.float32)
    import soxr

    return np.asarray(soxr.resample(np.asarray(samples, dtype=np.float32), rate, to_rate, quality="HQ"))


def resample_blocks(blocks: Iterable[np.ndarray], rate: int, to_rate: int) -> Iterator[np.ndarray]:
    """Resample a signal in blocks, float32, (samples,) or (channels, samples) each.

    Args:
        blocks: of the signal.
        rate: of the signal, in Hz.
        to_rate: of the result, in Hz.

    Returns:
        Blocks of varying length; joined, they are the resampled signal.
    """
    if rate == to_rate:
        yield from blocks
        return
    import soxr

    blocks = iter(blocks)
    for first in blocks:
        stream = soxr.ResampleStream(rate, to_rate, 1 if first.ndim == 1 else len(first), dtype="float32", quality="HQ")
        for block in chain([first], blocks):
            yield stream.resample_chunk(np.ascontiguousarray(block.T)).T
        yield stream.resample_chunk(np.ascontiguousarray(first[..., :0].T), last=True).T
