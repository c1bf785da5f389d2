"""Stand-ins of noise for the paper's four corpora, and a recipe whose grid has one temporal block and one pooling."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import programs
import pytest
from conftest import ROOT
from made import PREPARER, PROTOCOL, write_corpus

from ser.corpora import read_protocol
from ser.corpora.prepare import prepare_corpus
from ser.corpora.preparers import load_preparer
from ser.grid import Grid, Places, open_grid
from ser.grid import features as stages
from ser.grid.run import Runner

# Corpus -> speakers and splits; TESS is never tested.
GROUPS = "{groups: [[%s1], [%s2], [%s3], [%s4]]}"
CORPORA = {
    "iemocap": (4, GROUPS.replace("%s", "iemocap")),
    "tess": (2, "{train: [tess1], valid: [tess2], test: []}"),
    "ravdess": (4, GROUPS.replace("%s", "ravdess")),
    "customer_ptbr": (4, GROUPS.replace("%s", "customer")),
}
GRID = """
corpora: [iemocap, tess, ravdess, customer_ptbr]
combinations: all
task: [multi, unified]
temporal: [lstm]
pooling: [mu]
"""
PRESET = """
split: strict
batches: {batch_size: 8}
network: {prep_size: 16, lstm: {hidden_size: 8}, tdnn: {size: 16, layers: 2}}
training: {learning_rate: 1.0e-2, steps_per_epoch: 4, max_epochs: 2, precision: float32, threads: 1}
augment: {copies: 1, kinds: [volume]}
"""
RUN = """#!/usr/bin/env bash
set -euo pipefail
recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
made=$(dirname "$recipe")
export IEMOCAP=$made/iemocap TESS=$made/tess RAVDESS=$made/ravdess CUSTOMER_PTBR=$made/customer_ptbr
exec 'ROOT/steps/grid.sh' --recipe "$recipe" --preset tiny --dump "$recipe/dump" "$@"
"""


@dataclass(frozen=True)
class StandIns:
    """A recipe folder and four corpora; each test has its own folder of experiments."""

    root: Path
    exp: Path

    @property
    def places(self) -> Places:
        recipe = self.root / "a recipe"
        return Places(recipe, recipe / "data", recipe / "dump", self.exp)

    @property
    def recipe(self) -> Path:
        return self.root / "a recipe"

    def grid(self, *overrides: str, only: Sequence[str] = ("tess", "ravdess"), **options: Sequence[int]) -> Grid:
        return open_grid(self.places, "tiny", overrides, only=only, **{"folds": (1,), **options})

    def start(self, command: str, *options: str, **more: object) -> programs.Program:
        """Start steps/grid.py, by default on fold 1 of TESS and RAVDESS."""
        places = self.places
        named = [("preset", "tiny"), ("only", "tess,ravdess"), ("folds", "1"), ("recipe", places.recipe)]
        named += [("data", places.data), ("dump", places.dump), ("exp", places.exp)]
        words = [str(word) for name, value in named for word in (f"--{name}", value)]
        return programs.start(ROOT / "steps" / "grid.py", command, *words, *options, **more)

    def run(self, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run run.sh of the recipe as a user does."""
        environment = {**os.environ, "SER_ENV": programs.environment(), **variables}
        place = [] if self.exp == self.recipe / "exp" else ["--exp", str(self.exp)]
        return subprocess.run(
            [self.recipe / "run.sh", *place, *options], env=environment, cwd=self.root, capture_output=True, text=True
        )


def wait_for(what: Callable[[], object]) -> None:
    end = time.monotonic() + 300
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def grid_of_readings(root: Path, names: Sequence[str], sets: str, only: Sequence[str] = (), name: str = "made") -> Grid:
    """Make a grid of one configuration whose corpora are variants of RAVDESS, with a value of `combinations`."""
    for folder in ("corpora", "grids"):
        (root / "conf" / folder).mkdir(parents=True, exist_ok=True)
    for corpus in names:
        (root / "conf" / "corpora" / f"{corpus}.yaml").write_text(f"base: ravdess\nname: {corpus}\n")
    text = f"corpora: [{', '.join(names)}]\ncombinations: {sets}\ntask: [multi]\ntemporal: [lstm]\npooling: [mu]\n"
    (root / "conf" / "grids" / f"{name}.yaml").write_text(text)
    return open_grid(Places(root, root / "data", root / "dump", root / "exp"), "strict", (), name, only)


def make(root: Path) -> None:
    """Write the corpora and the recipe, without preparing them."""
    recipe = root / "a recipe"
    for folder in ("local", "conf/corpora", "conf/grids", "conf/presets"):
        (recipe / folder).mkdir(parents=True)
    for seed, (corpus, (speakers, split)) in enumerate(CORPORA.items()):
        (recipe / "local" / f"prepare_{corpus}.py").write_text(PREPARER)
        (recipe / "conf" / "corpora" / f"{corpus}.yaml").write_text(PROTOCOL.format(corpus=corpus, split=split))
        short = corpus.partition("_")[0]
        write_corpus(root / corpus, [f"{short}{i}" for i in range(1, speakers + 1)], 3, seed)
    (recipe / "conf" / "grids" / "paper.yaml").write_text(GRID)
    (recipe / "conf" / "presets" / "tiny.yaml").write_text(PRESET)
    (recipe / "run.sh").write_text(RUN.replace("ROOT", str(ROOT)))
    (recipe / "run.sh").chmod(0o755)


def prepare_all(stand_ins: StandIns) -> None:
    """Run stages 1 to 3 on fold 1."""
    places = stand_ins.places
    for corpus in CORPORA:
        protocol, preparer = read_protocol(corpus, places.recipe), load_preparer(corpus, places.recipe)
        prepare_corpus(preparer, protocol, stand_ins.root / corpus, places.data / corpus, allow_partial=False)
    grid = stand_ins.grid(only=())
    stages.prepare_grid(grid)
    stages.compute(grid, 1, 1)
    stages.finish(grid)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder after stages 1 to 3; tests must not write into it."""
    root = tmp_path_factory.mktemp("stand ins")
    make(root)
    prepare_all(StandIns(root, root / "exp"))
    return root


@pytest.fixture(scope="session")
def finished(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> StandIns:
    """The stand-ins after all experiments of TESS and RAVDESS; tests must not write into them."""
    made = StandIns(prepared, tmp_path_factory.mktemp("finished") / "exp")
    assert Runner(made.grid(), "first").shard(1) == []
    return made
