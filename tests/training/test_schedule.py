"""Number of updates, schedule of the corpora, learning rate, class weights, early stopping."""

import numpy as np
import pytest

from ser.config import load
from ser.training.class_weights import class_weights
from ser.training.schedule import corpus_positions, corpus_schedule, lr_lambda, updates_per_epoch, validation_sample
from ser.training.stopping import EarlyStopping


@pytest.mark.parametrize(("budget", "updates"), [("total", [14, 14, 14]), ("per_corpus", [14, 28, 42])])
def test_updates_of_an_epoch(budget, updates):
    config = load("strict", None, ["corpora=[a]", "training.steps_per_epoch=14", f"training.budget={budget}"]).training
    assert [updates_per_epoch(config, [500] * corpora) for corpora in (1, 2, 3)] == updates


@pytest.mark.parametrize(
    ("budget", "passes", "updates"),
    [
        ("total", [250], 250),
        ("total", [40], 100),
        ("total", [400, 150], 550),
        ("total", [400, 500], 600),
        ("per_corpus", [400, 150], 2 * 275),
        ("per_corpus", [10, 20], 2 * 100),
        ("per_corpus", [2000, 500], 2 * 600),
    ],
)
def test_an_epoch_is_a_pass_over_the_data_within_bounds(budget, passes, updates):
    settings = ["training.steps_per_epoch=auto", "training.max_steps_per_epoch=600", f"training.budget={budget}"]
    config = load("strict", None, ["corpora=[a]", *settings]).training
    assert updates_per_epoch(config, passes) == updates


def sampled(targets, *settings):
    config = load("strict", None, ["corpora=[a]", *settings]).training
    return validation_sample(np.array(targets), config, ("validation", "a", 1))


def test_a_validation_sample_has_as_many_of_each_class_as_can_be():
    targets = [0] * 50 + [1] * 3 + [2] * 20
    chosen = sampled(targets, "training.valid_utterances=23")
    assert np.bincount(np.array(targets)[chosen]).tolist() == [10, 3, 10]
    assert np.array_equal(chosen, np.unique(chosen))
    assert np.array_equal(chosen, sampled(targets, "training.valid_utterances=23"))
    assert not np.array_equal(chosen[:10], np.arange(10))


def test_settings_that_validate_all_utterances():
    many = [0, 1] * 2000
    assert sampled(many) is None
    assert sampled(many, "training.valid_utterances=4000") is None
    assert sampled(many, "training.steps_per_epoch=auto", "training.valid_utterances=0") is None
    assert len(sampled(many, "training.steps_per_epoch=auto")) == 3000


def test_corpora_take_turns():
    assert corpus_schedule([100, 5, 7], 7, 0, ()).tolist() == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize(("temperature", "share"), [(1, 0.8), (2, 2 / 3), (1000, 0.5)])
def test_a_high_temperature_is_nearly_uniform(temperature, share):
    order = corpus_schedule([400, 100], 20_000, temperature, (0, "turns"))
    assert np.mean(order == 0) == pytest.approx(share, abs=0.02)
    assert np.array_equal(order, corpus_schedule([400, 100], 20_000, temperature, (0, "turns")))
    assert not np.array_equal(order, corpus_schedule([400, 100], 20_000, temperature, (1, "turns")))


def test_corpus_positions_count_the_steps_of_each_corpus():
    assert corpus_positions(np.array([0, 1, 1, 0, 1, 0])).tolist() == [0, 0, 1, 1, 2, 2]


def test_rate_is_constant_for_half_and_falls_to_zero():
    assert [lr_lambda(s, 8, "half_linear") for s in range(9)] == [1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]
    assert lr_lambda(7, 8, "constant") == 1


@pytest.mark.parametrize(
    ("counts", "kind", "expected"),
    [
        # RAVDESS, strict, fold 1: N = 448, K = 4: 448 / (4 * 128) and 448 / (4 * 64)
        ([128, 128, 64, 128], "balanced", [0.875, 0.875, 1.75, 0.875]),
        ([10, 0, 30], "balanced", [2.0, 0.0, 2 / 3]),  # a class without utterances
        ([1, 3], "balanced", [2.0, 2 / 3]),
        ([10, 0, 1], "none", [1, 0, 1]),
    ],
)
def test_class_weights_by_hand(counts, kind, expected):
    assert class_weights(np.array(counts), kind).tolist() == np.array(expected, np.float32).tolist()


def run(losses, min_delta=0.002):
    state = EarlyStopping()
    states = []
    for epoch, loss in enumerate(losses, 1):
        state = state.after(epoch, loss, min_delta)
        states.append(state)
    return states


def test_min_delta_is_relative_and_best_is_the_lowest_loss():
    states = run([1.0, 0.999, 0.9985, 0.997, 1.2, 0.996])
    # the loss must fall from 1.0 to below 0.998
    assert [s.num_bad_epochs for s in states] == [0, 1, 2, 0, 1, 2]
    assert [s.best_epoch for s in states] == [1, 2, 3, 4, 4, 6]
    assert [s.reference for s in states] == [1.0, 1.0, 1.0, 0.997, 0.997, 0.997]


def test_small_steps_add_up_against_the_last_reference():
    assert [s.num_bad_epochs for s in run([1.0, 0.9989, 0.9979])] == [0, 1, 0]
