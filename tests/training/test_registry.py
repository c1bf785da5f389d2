"""What CONTRIBUTING.md says of new parts: one file and one registry entry each."""

import json

import pytest
import torch
from made import trainer_of

from ser.common import InputError
from ser.config import registry

FILE = '''
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
    return Smooth(in_size, config.hidden_size)


def squared(logits, targets, weights):
    """Weighted squared error of the posteriors."""
    w = weights * targets
    return (w.sum(1) * (logits.softmax(1) - targets).square().sum(1)).sum() / w.sum()
'''


def test_a_block_a_pooling_and_a_loss_of_ones_own(made, tmp_path, monkeypatch):
    (tmp_path / "own_parts.py").write_text(FILE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(registry.TEMPORAL, "smooth", "own_parts:smooth")
    monkeypatch.setitem(registry.POOLING, "greatest", "own_parts:Greatest")
    monkeypatch.setitem(registry.LOSS, "squared", "own_parts:squared")
    trainer = trainer_of(
        made,
        tmp_path / "cell",
        *("temporal=smooth", "pooling=greatest", "training.loss=squared", "training.max_epochs=20"),
        *("training.learning_rate=3e-3", "network.dropout=0", "network.prep_dropout=0"),
    )
    assert type(trainer.network.temporal).__name__ == "Smooth"
    trainer.run()
    rows = [json.loads(line) for line in (tmp_path / "cell/epochs.jsonl").read_text().splitlines()]
    assert rows[-1]["train_loss"]["one"] < 0.8 * rows[0]["train_loss"]["one"]
    assert rows[-1]["valid"]["one"]["ua"] > 0.5
    batch = trainer._batch(0)
    with torch.no_grad():
        logits = trainer.network(batch.features, batch.lengths, "one", "one")
    assert logits.shape == (8, 4)


def test_an_unknown_loss_names_the_nearest(made):
    with pytest.raises(InputError, match="training.loss = 'cross_entropi': did you mean cross_entropy"):
        made.experiment("training.loss=cross_entropi")
