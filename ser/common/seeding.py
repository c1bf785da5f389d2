"""Every random draw is a pure function of what it is for, so there is no generator state to lose."""

from __future__ import annotations

import hashlib


def derive_seed(*purpose: str | int) -> int:
    """A seed in [0, 2**63) from, for instance, (seed, fold, "order", corpus, pass number)."""
    text = "\x1f".join(map(str, purpose)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1
