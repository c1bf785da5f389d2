"""The new parts that CONTRIBUTING.md describes: each is one file and one registry line."""

import json
import shutil

import numpy as np
import pytest
import torch
from made import Made, interrupt, trainer_of
from scored import recorded_again

from ser.common import InputError
from ser.config import registry
from ser.config.metrics import scores
from ser.features import FeatureStore
from ser.findings.ledger.target import read_curve_rows
from ser.frontends import build_frontend
from ser.nets.evaluate import log_posteriors
from ser.scoring.decode import Decoder
from ser.scoring.files import read_result
from ser.scoring.result import score_experiment
from ser.scoring.results_table import read_results, results_table
from ser.training import Trainer
from ser.training.checkpoint import load_tensors

FRONTEND = '''
import numpy as np

from ser.frontends.base import Frontend


class Energies(Frontend):
    """Log energy of frames of 25 ms, and its difference from the mean of the utterance."""

    name = "energies"
    storage = "float32"
    sampling_rate = 8000
    frame_shift = 80
    frame_length = shortest = 200
    dim = 2

    def __init__(self, features, settings):
        pass

    def identity(self):
        return {"frontend": "energies"}

    def num_frames(self, num_samples):
        return max(0, 1 + (num_samples - 200) // 80)

    def extract(self, samples):
        frames = np.lib.stride_tricks.sliding_window_view(samples, 200)[::80]
        energies = np.log(np.square(frames).mean(1) + 1e-10)
        return np.stack([energies, energies - energies.mean()], axis=1).astype(np.float32)
'''

NETWORK = '''
import torch
from torch import nn


class Smooth(nn.Module):
    """A moving average over three frames, then a linear layer."""

    def __init__(self, in_size, out_size):
        super().__init__()
        self.linear = nn.Linear(in_size, out_size)
        self.out_size = out_size

    def forward(self, x, lengths):
        return self.linear(nn.functional.avg_pool1d(x.transpose(1, 2), 3, 1, 1).transpose(1, 2))


class Greatest(nn.Module):
    """The greatest value of each feature over the frames of an utterance."""

    def __init__(self, size):
        super().__init__()
        self.out_size = size

    def forward(self, x, lengths):
        padding = torch.arange(x.shape[1]) >= lengths[:, None]
        return x.float().masked_fill(padding[..., None], float("-inf")).amax(1)


def smooth(in_size, config):
    return Smooth(in_size, config.lstm.hidden_size)
'''

LOSS = '''
import torch
from torch import nn


class Squared(nn.Module):
    """Weighted squared error of the posteriors, of logits with a learned scale."""

    def __init__(self, config):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, logits, target_probabilities, class_weights):
        w = class_weights * target_probabilities
        error = ((self.scale * logits).softmax(1) - target_probabilities).square().sum(1)
        return (w.sum(1) * error).sum() / w.sum()
'''

METRIC = """
import numpy as np

from ser.common.metrics import ConfusionMetric, Metric


def brier(posteriors, targets):
    return float(np.square(posteriors - np.eye(posteriors.shape[1])[targets]).sum(1).mean())


def least(confusion):
    return float((np.diag(confusion) / confusion.sum(1)).min())


BRIER = Metric("Brier", brier, percent=False)
LEAST = ConfusionMetric("least recall", least)
NOWHERE = Metric("nowhere", lambda posteriors, targets: float("nan"))
"""


