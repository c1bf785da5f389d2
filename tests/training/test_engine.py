import errno
import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made import interrupt, trainer_of

from ser.common import InputError, read_json
from ser.nets.evaluate import log_posteriors
from ser.training import Trainer, checkpoint
from ser.training.checkpoint import load_tensors
from ser.training.engine import REQUEUE


def outcome(folder):
    tensors, meta = load_tensors(folder / "model.safetensors")
    return tensors, meta, (folder / "epochs.jsonl").read_text()


def assert_same(one, two):
    assert one[1:] == two[1:]
    assert one[0].keys() == two[0].keys()
    assert all(torch.equal(one[0][name], two[0][name]) for name in one[0])


@pytest.fixture(scope="module")
def straight(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    trainer_of(made, folder).run()
    return outcome(folder)


def test_what_a_training_writes(made, tmp_path):
    trainer = trainer_of(made, tmp_path)
    trainer.run()
    names = ["epochs.jsonl", "model.safetensors", "train.json", "train.log"]
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == names
    rows = [json.loads(line) for line in (tmp_path / "epochs.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["step"] for row in rows] == [4, 8, 12]
    monitored = [sum(v["loss"] for v in row["valid"].values()) / 2 for row in rows]
    assert [row["valid_loss"] for row in rows] == pytest.approx(monitored)
    train = json.loads((tmp_path / "train.json").read_text())
    assert train["updates"] == {"one": 6, "two": 6}
    assert train["chosen_epoch"] == min(range(3), key=monitored.__getitem__) + 1
    assert train["class_counts"] == {"one": [6, 6, 6, 6], "two": [3, 3, 3, 3]}


def test_corpora_alternate_and_updates_are_counted(made, tmp_path):
    trainer = trainer_of(made, tmp_path, "training.steps_per_epoch=5", "training.max_epochs=1")
    assert [trainer._batch(step).corpus for step in range(5)] == ["one", "two", "one", "two", "one"]
    trainer.run()
    assert json.loads((tmp_path / "train.json").read_text())["updates"] == {"one": 3, "two": 2}


def update_counts(folder):
    return json.loads((folder / "train.json").read_text())["updates"]


def updates_on_one(trainer):
    """Train; return utterances and learning rate of each update on corpus `one`."""
    updates = []
    update = trainer._update

    def recorded(batch):
        loss = update(batch)
        if batch.corpus == "one":
            updates.append((list(batch.indices), trainer.optimizer.param_groups[0]["lr"]))
        return loss

    trainer._update = recorded
    trainer.run()
    return updates


def test_a_budget_per_corpus_gives_each_corpus_the_updates_that_it_has_alone(made, tmp_path):
    settings = ("training.budget=per_corpus", "training.schedule=half_linear")
    alone = updates_on_one(trainer_of(made, tmp_path / "alone", *settings, corpora="one"))
    both = updates_on_one(trainer_of(made, tmp_path / "both", *settings))
    assert update_counts(tmp_path / "alone") == {"one": 12}
    assert update_counts(tmp_path / "both") == {"one": 12, "two": 12}
    assert [indices for indices, _ in both] == [indices for indices, _ in alone]
    # Every other one of twice as many steps is at the same place of the schedule.
    assert [rate for _, rate in both] == pytest.approx([rate for _, rate in alone])
    rows = [json.loads(line) for line in (tmp_path / "both" / "epochs.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [8, 16, 24]


@pytest.mark.parametrize(("budget", "updates"), [("total", {"one": 2, "two": 2}), ("per_corpus", {"one": 4, "two": 4})])
def test_early_stopping_counts_epochs_at_any_budget(made, tmp_path, budget, updates):
    trainer_of(made, tmp_path, f"training.budget={budget}", "training.min_delta=1", "training.patience=1").run()
    assert update_counts(tmp_path) == updates


def test_drawn_corpora_share_the_sum_of_their_budgets(made, tmp_path):
    trainer_of(made, tmp_path, "training.budget=per_corpus", "batches.temperature=1").run()
    updates = update_counts(tmp_path)
    assert sum(updates.values()) == 24
    assert updates["one"] != updates["two"]


def test_more_epochs_continue_a_finished_training_to_the_bit(made, tmp_path, straight):
    trainer_of(made, tmp_path, "training.max_epochs=1", keep=True).run()
    (tmp_path / "model.safetensors").unlink()
    longer = trainer_of(made, tmp_path, keep=True)
    longer._restore()
    assert longer.step == 4
    longer.run()
    assert_same(outcome(tmp_path), straight)


def test_a_training_that_has_stopped_early_is_the_same_with_more_epochs_allowed(made, tmp_path):
    early = ("training.min_delta=1", "training.patience=1")
    trainer_of(made, tmp_path, *early, keep=True).run()
    first = outcome(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    trainer_of(made, tmp_path, *early, "training.max_epochs=9", keep=True).run()
    assert outcome(tmp_path)[2] == first[2]
    assert json.loads((tmp_path / "train.json").read_text())["seconds_per_epoch"] > 0


@pytest.mark.parametrize("setting", ["training.schedule=half_linear", "training.adversarial_weight=0.1"])
def test_no_checkpoint_stays_if_updates_depend_on_their_planned_number(made, tmp_path, setting):
    trainer_of(made, tmp_path, setting, keep=True).run()
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_the_same_seed_gives_the_same_training(made, tmp_path, straight):
    trainer_of(made, tmp_path).run()
    assert_same(outcome(tmp_path), straight)


@pytest.mark.parametrize("override", ["seed=1", "fold=2", "task=unified"])
def test_another_seed_fold_or_task_gives_another_training(made, tmp_path, straight, override):
    trainer_of(made, tmp_path, override).run()
    assert outcome(tmp_path)[2] != straight[2]


@pytest.mark.parametrize(
    ("step", "number"),
    [*((step, signal.SIGTERM) for step in (1, 4, 6, 11, 12)), (6, signal.SIGUSR1), (12, signal.SIGINT)],
)
def test_a_signal_writes_a_checkpoint_and_the_rest_is_the_same(made, tmp_path, straight, step, number):
    caught = interrupt(trainer_of(made, tmp_path), step, number)
    assert caught.exit_code == (130 if number == signal.SIGINT else REQUEUE)
    assert not (tmp_path / "model.safetensors").exists()
    again = trainer_of(made, tmp_path)
    again.run()
    assert_same(outcome(tmp_path), straight)


def test_a_checkpoint_with_earlier_names_is_resumed(made, tmp_path, straight):
    interrupt(trainer_of(made, tmp_path), 6)
    path = tmp_path / "checkpoint.safetensors"
    tensors, meta = load_tensors(path)
    older = json.loads(json.dumps(meta).replace("num_bad_epochs", "waited"))
    assert "waited" in older["stopping"]
    checkpoint.save_tensors(path, tensors, older)
    trainer_of(made, tmp_path).run()
    assert_same(outcome(tmp_path), straight)


def test_a_checkpoint_of_other_settings_is_refused(made, tmp_path):
    trainer = trainer_of(made, tmp_path)
    trainer._save()
    with pytest.raises(InputError, match="of other settings, data or split"):
        trainer_of(made, tmp_path, hashes={"data_hash": "g"}).run()


@pytest.mark.parametrize(
    "change",
    [{"stopping": {"x": 1}}, {"stopping": {"best": []}}, {"step": "3"}, {"losses": {}}, {"history": [1]}],
    ids=str,
)
def test_an_invalid_checkpoint_is_refused(made, tmp_path, change):
    trainer = trainer_of(made, tmp_path)
    trainer._save()
    path = tmp_path / "checkpoint.safetensors"
    tensors, meta = load_tensors(path)
    checkpoint.save_tensors(path, tensors, {**meta, **change})
    with pytest.raises(InputError, match=r"checkpoint.safetensors: not of this training .*remove it"):
        trainer_of(made, tmp_path).run()


def test_a_checkpoint_of_a_newer_version_is_refused(made, tmp_path, monkeypatch):
    trainer = trainer_of(made, tmp_path)
    monkeypatch.setattr("ser.common.tensors.FORMAT", 7)
    trainer._save()
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"checkpoint.safetensors: written by a newer version .*format 7.*; update"):
        trainer_of(made, tmp_path).run()


def test_on_a_full_disk_the_last_checkpoint_stays_and_is_resumed(made, tmp_path, straight, monkeypatch):
    trainer = trainer_of(made, tmp_path, "training.checkpoint_seconds=1e-9")
    write, calls = Path.write_bytes, []

    def full(path, data):
        calls.append(path)
        if len(calls) == 7:
            write(path, data[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"checkpoint.safetensors: cannot be written \(No space left on device"):
        trainer.run()
    monkeypatch.undo()
    assert load_tensors(tmp_path / "checkpoint.safetensors")[1]["step"] == trainer.step - 1
    assert not list(tmp_path.glob(".tmp*"))
    trainer_of(made, tmp_path).run()
    assert_same(outcome(tmp_path), straight)


def test_an_archive_that_shrank_meanwhile_is_an_error(made, tmp_path):
    trainer = trainer_of(made, tmp_path)
    reader = trainer.train["one"].part.reader
    (path,) = {path for path, _ in reader.positions.values()}
    short = tmp_path / "short.ark"
    short.write_bytes(Path(path).read_bytes())
    reader.positions = {key: (str(short), offset) for key, (_, offset) in reader.positions.items()}
    trainer.run_steps(2)
    short.write_bytes(Path(path).read_bytes()[:50])
    with pytest.raises(InputError, match=r"short.ark: one\S+: the archive ends within it; run steps/store\.py verify"):
        trainer.run_steps(4)


def test_idle_heads_do_not_move(made, tmp_path):
    trainer = trainer_of(made, tmp_path)
    heads = trainer.network.heads
    for step in range(4):
        before = {name: head.weight.clone() for name, head in heads.items()}
        batch = trainer._batch(step)
        trainer._update(batch)
        for name, head in heads.items():
            assert torch.equal(head.weight, before[name]) == (name != batch.corpus)


def test_weight_decay_and_clipping_reach_adam(made, tmp_path):
    trainer = trainer_of(made, tmp_path, "training.gradient_clip=1e-3")
    assert trainer.optimizer.defaults["weight_decay"] == 2e-5
    trainer._update(trainer._batch(0))
    assert {group["lr"] for group in trainer.optimizer.param_groups if group["params"]} == {3e-4}
    norms = [p.grad.norm() for p in trainer.network.parameters() if p.grad is not None]
    assert torch.stack(norms).norm() == pytest.approx(1e-3, rel=1e-3)


def test_it_stops_after_its_patience(made, tmp_path):
    trainer_of(made, tmp_path, "training.patience=2", "training.min_delta=0.9999", "training.max_epochs=30").run()
    # only the first epoch counts as an improvement
    assert json.loads((tmp_path / "train.json").read_text())["epochs"] == 3


def test_a_loss_that_is_no_number_is_an_error(made, tmp_path):
    trainer = trainer_of(made, tmp_path)
    trainer.network.heads["one"].weight.data.fill_(float("nan"))
    with pytest.raises(
        InputError,
        match="the loss of step 1 is not a number, in a batch of one with one[34]-.*lower training.learning_rate",
    ):
        trainer.run()


def test_a_training_learns(made, tmp_path):
    trainer_of(made, tmp_path, "training.max_epochs=30", "training.learning_rate=3e-3", "network.dropout=0").run()
    last = json.loads((tmp_path / "epochs.jsonl").read_text().splitlines()[-1])
    assert last["valid"]["one"]["ua"] > 0.8


OPTIONS = [
    ["batches.temperature=2"],
    ["training.budget=per_corpus"],
    ["batches.frame_step=2", "batches.trim_decibels=30", "batches.floor_decibels=60", "batches.normalisation=speaker"],
    ["batches.speeds=[0.9,1.1]", "batches.vtlp=0.1", "batches.time_masks=1", "batches.frequency_masks=1"],
    ["training.mixup=0.4", "training.label_smoothing=0.1"],
    ["training.schedule=half_linear", "training.keep=last", "training.average=2"],
    ["training.average=2", "training.class_weights=none", "network.adapter_size=4"],
    ["training.adversarial_weight=0.5"],
    ["training.gender_weight=0.5"],
    ["training.soft_labels=true"],
    ["training.loss=focal", "training.focal_gamma=1"],
    ["temporal=attention", "network.attention.size=8", "network.attention.heads=2"],
    ["temporal=tdnn", "network.tdnn.norm=layer"],
    ["temporal=nin", "network.nin.size=16", "network.nin.hidden=16", "network.nin.blocks=4"],
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options[0])
def test_every_option_changes_the_training_and_resumes_exactly(made, tmp_path, straight, options):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    trainer_of(made, whole, *options).run()
    assert outcome(whole)[2] != straight[2]
    interrupt(trainer_of(made, parts, *options), 7)
    trainer_of(made, parts, *options).run()
    assert_same(outcome(parts), outcome(whole))


def test_keep_last_saves_the_last_weights(made, tmp_path):
    trainer = trainer_of(made, tmp_path, "training.keep=last")
    trainer.run()
    saved = outcome(tmp_path)[0]
    assert all(torch.equal(saved[name], tensor) for name, tensor in trainer.network.state_dict().items())
    assert json.loads((tmp_path / "train.json").read_text())["chosen_epoch"] == 3


def test_an_average_is_the_mean_of_the_last_weights(made, tmp_path):
    trainer = trainer_of(made, tmp_path, "training.keep=last", "training.average=2")
    states = []
    validate = trainer._validate

    def recorded(epoch):
        states.append({name: tensor.clone() for name, tensor in trainer.network.state_dict().items()})
        validate(epoch)

    trainer._validate = recorded
    trainer.run()
    for name, tensor in outcome(tmp_path)[0].items():
        torch.testing.assert_close(tensor, (states[1][name] + states[2][name]) / 2)


def parts_without(made, corpus: str, emotion: str):
    """Training parts without utterances of a class, and whole validation parts."""
    data = made.open(made.experiment())
    train = data.parts("train")
    part = train[corpus]
    rows = [i for i, t in enumerate(part.targets) if part.classes[t] != emotion]
    lists = {name: [getattr(part, name)[i] for i in rows] for name in ("ids", "speakers", "texts")}
    arrays = {name: getattr(part, name)[rows] for name in ("targets", "frames", "genders", "votes", "original")}
    return data, {**train, corpus: replace(part, **lists, **arrays)}, data.parts("valid")


def test_a_class_that_is_validated_but_not_trained_has_weight_0_and_counts_in_ua(made, tmp_path):
    data, train, valid = parts_without(made, "one", "sad")
    trainer = Trainer(data.experiment, tmp_path, data.heads, train, valid, data.hashes(), ["of the data"])
    trainer.run()
    log = (tmp_path / "train.log").read_text()
    assert "warning: of the data" in log
    assert "warning: one: sad " in log
    result = read_json(tmp_path / "train.json")
    index = train["one"].classes.index("sad")
    assert result["class_weights"]["one"][index] == 0
    assert all(w > 0 for i, w in enumerate(result["class_weights"]["one"]) if i != index)
    # A quarter of the validation utterances cannot be right.
    assert result["valid"]["one"]["ua"] <= 0.75
    assert result["valid"]["one"]["n"] == len(valid["one"])
    assert np.isfinite(result["valid"]["one"]["loss"])


def test_a_corpus_that_is_validated_but_not_trained_is_named(made, tmp_path):
    data, train, valid = parts_without(made, "one", "sad")
    with pytest.raises(InputError, match="two has speakers to validate and none to train"):
        Trainer(data.experiment, tmp_path, data.heads, {"one": train["one"]}, valid, {})


def test_epochs_validate_a_sample_and_the_end_all_utterances(made, tmp_path):
    trainer = trainer_of(made, tmp_path / "sample", "training.valid_utterances=6")
    sizes = {corpus: len(dataset) for corpus, dataset in trainer.valid.items()}
    assert min(sizes.values()) > 6
    trainer.run()
    rows = [json.loads(line) for line in (tmp_path / "sample" / "epochs.jsonl").read_text().splitlines()]
    assert {scores["n"] for row in rows for scores in row["valid"].values()} == {6}
    train = json.loads((tmp_path / "sample" / "train.json").read_text())
    assert {corpus: scores["n"] for corpus, scores in train["valid"].items()} == sizes
    assert train["chosen_epoch"] == min(rows, key=lambda row: row["valid_loss"])["epoch"]
    network, model = trainer.network, load_tensors(tmp_path / "sample" / "model.safetensors")[0]
    assert all(torch.equal(tensor, model[name]) for name, tensor in network.state_dict().items())
    for corpus, dataset in trainer.valid.items():
        log_p = log_posteriors(network, dataset, network.head_of(corpus), torch.device("cpu"))
        chosen = trainer.samples[corpus]
        of_sample = log_posteriors(network, dataset, network.head_of(corpus), torch.device("cpu"), chosen)
        np.testing.assert_allclose(of_sample, log_p[chosen], atol=1e-5)
        assert train["valid"][corpus]["wa"] == np.mean(log_p.argmax(1) == dataset.part.targets)


def test_a_validation_sample_does_not_change_the_weights(made, tmp_path):
    trainer_of(made, tmp_path / "sample", "training.valid_utterances=6", "training.keep=last").run()
    trainer_of(made, tmp_path / "all", "training.keep=last").run()
    (one, _, _), (two, _, _) = (outcome(tmp_path / name) for name in ("sample", "all"))
    assert all(torch.equal(one[name], two[name]) for name in two)
