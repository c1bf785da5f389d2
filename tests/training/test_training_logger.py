import json
import os
import re
import signal
import time

import pytest
from made import trainer_of

from ser.common import InputError
from ser.training.engine import Interrupted
from ser.training.training_logger import TrainingLogger, scalars

ROW = {
    "epoch": 3,
    "step": 12,
    "train_loss": {"one": 1.5, "two": 0.5},
    "valid_loss": 1.25,
    "valid": {"one": {"loss": 1.0, "wa": 0.5, "ua": 0.625, "macro_f1": 0.4}},
    "best_epoch": 2,
    "num_bad_epochs": 1,
}


def test_scalars_of_a_row():
    assert scalars(ROW) == {
        "loss/train_one": 1.5,
        "loss/train_two": 0.5,
        "loss/valid": 1.25,
        "loss/valid_one": 1.0,
        "wa/valid_one": 0.5,
        "ua/valid_one": 0.625,
        "macro_f1/valid_one": 0.4,
    }


def test_the_bar_shows_loss_validation_and_time_left(made, tmp_path, monkeypatch, capsys):
    config = made.experiment("training.patience=20", "training.max_epochs=10").training
    monkeypatch.setattr("ser.common.progress.terminal", lambda: __import__("sys").stderr)
    with TrainingLogger(tmp_path, config, [ROW] * 3, [60.0, 600.0, 90.0]).epoch_bar(4, 1) as bar:
        bar.step(2.0)
        bar.step(1.0)
        bar.refresh()
    shown = capsys.readouterr().err
    # the 7 epochs up to max_epochs come before the 19 of patience: 7 x 90 s, the median
    assert re.search(r"epoch 4:.* 3/4 .*loss 1.500, one UA 62.5, 10 min left", shown)


def test_tensorboard_gets_every_epoch_once_also_after_an_interruption(made, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = trainer_of(made, tmp_path, "training.tensorboard=true")
    validate = trainer._validate

    def interrupting(epoch):
        validate(epoch)
        if epoch == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    trainer._validate = interrupting
    with pytest.raises(Interrupted):
        trainer.run()
    trainer_of(made, tmp_path, "training.tensorboard=true").run()
    rows = [json.loads(line) for line in (tmp_path / "epochs.jsonl").read_text().splitlines()]
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    assert set(events.Tags()["scalars"]) == set(scalars(rows[0]))
    for name in ("loss/valid", "ua/valid_one"):
        logged = [(event.step, event.value) for event in events.Scalars(name)]
        assert logged == [(row["epoch"], pytest.approx(scalars(row)[name], rel=1e-6)) for row in rows]


def test_wandb_offline_gets_every_epoch(made, tmp_path):
    pytest.importorskip("wandb")
    trainer = trainer_of(made, tmp_path, "training.wandb=offline")
    trainer.run()
    (run,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    end = time.monotonic() + 60  # its own process writes the rest, at times after the training has ended
    while b"ua/valid_one" not in (content := run.read_bytes()) and time.monotonic() < end:
        time.sleep(0.1)
    assert b"ua/valid_one" in content
    assert b"loss/valid" in content


def test_without_the_package_tensorboard_is_an_error(made, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match="tensorboard is not installed; `pip install tensorboard`"):
        trainer_of(made, tmp_path, "training.tensorboard=true").run()
