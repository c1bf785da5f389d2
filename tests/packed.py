"""Trained, decoded and scored experiments and their model packages, for tests of inference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made import Made

from ser import load_model
from ser.config import Experiment, write_experiment
from ser.inference.model import write_sums
from ser.inference.pack import pack
from ser.inference.predict.api import EmotionModel
from ser.scoring.decode import Decoder
from ser.scoring.result import score_experiment
from ser.training import Trainer


def finish(made: Made, root: Path, experiment: Experiment) -> Path:
    """Run stages 4 to 6; returns the folder of the experiment below root/exp."""
    data, folder = made.open(experiment), root / "exp" / experiment.folder
    folder.mkdir(parents=True)
    write_experiment(experiment, folder / "config.yaml")
    Trainer(experiment, folder, data.heads, data.parts("train"), data.parts("valid"), data.hashes()).run()
    Decoder(experiment, folder).decode_parts(data, "test")
    score_experiment(data, folder, "test")
    return folder


def edit(model: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the content of model.json in a model package."""
    path = model / "model.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    write_sums(model)


@pytest.fixture(scope="session")
def packed_with(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, Path]]:
    """A factory: settings -> (folder of the experiment, model package), which tests must not write into."""
    found: dict[tuple[str, ...], tuple[Path, Path]] = {}

    def make(*overrides: str, corpora: str = "one,two") -> tuple[Path, Path]:
        key = (*overrides, corpora)
        if key not in found:
            root = tmp_path_factory.mktemp("packed")
            folder = finish(made, root, made.experiment("training.max_epochs=1", *overrides, corpora=corpora))
            pack(folder, root / "model", made.recipe, made.data_root, made.dump)
            found[key] = folder, root / "model"
        return found[key]

    return make


@pytest.fixture(scope="session")
def packed(packed_with: Callable[..., tuple[Path, Path]]) -> Path:
    """A model package: BLSTM, global normalisation, a head for each of the corpora one and two."""
    return packed_with()[1]


@pytest.fixture(scope="session")
def model(packed: Path) -> EmotionModel:
    """The same, opened."""
    return load_model(packed)
