"""Layers of an encoder that are trained: what they give untrained, that they learn, and an exact resume."""

import numpy as np
import pytest
import torch
from made import filled, interrupt, make, trainer_of

from ser.common import InputError
from ser.config import load
from ser.frontends import build_frontend
from ser.frontends.pretrained import trained_layers
from ser.training.checkpoint import load_tensors

OPTIONS = ("temporal=none", "pooling=statistics", "network.prep_layers=0", "network.pooled_norm=batch")
RATES = ("training.learning_rate=1e-3", "frontend.learning_rate=1e-3")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return make(tmp_path_factory.mktemp("trainable"))


def settings_of(whisper, trainable, layers="all"):
    return (
        *OPTIONS,
        *RATES,
        "frontend.name=pretrained",
        f"frontend.model={whisper}",
        f"frontend.layers={layers}",
        f"frontend.trainable={trainable}",
        "batches.normalisation=none",
    )


def frontend_of(whisper, trainable, layers="all"):
    return build_frontend(load("strict", None, ["corpora=[one]", *settings_of(whisper, trainable, layers)]))


@pytest.mark.parametrize("layers", ["all", "3", "0,2", "1,3"])
@pytest.mark.parametrize("trainable", ["last_1", "last_2", "last_3", "all"])
def test_untrained_layers_give_what_the_frozen_encoder_does(whisper, trainable, layers):
    """Of several lengths in one batch, one of more than 30 s."""
    frozen, split = frontend_of(whisper, "none", layers), frontend_of(whisper, trainable, layers)
    part = split.trainable()
    assert (part.width, part.layers) == (frozen.width, frozen.layers)
    rng = np.random.default_rng(0)
    audio = [rng.normal(0, 0.1, n).astype(np.float32) for n in (500, 9_000, 16_001)]
    if trainable == "all":
        audio.append(rng.normal(0, 0.1, 31 * 16_000 + 77).astype(np.float32))
    stored = [torch.from_numpy(split.extract(samples)) for samples in audio]
    assert [len(x) for x in stored] == [split.num_frames(len(samples)) for samples in audio]
    assert {x.shape[1] for x in stored} == {split.width}
    batch = torch.nn.utils.rnn.pad_sequence(stored, batch_first=True)
    with torch.no_grad():
        found, lengths = part(batch, torch.tensor([len(x) for x in stored]))
    for got, length, samples in zip(found, lengths, audio, strict=True):
        expected = torch.from_numpy(frozen.extract(samples))
        assert length == len(expected)
        torch.testing.assert_close(got[:length], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("trainable", "number"), [("none", 0), ("last_1", 1), ("last_4", 4), ("all", 5)])
def test_how_many_layers_are_trained(trainable, number):
    assert trained_layers(trainable, 4) == number


@pytest.mark.parametrize("trainable", ["last_5", "last_0", "last", "1", "some", ""])
def test_layers_that_cannot_be_trained(trainable):
    with pytest.raises(InputError, match="last_1 to last_4"):
        trained_layers(trainable, 4)


@pytest.mark.parametrize(
    "wrong", ["batches.normalisation=speaker", "batches.normalisation=global", "batches.frame_step=2"]
)
def test_frames_that_are_no_longer_the_encoders_are_refused(whisper, wrong):
    with pytest.raises(InputError, match=wrong.partition("=")[0]):
        load("strict", None, ["corpora=[one]", *settings_of(whisper, "last_1"), wrong])


def test_front_ends_without_weights_are_refused():
    with pytest.raises(InputError, match=r"frontend\.trainable"):
        load("strict", None, ["corpora=[one]", "frontend.trainable=last_1", "batches.normalisation=none"])


@pytest.mark.parametrize("trainable", ["last_1", "all"])
def test_layers_learn_and_a_resume_is_exact(recipe, whisper, tmp_path, trainable):
    options = settings_of(whisper, trainable)
    experiment = recipe.experiment(*options)
    for corpus in experiment.corpora:
        filled(recipe.store(*options, corpus=corpus)).link()
    whole = trainer_of(recipe, tmp_path / "whole", *options)
    before = {name: x.clone() for name, x in whole.network.state_dict().items()}
    rates = {id(p): group["rate"] for group in whole.optimizer.param_groups for p in group["params"]}
    front = [p for p in whole.network.front.parameters() if p.requires_grad]
    assert front
    assert {rates.pop(id(p)) for p in front} == {1e-3}
    whole.run()
    kept = load_tensors(tmp_path / "whole" / "model.safetensors")[0]
    changed = {name for name, x in kept.items() if not torch.equal(x, before[name])}
    moved = {name for name in before if name.startswith("front.") and name in changed}
    assert any("qkv.weight" in name for name in moved)
    assert any("conv1" in name for name in moved) == (trainable == "all")
    assert not any("embed_positions" in name for name in moved)

    interrupt(trainer_of(recipe, tmp_path / "parts", *options), 7)
    trainer_of(recipe, tmp_path / "parts", *options).run()
    again = load_tensors(tmp_path / "parts" / "model.safetensors")[0]
    assert kept.keys() == again.keys()
    assert all(torch.equal(kept[name], again[name]) for name in kept)
