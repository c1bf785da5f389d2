"""Prepare the real corpora of the benchmarks, and compute their features."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ser.config import load
from ser.corpora import prepare
from ser.corpora.preparers import load_preparer
from ser.corpora.protocol import read_protocol
from ser.features import FeatureStore
from ser.frontends import build_frontend

ROOT = Path(__file__).resolve().parents[2]


def place_of(corpus: str) -> Path:
    """Return the folder of a corpus, which the environment names."""
    given = os.environ.get(corpus.upper())
    place = Path(given) if given else ROOT.parent / "shared" / "corpora" / corpus
    if not place.is_dir():
        sys.exit(f"error: {place}: no {corpus.upper()} there; set {corpus.upper()}=<folder of the corpus>")
    return place


def prepare_corpus(corpus: str, data_root: Path) -> Path:
    """Prepare a corpus; returns its folder below `data_root`."""
    prepare.prepare_corpus(
        load_preparer(corpus), read_protocol(corpus), place_of(corpus), data_root / corpus, allow_partial=True
    )
    return data_root / corpus


def prepared(folder: Path, corpora: Sequence[str]) -> tuple[Path, Path]:
    """Prepare corpora below a folder and compute their features; returns the roots of data and of features."""
    settings = load("strict", None, [f"corpora=[{','.join(corpora)}]"])
    for corpus in corpora:
        data_dir = prepare_corpus(corpus, folder / "data")
        store = FeatureStore(folder / "dump", data_dir, build_frontend(settings))
        store.compute(1, 1)
        store.finish()
    return folder / "data", folder / "dump"
