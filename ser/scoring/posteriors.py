"""Posteriors of the decoded parts of an experiment: one Kaldi archive for each part, with all of its corpora.

Keys are `<corpus>/<utterance>`, since ids are unique only within a corpus, and no name of a corpus has a slash.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np

from ser.common import InputError, locked, sha256
from ser.common.records import check_file, read_record, write_record
from ser.common.run_folder import DECODE, posteriors_path
from ser.features.archive import ArkWriter, read_archive

REDECODE = "run stages 5 and 6 again"


class DecodedCorpus(TypedDict):
    """How a corpus was decoded; classes are those of its posteriors."""

    classes: list[str]
    utterances: int
    model: str
    zero_shot: NotRequired[bool]
    data_hash: NotRequired[str]
    normalisation: NotRequired[str]


class DecodedPart(TypedDict):
    """A part in decode.json; `sha256` is of its post.ark."""

    corpora: dict[str, DecodedCorpus]
    sha256: str


@dataclass(frozen=True)
class Posteriors:
    """Posteriors of a part.

    Attributes:
        folder: of the experiment.
        part: train, valid or test.
        corpora: corpus -> how it was decoded.
    """

    folder: Path
    part: str
    corpora: Mapping[str, DecodedCorpus]

    @property
    def path(self) -> Path:
        """Path of the archive."""
        return posteriors_path(self.folder, self.part)

    @cached_property
    def rows(self) -> dict[str, dict[str, np.ndarray]]:
        """Corpus -> utterance -> posteriors, float32, (classes,), as they are in the archive."""
        rows: dict[str, dict[str, np.ndarray]] = {corpus: {} for corpus in self.corpora}
        for key, row in read_archive(self.path).items():
            corpus, _, utterance = key.partition("/")
            rows.setdefault(corpus, {})[utterance] = row
        return rows

    def entry(self, corpus: str) -> DecodedCorpus:
        """How a corpus was decoded.

        Raises:
            InputError: it was not decoded.
        """
        if corpus not in self.corpora:
            raise InputError(f"lacks the {self.part} part of {corpus}", self.folder / DECODE, REDECODE)
        return self.corpora[corpus]

    def array(self, corpus: str, utterances: Sequence[str], classes: Sequence[str]) -> np.ndarray:
        """Posteriors of a corpus.

        Args:
            corpus: a decoded corpus.
            utterances: all of its utterances, in the order of the rows.
            classes: of the posteriors.

        Returns:
            float32, (utterances, classes).

        Raises:
            InputError: absent, cut short, or of other utterances or classes.
        """
        if self.entry(corpus)["classes"] != list(classes):
            raise InputError(f"{corpus}: of other classes than {', '.join(classes)}", self.path, REDECODE)
        rows = self.rows[corpus]
        if odd := sorted(rows.keys() ^ set(utterances)):
            raise InputError(f"{odd[0]} is in only one of it and the {self.part} part", self.path, REDECODE)
        if short := [key for key in utterances if rows[key].shape != (len(classes),)]:
            raise InputError(f"{short[0]}: no posterior for each of {', '.join(classes)}", self.path, REDECODE)
        return np.stack([rows[key] for key in utterances])


def read_posteriors(folder: Path, part: str) -> Posteriors:
    """Read the posteriors of a part, whose archive must be as it was written.

    Args:
        folder: of the experiment.
        part: train, valid or test.

    Raises:
        InputError: it was not decoded, or what is there has been changed since.
    """
    path, decoded = folder / DECODE, _entries(folder).get(part)
    if decoded is None:
        raise InputError(f"lacks the {part} part", path, REDECODE)
    check_file(posteriors_path(folder, part), decoded["sha256"], REDECODE)
    for corpus, entry in decoded["corpora"].items():
        if not entry["classes"] or len(set(entry["classes"])) < len(entry["classes"]):
            raise InputError(f"{corpus}: classes = {entry['classes']}, expected different names", path, REDECODE)
    return Posteriors(folder, part, decoded["corpora"])


def write_posteriors(
    folder: Path, part: str, decoded: Mapping[str, tuple[DecodedCorpus, Iterable[tuple[str, np.ndarray]]]]
) -> None:
    """Write posteriors of corpora into the archive of a part and, last, their entries into decode.json.

    Other corpora of the part stay, unless they are damaged; these have to be decoded again.

    Args:
        folder: of the experiment.
        part: train, valid or test.
        decoded: corpus -> its entry; utterances and their posteriors, float32, (classes,).
    """
    record, archive = folder / DECODE, posteriors_path(folder, part)
    with locked(record, f"{record} is being written"):
        entries: dict[str, Any] = {}
        corpora = {corpus: (entry, list(rows)) for corpus, (entry, rows) in decoded.items()}
        with suppress(InputError):
            entries = _entries(folder)
            before = read_posteriors(folder, part)
            corpora = {c: (e, list(before.rows[c].items())) for c, e in before.corpora.items()} | corpora
        with ArkWriter(archive, "float32", scp=False) as writer:
            for corpus, (_, rows) in sorted(corpora.items()):
                for utterance, posteriors in rows:
                    writer.write(f"{corpus}/{utterance}", posteriors)
        entries[part] = {"corpora": {c: e for c, (e, _) in sorted(corpora.items())}, "sha256": sha256(archive)}
        write_record(record, dict(sorted(entries.items())))


def _entries(folder: Path) -> dict[str, Any]:
    path = folder / DECODE
    return read_record(path, dict[str, DecodedPart], REDECODE) if path.is_file() else {}
