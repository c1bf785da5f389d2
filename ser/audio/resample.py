"""Change of sampling rate."""

from __future__ import annotations

import numpy as np


def resample(samples: np.ndarray, rate: int, to_rate: int) -> np.ndarray:
    """(samples,) at `rate` Hz to float32 at `to_rate` Hz: soxr, high quality, which filters what would alias."""
    if rate == to_rate:
        return np.asarray(samples, dtype=np.float32)
    import soxr

    return np.asarray(soxr.resample(np.asarray(samples, dtype=np.float32), rate, to_rate, quality="HQ"))
