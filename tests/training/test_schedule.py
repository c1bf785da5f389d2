import numpy as np
import pytest

from ser.config import load
from ser.training.schedule import ranks, rate_factor, turns, updates_per_epoch


@pytest.mark.parametrize(("budget", "updates"), [("total", [14, 14, 14]), ("per_corpus", [14, 28, 42])])
def test_updates_of_an_epoch(budget, updates):
    config = load("strict", None, ["corpora=[a]", "training.steps_per_epoch=14", f"training.budget={budget}"]).training
    assert [updates_per_epoch(config, corpora) for corpora in (1, 2, 3)] == updates


def test_corpora_in_turn():
    assert turns([100, 5, 7], 7, 0, ()).tolist() == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize(("temperature", "share"), [(1, 0.8), (2, 2 / 3), (1000, 0.5)])
def test_temperature_evens_out(temperature, share):
    order = turns([400, 100], 20_000, temperature, (0, "turns"))
    assert np.mean(order == 0) == pytest.approx(share, abs=0.02)
    assert np.array_equal(order, turns([400, 100], 20_000, temperature, (0, "turns")))
    assert not np.array_equal(order, turns([400, 100], 20_000, temperature, (1, "turns")))


def test_ranks_count_a_corpus_on_its_own():
    assert ranks(np.array([0, 1, 1, 0, 1, 0])).tolist() == [0, 0, 1, 1, 2, 2]


def test_rate_is_constant_for_half_and_falls_to_zero():
    assert [rate_factor(s, 8, "half_linear") for s in range(9)] == [1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]
    assert rate_factor(7, 8, "constant") == 1