@pytest.fixture
def add(tmp_path, monkeypatch):
    """A function that writes own_parts.py and registers its attributes."""

    def add_parts(text, **entries):
        (tmp_path / "own_parts.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(__import__("sys").modules, "own_parts", raising=False)
        for name, (known, attribute) in entries.items():
            monkeypatch.setitem(known, name, f"own_parts:{attribute}")

    return add_parts


def epochs(folder):
    return [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]


def test_a_front_end(made, tmp_path, add):
    add(FRONTEND, energies=(registry.FRONTENDS, "Energies"))
    for name in ("recipe", "data"):
        shutil.copytree(made.root / name, tmp_path / name, symlinks=True)
    own = Made(tmp_path)
    experiment = own.experiment("frontend.name=energies", "training.max_epochs=1")
    for corpus in experiment.corpora:
        store = FeatureStore(own.dump, own.data_root / corpus, build_frontend(experiment))
        store.compute(1, 1)
        store.finish()
        store.link()
    trainer = trainer_of(own, tmp_path / "cell", "frontend.name=energies", "training.max_epochs=1")
    trainer.run()
    assert trainer.network.mean.shape == (2,)
    (row,) = epochs(tmp_path / "cell")
    assert np.isfinite(row["valid_loss"])
    with pytest.raises(InputError, match=r"batches\.vtlp"):
        own.experiment("frontend.name=energies", "batches.vtlp=0.1")


def test_a_temporal_block_and_a_pooling(made, tmp_path, add):
    add(NETWORK, smooth=(registry.TEMPORAL, "smooth"), greatest=(registry.POOLING, "Greatest"))
    trainer = trainer_of(
        made,
        tmp_path / "cell",
        *("temporal=smooth", "pooling=greatest", "training.max_epochs=20"),
        *("training.learning_rate=3e-3", "network.dropout=0", "network.prep_dropout=0"),
    )
    assert type(trainer.network.temporal).__name__ == "Smooth"
    trainer.run()
    rows = epochs(tmp_path / "cell")
    assert rows[-1]["train_loss"]["one"] < 0.8 * rows[0]["train_loss"]["one"]
    assert rows[-1]["valid"]["one"]["ua"] > 0.5
    batch = trainer._batch(0)
    with torch.no_grad():
        logits = trainer.network(batch.features, batch.lengths, "one", "one")
    assert logits.shape == (8, 4)


def test_a_loss_with_parameters_of_its_own(made, tmp_path, add):
    """The loss is trained with the network, monitored on validation, and resumed exactly after an interruption."""
    add(LOSS, squared=(registry.LOSS, "Squared"))
    whole = trainer_of(made, tmp_path / "whole", "training.loss=squared")
    whole.run()
    scale = whole.loss.scale.item()
    assert scale != 1.0
    last = epochs(tmp_path / "whole")[-1]["valid"]["one"]
    view = whole.valid["one"]
    logits = torch.from_numpy(log_posteriors(whole.network, view, "one", torch.device("cpu"))).double()
    truth = torch.nn.functional.one_hot(torch.from_numpy(view.part.targets), 4)
    errors = ((scale * logits).softmax(1) - truth).square().sum(1)
    assert last["loss"] == pytest.approx(float(errors.mean()), abs=1e-6)  # equal class counts, so equal weights

    first = trainer_of(made, tmp_path / "parts", "training.loss=squared")
    interrupt(first, 7)
    assert "loss.scale" in load_tensors(tmp_path / "parts/checkpoint.safetensors")[0]
    second = trainer_of(made, tmp_path / "parts", "training.loss=squared")
    second.run()
    assert second.loss.scale.item() == scale
    assert epochs(tmp_path / "parts") == epochs(tmp_path / "whole")


@pytest.fixture
def decoded(made, tmp_path):
    """A function that trains and decodes an experiment of one epoch; returns its data and folder."""
    experiment = made.experiment("training.max_epochs=1")
    data = made.open(experiment)
    folder = tmp_path / "exp" / experiment.folder

    def make():
        folder.mkdir(parents=True)
        trainer = Trainer(experiment, folder, data.heads, data.parts("train"), data.parts("valid"), data.hashes())
        trainer.run()
        decoder = Decoder(experiment, folder)
        for part in data.parts("test").values():
            decoder.decode(part.name, {part.corpus: part})
        return data, folder

    return make


def cells_of(folder):
    """Heading -> cell of the only row of the table of results."""
    lines = results_table(read_results([folder.parents[2]]), "x", "./run.sh").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return dict(zip(rows[0], rows[2], strict=True))


METRICS = {"brier": (registry.METRICS, "BRIER"), "least": (registry.METRICS, "LEAST")}


def test_a_metric_of_posteriors_and_one_of_the_confusion_matrix(tmp_path, add, decoded):
    add(METRIC, **METRICS, nowhere=(registry.METRICS, "NOWHERE"))
    data, folder = decoded()
    found = score_experiment(data, folder, "test")["targets"]["one"]
    confusion = np.array(found["confusion"])
    assert found["least"] == pytest.approx((np.diag(confusion) / confusion.sum(1)).min())
    assert 0 < found["brier"] < 2
    assert "nowhere" not in found  # where it is not defined
    assert scores(confusion).keys() == {"wa", "ua", "macro_f1", "least", "n"}  # of answers without posteriors
    (row,) = epochs(folder)
    assert {"brier", "least", "wa", "ua", "macro_f1"} < row["valid"]["one"].keys()
    assert "Brier" in (folder / "train.log").read_text()
    curve = read_curve_rows(folder)[0]
    assert curve["valid_brier"] == row["valid"]["one"]["brier"]
    assert curve["valid_nowhere"] is None
    cells = cells_of(folder)
    assert (cells["Brier"], cells["least recall %"]) == (f"{found['brier']:.3f}", f"{100 * found['least']:.1f}")
    assert cells["nowhere %"] == ""
    for key, value in (("least", 0.123), ("brier", "x")):
        text = (folder / "result.json").read_text()
        recorded_again(folder / "result.json", targets={"one": {**found, key: value}})
        with pytest.raises(InputError, match=rf"targets\.one.* ?{key}"):
            read_result(folder / "result.json")
        (folder / "result.json").write_text(text)


def test_a_result_that_is_older_than_a_metric_has_an_empty_cell(tmp_path, add, decoded):
    data, folder = decoded()
    score_experiment(data, folder, "test")
    before = cells_of(folder)
    add(METRIC, **METRICS)
    after = cells_of(folder)
    assert after == {**before, "Brier": "", "least recall %": ""}
    assert read_curve_rows(folder)[0]["valid_brier"] is None


def test_an_unknown_loss_names_the_nearest(made):
    with pytest.raises(InputError, match="training.loss = 'cross_entropi': did you mean cross_entropy"):
        made.experiment("training.loss=cross_entropi")
