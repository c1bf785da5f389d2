"""A lab's own corpus, as tables and recordings: what the tests of the preparers that need no code start from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import programs
import pytest
import soundfile
import yaml
from conftest import ROOT

from ser.common import InputError
from ser.corpora import Protocol, read_protocol
from ser.corpora.check import check_corpus
from ser.corpora.prepare import prepare_corpus
from ser.corpora.preparers import load_preparer

LABELS = ("angry", "happy", "neutral", "sad")
VALUES = {
    "name": "Lab",
    "description": "noise",
    "licence": "none",
    "citation": "none",
    "source": "the lab",
    "language": "pt",
    "classes": list(LABELS),
    "labels": {**{name: name for name in LABELS}, "Raiva": "angry", "other": None},
    "drop": {},
    "expected": {},
    "splits": {"strict": {"groups": "speakers"}},
}


@dataclass
class Lab:
    """A recipe folder with conf/corpora/lab.yaml, and a folder of tables and recordings."""

    root: Path
    preparer: str

    def __post_init__(self) -> None:
        self.corpus.mkdir(parents=True)
        self.write()

    @property
    def corpus(self) -> Path:
        return self.root / "corpus"

    @property
    def out(self) -> Path:
        return self.root / "data" / "lab"

    @property
    def recipe(self) -> Path:
        return self.root / "recipe"

    def write(self, **changes: object) -> None:
        path = self.recipe / "conf" / "corpora" / "lab.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump({**VALUES, "preparer": self.preparer, **changes}, sort_keys=False))

    def table(self, name: str, *lines: str, end: str = "\n", encoding: str = "utf-8") -> Path:
        path = self.corpus / name
        path.write_bytes("".join(line + end for line in lines).encode(encoding))
        return path

    def noise(self, name: str, samples: int = 4000, rate: int = 8000, channels: int = 1, **options: str) -> np.ndarray:
        """Write noise, another for each name, and give back what a reader finds, (samples, channels)."""
        path = self.corpus / name
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(list(name.encode())).uniform(-0.3, 0.3, (samples, channels))
        soundfile.write(path, values, rate, **options)
        return soundfile.read(path, dtype="float32", always_2d=True)[0]

    @property
    def protocol(self) -> Protocol:
        return read_protocol("lab", self.recipe)

    def prepare(
        self, allow_partial: bool = False, allow_pipes: bool = False, corpus: Path | None = None, **options: Any
    ) -> str:
        given = (corpus or self.corpus, self.out, allow_partial, allow_pipes)
        return prepare_corpus(load_preparer(self.preparer, self.recipe), self.protocol, *given, **options)

    def check(self) -> tuple[str, bool]:
        return check_corpus(load_preparer(self.preparer, self.recipe), self.protocol, self.corpus)

    def refused(self, *words: object, **options: bool) -> str:
        """The error of a preparation, which names every word, and leaves nothing behind."""
        with pytest.raises(InputError) as caught:
            self.prepare(**options)
        message = str(caught.value)
        for word in words:
            assert str(word) in message
        assert [path.name for path in self.out.parent.glob("*")] == []
        return message

    def command(self, *options: object, corpus: Path | None = None) -> CompletedProcess[str]:
        """steps/prepare.py as a user runs it, without a folder to write."""
        return programs.run(
            ROOT / "steps" / "prepare.py", "--recipe", self.recipe, "lab", corpus or self.corpus, *options
        )
