"""Read lhotse's cut manifests as plain records: importing lhotse takes seconds, and a job needs five fields."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

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
            rows = [json.loads(line) for line in file]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run stage 1") from None
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{path}: not readable as a cut manifest ({error}); remove it and run stage 1") from None
    return [
        Cut(row["id"], Path(row["recording"]["sources"][0]["source"]), row["start"], row["duration"],
            row["supervisions"][0]["custom"]["audio_digest"])
        for row in rows
    ]
