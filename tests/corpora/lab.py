"""A lab's own corpus, as tables and recordings, for tests of the preparers csv and kaldi and of small own preparers."""

from pathlib import Path

import numpy as np
import soundfile
import yaml
from conftest import Corpus

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


class Lab(Corpus):
    """A recipe folder with conf/corpora/lab.yaml, and a folder of tables and recordings."""

    def __init__(self, root: Path, preparer: str) -> None:
        super().__init__(root, "lab", preparer)
        self.write()

    def write(self, **changes: object) -> None:
        self.protocol_path.write_text(yaml.safe_dump({**VALUES, "preparer": self.preparer, **changes}, sort_keys=False))

    def write_preparer(self, code: str) -> None:
        (self.recipe / "local").mkdir(exist_ok=True)
        (self.recipe / "local" / "prepare_lab.py").write_text(code)

    def table(self, name: str, *lines: str, end: str = "\n", encoding: str = "utf-8") -> Path:
        path = self.corpus / name
        path.write_bytes("".join(line + end for line in lines).encode(encoding))
        return path

    def noise(self, name: str, samples: int = 4000, rate: int = 8000, channels: int = 1, **options: str) -> np.ndarray:
        """Write noise that depends on the name; returns the samples as a reader gets them, (samples, channels)."""
        path = self.corpus / name
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(list(name.encode())).uniform(-0.3, 0.3, (samples, channels))
        soundfile.write(path, values, rate, **options)
        return soundfile.read(path, dtype="float32", always_2d=True)[0]
