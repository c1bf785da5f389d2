"""Posteriors of the decoded parts of an experiment: one Kaldi archive a part, whatever the number of its corpora.

Keys are `<corpus>/<utterance>`, for ids are unique within a corpus alone, and no name of a corpus has a slash.
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
    """What a corpus was decoded with; classes are those of its posteriors."""

    classes: list[str]
    utterances: int
    model: str
    zero_shot: NotRequired[bool]
    data_hash: NotRequired[str]
    normalisation: NotRequired[str]


class DecodedPart(TypedDict):
    """An entry of decode.json, of a part; `sha256` is of its post.ark."""

    corpora: dict[str, DecodedCorpus]
    sha256: str


@dataclass(frozen=True)
class Posteriors:
    """Those of a part.

    Attributes:
        folder: the experiment's.
        part: train, valid or test.
        corpora: corpus -> what it was decoded with.
    """

    folder: Path
    part: str
    corpora: Mapping[str, DecodedCorpus]

    @property
    def path(self) -> Path:
        """Of the archive."""
        return posteriors_path(self.folder, self.part)

    @cached_property
    def rows(self) -> dict[str, dict[str, np.ndarray]]:
        """Corpus -> utterance -> posteriors, float32, (classes,), as they are in the archive."""
        found: dict[str, dict[str, np.ndarray]] = {corpus: {} for corpus in self.corpora}
        for key, row in read_archive(self.path).items():
            corpus, _, utterance = key.partition("/")
            found.setdefault(corpus, {})[utterance] = row
        return found

    def entry(self, corpus: str) -> DecodedCorpus:
        """What a corpus was decoded with.

        Raises:
            InputError: it was not decoded.
        """
        if corpus not in self.corpora:
            raise InputError(f"lacks the {self.part} part of {corpus}", self.folder / DECODE, REDECODE)
        return self.corpora[corpus]

    def of(self, corpus: str, utterances: Sequence[str], classes: Sequence[str]) -> np.ndarray:
        """Posteriors of a corpus.

        Args:
            corpus: that was decoded.
            utterances: all that there are, in the order wanted.
            classes: of the posteriors.

        Returns:
            float32, (utterances, classes).

        Raises:
            InputError: absent, cut short, or of other utterances or classes.
        """
        if self.entry(corpus)["classes"] != list(classes):
            raise InputError(f"{corpus}: of other classes than {', '.join(classes)}", self.path, REDECODE)
        found = self.rows[corpus]
        if odd := sorted(found.keys() ^ set(utterances)):
            raise InputError(f"{odd[0]} is in only one of it and the {self.part} part", self.path, REDECODE)
        if short := [key for key in utterances if found[key].shape != (len(classes),)]:
            raise InputError(f"{short[0]}: no posterior for each of {', '.join(classes)}", self.path, REDECODE)
        return np.stack([found[key] for key in utterances])


def read_posteriors(folder: Path, part: str) -> Posteriors:
    """What was decoded of a part, whose archive is as it was written.

    Args:
        folder: the experiment's.
        part: train, valid or test.

    Raises:
        InputError: it was not decoded, or what is there has been changed since.
    """
    path, found = folder / DECODE, _entries(folder).get(part)
    if found is None:
        raise InputError(f"lacks the {part} part", path, REDECODE)
    check_file(posteriors_path(folder, part), found["sha256"], REDECODE)
    for corpus, entry in found["corpora"].items():
        if not entry["classes"] or len(set(entry["classes"])) < len(entry["classes"]):
            raise InputError(f"{corpus}: classes = {entry['classes']}, expected different names", path, REDECODE)
    return Posteriors(folder, part, found["corpora"])


def write_posteriors(
    folder: Path, part: str, decoded: Mapping[str, tuple[DecodedCorpus, Iterable[tuple[str, np.ndarray]]]]
) -> None:
    """Put posteriors of corpora into the archive of a part, and, last, what they were decoded with into decode.json.

    Other corpora of the part stay, unless they are damaged, so that they are decoded again.

    Args:
        folder: the experiment's.
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
