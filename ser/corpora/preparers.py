"""Find local/prepare_<corpus>.py: the recipe's own before the toolkit's."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ser.common import InputError
from ser.config import find
from ser.corpora.utterance import Utterance


@dataclass(frozen=True)
class Preparer:
    """What a preparer module offers.

    Attributes:
        utterances: corpus folder -> its utterances.
        download: makes the corpus folder complete, or None where a person has to fetch it.
        path: the module's file.
    """

    utterances: Callable[[Path], Iterator[Utterance]]
    download: Callable[[Path], None] | None
    path: Path


def load_preparer(corpus: str, recipe: Path | None = None) -> Preparer:
    """Load a preparer by the name of its corpus.

    Raises:
        InputError: there is none, or it has no function `utterances`.
    """
    path = find(f"local/prepare_{corpus}.py", recipe)
    # A preparer may import modules that lie beside it.
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "utterances"):
        raise InputError(f"{path}: has no function utterances(corpus_dir)")
    return Preparer(module.utterances, getattr(module, "download", None), path)
