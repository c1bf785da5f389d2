"""Derived seeds: each use of random numbers has a seed of its own, so there is no generator state to save."""

from __future__ import annotations

import hashlib


def derive_seed(*purpose: str | int) -> int:
    """Derive a seed in [0, 2**63) from its purpose, such as (seed, fold, "order", corpus, number of the pass)."""
    text = "\x1f".join(map(str, purpose)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1
