"""Read lhotse's cut manifests as plain records: importing lhotse takes seconds, and a job needs five fields."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser.common import InputError


@dataclass(frozen=True)
class Cut:
    """A stretch of a recording.

    Attributes:
        start, duration: seconds.
        audio_digest: names the content of the file.
    """

    id: str
    path: Path
    start: float
    duration: float
    audio_digest: str


def read_cuts(path: Path) -> list[Cut]:
    """The cuts of a cuts.jsonl.gz that stage 1 wrote, in its order."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            cuts = [_cut(json.loads(line)) for line in file]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run stage 1") from None
    except (OSError, EOFError, ValueError, LookupError, TypeError, zlib.error) as error:
        raise InputError(f"{path}: not readable as a cut manifest ({error}); remove it and run stage 1") from None
    if not cuts:
        raise InputError(f"{path}: holds no cuts; remove it and run stage 1")
    return cuts


def _cut(row: dict[str, Any]) -> Cut:
    source = row["recording"]["sources"][0]["source"]
    custom = row["supervisions"][0]["custom"]
    return Cut(row["id"], Path(source), row["start"], row["duration"], custom["audio_digest"])
