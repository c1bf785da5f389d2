"""Find the streams of an Ogg file (Vorbis, Opus, FLAC in Ogg) by reading all its page headers (RFC 3533)."""

from __future__ import annotations

import mmap
import warnings
from itertools import pairwise
from pathlib import Path

from ser.audio.formats import damaged

_FIRST, _LAST = 2, 4  # flags of the first and last page of a stream


def ogg_streams(path: Path, data: bytes | mmap.mmap) -> list[bytes] | None:
    """Split a file into streams for libsndfile; None: the file has one stream.

    Args:
        path: of the file.
        data: its bytes.

    Raises:
        InputError: truncated, or damaged between its pages.
    """
    starts: list[int] = []
    at, flags, first = 0, 0, False
    while data[at : at + 4] == b"OggS":
        head = data[at : at + 27]
        table = data[at + 27 : at + 27 + (head[26] if len(head) == 27 else 0)]
        end = at + 27 + len(table) + sum(table)
        if len(head) < 27 or len(table) < head[26] or end > len(data):
            raise damaged("truncated: it ends within a page of Ogg", path)
        flags, previous_first = head[5], first
        first = bool(flags & _FIRST)
        if first and not previous_first:  # several begin together if audio and video are interleaved
            starts.append(at)
        at = end
    if (following := data.find(b"OggS", at)) != -1:
        raise damaged(f"damaged: bytes {at} to {following}, between pages of Ogg, are none", path)
    if not flags & _LAST:
        warnings.warn(f"{path}: no page is marked as the last; see whether the recording is whole", stacklevel=3)
    if len(starts) < 2:
        return None
    return [data[a:b] for a, b in pairwise([*starts, at])]
