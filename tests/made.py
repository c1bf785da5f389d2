"""A recipe with two small made corpora, prepared and with features, for the tests of later packages."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ser.batches import Data, open_data
from ser.config import Experiment, load
from ser.corpora.prepare import prepare_corpus
from ser.corpora.preparers import load_preparer
from ser.corpora.protocol import read_protocol
from ser.features import FeatureStore
from ser.frontends import build_frontend
from ser.training import Trainer
from ser.training.engine import Interrupted

CLASSES = ("angry", "happy", "neutral", "sad")

PREPARER = """
import re
from ser.corpora import Utterance, audio_files

def utterances(corpus_dir, issues):
    for path, match in audio_files(corpus_dir, re.compile(r"(\\w+)_(\\w+)_(\\d+)\\.wav"), issues):
        gender = "fm"[int(match[1][-1]) % 2]
        votes = {match[2]: 2, "sad": 1, "elsewhere": 3}
        yield Utterance(f"{match[1]}-{match[2]}-{match[3]}", path, match[1], match[2], gender, custom={"votes": votes})
"""

PROTOCOL = """
name: {corpus}
description: noise
licence: none
citation: none
source: none
language: none
classes: [angry, happy, neutral, sad]
labels: {{angry: angry, happy: happy, neutral: neutral, sad: sad}}
drop: {{}}
expected: {{}}
splits:
  strict: {split}
"""

SPLITS = {
    "one": "{groups: [[one1], [one2], [one3], [one4]]}",
    "two": "{train: [two1], valid: [two2], test: []}",
}


@dataclass(frozen=True)
class Made:
    """Folders of a recipe whose stages 1 and 3 have run."""

    root: Path

    @property
    def recipe(self) -> Path:
        return self.root / "recipe"

    @property
    def data_root(self) -> Path:
        return self.root / "data"

    @property
    def dump(self) -> Path:
        return self.root / "dump"

    def experiment(self, *overrides: str, corpora: str = "one,two") -> Experiment:
        small = [
            "network.prep_size=16",
            "network.lstm.hidden_size=8",
            "network.tdnn.size=16",
            "network.tdnn.layers=2",
            "batches.batch_size=8",
            "training.steps_per_epoch=4",
            "training.max_epochs=3",
            "training.precision=float32",
            "training.threads=1",
            "augment.copies=0",
        ]
        return load("strict", self.recipe, [f"corpora=[{corpora}]", *small, *overrides])

    def prepare(self, corpus: str) -> None:
        """Stage 1."""
        preparer, protocol = load_preparer(corpus, self.recipe), read_protocol(corpus, self.recipe)
        prepare_corpus(preparer, protocol, self.root / corpus, self.data_root / corpus, allow_partial=False)

    def store(self, *overrides: str, corpus: str = "two") -> FeatureStore:
        return FeatureStore(self.dump, self.data_root / corpus, build_frontend(self.experiment(*overrides)))

    def open(self, experiment: Experiment) -> Data:
        return open_data(experiment, self.recipe, self.data_root, self.dump)


def filled(store: FeatureStore) -> FeatureStore:
    """Compute the features of a store as stage 3 does, without the links of data dirs."""
    store.compute(1, 1)
    store.finish()
    return store


def trainer_of(made: Made, folder: Path, *overrides: str, corpora: str = "one,two", hashes=None, keep=False) -> Trainer:
    experiment = made.experiment(*overrides, corpora=corpora)
    data = made.open(experiment)
    folder.mkdir(exist_ok=True)
    parts = data.parts("train"), data.parts("valid")
    return Trainer(experiment, folder, data.heads, *parts, hashes or {"data_hash": "f"}, keep_checkpoint=keep)


def interrupt(trainer: Trainer, step: int, number: int = signal.SIGTERM) -> Interrupted:
    """Run a training that gets a signal during an update, and stops after that update."""
    update = trainer._update

    def interrupting(batch: Any) -> Any:
        if trainer.step == step - 1:
            os.kill(os.getpid(), number)
        return update(batch)

    trainer._update = interrupting
    with pytest.raises(Interrupted) as caught:
        trainer.run()
    return caught.value


def write_corpus(folder: Path, speakers: list[str], each: int, seed: int) -> None:
    """Write a corpus of noise of 0.2 to 0.5 s at 8 kHz, whose colour and level depend on the class."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for speaker in speakers:
        for index, emotion in enumerate(CLASSES):
            for number in range(each):
                noise = rng.standard_normal(int(rng.integers(1600, 4000)))
                smooth = np.convolve(noise, np.ones(index + 1) / (index + 1), "same") * 0.03 * (4 - index)
                soundfile.write(folder / f"{speaker}_{emotion}_{number:02d}.wav", smooth, 8000)


def make(root: Path) -> Made:
    made = Made(root)
    (made.recipe / "local").mkdir(parents=True)
    (made.recipe / "conf" / "corpora").mkdir(parents=True)
    for seed, (corpus, split) in enumerate(SPLITS.items()):
        (made.recipe / "local" / f"prepare_{corpus}.py").write_text(PREPARER)
        (made.recipe / "conf" / "corpora" / f"{corpus}.yaml").write_text(PROTOCOL.format(corpus=corpus, split=split))
        number = 4 if corpus == "one" else 2
        write_corpus(root / corpus, [f"{corpus}{i}" for i in range(1, number + 1)], 3, seed)
        made.prepare(corpus)
        filled(made.store(corpus=corpus)).link()
    return made


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The recipe, shared by all tests, which must not write into it."""
    return make(tmp_path_factory.mktemp("made"))


@pytest.fixture
def own_made(made: Made, tmp_path: Path) -> Made:
    """A copy of the corpora and the recipe, without data and features, which tests may change."""
    for name in ("recipe", *SPLITS):
        shutil.copytree(made.root / name, tmp_path / name)
    return Made(tmp_path)


@pytest.fixture
def two(own_made: Made) -> Made:
    """The same with corpus two prepared."""
    own_made.prepare("two")
    return own_made
