"""Names of folders that settings give."""

from __future__ import annotations

from collections.abc import Sequence

from ser.common import digest

MOST_BYTES = 100


def combination_name(corpora: Sequence[str]) -> str:
    """The folder of a combination of corpora: their names, or the first, how many more, and a digest of all.

    A file system takes 255 bytes; config.yaml and result.json have the whole list.
    """
    name = "_".join(corpora)
    if len(name.encode()) <= MOST_BYTES:
        return name
    return f"{corpora[0][:60]}_and_{len(corpora) - 1}_{digest(list(corpora))[:8]}"
