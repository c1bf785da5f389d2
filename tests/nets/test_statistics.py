"""Mean, statistics and attentive statistics pooling against numbers worked out by hand."""

import math

import pytest
import torch

from ser.config.registry import POOLING, from_registry
from ser.nets.statistics import StatisticsPooling, attentive_statistics, mean, statistics

X = torch.tensor([[[1.0, 4.0], [3.0, 4.0], [5.0, 10.0], [99.0, -99.0]]])  # the last frame is padding
LENGTHS = torch.tensor([3])


def test_mean_by_hand():
    assert mean(2)(X, LENGTHS)[0].tolist() == pytest.approx([3.0, 6.0])


def test_mean_and_deviation_by_hand():
    # deviations from (3, 6): -2, 0, 2 and -2, -2, 4; squares 8/3 and 24/3 in the mean
    assert statistics(2)(X, LENGTHS)[0].tolist() == pytest.approx([3, 6, math.sqrt(8 / 3), math.sqrt(8)])


def test_attentive_statistics_by_hand():
    pooling = StatisticsPooling(2, deviation=True, hidden=1)
    assert pooling.attention is not None
    inner, _, outer = pooling.attention
    inner.weight.data, inner.bias.data = torch.tensor([[1.0, 0.0]]), torch.tensor([-1.0])
    outer.weight.data = torch.tensor([[math.log(3) / math.tanh(2)]])
    x, lengths = torch.tensor([[[1.0, 4.0], [3.0, 8.0], [50.0, 50.0]]]), torch.tensor([2])
    # scores 0 and ln 3, so weights 1/4 and 3/4
    assert pooling.weights(x, lengths)[0].tolist() == pytest.approx([0.25, 0.75, 0])
    deviation = [math.sqrt(0.25 * 1.5**2 + 0.75 * 0.5**2), math.sqrt(0.25 * 3**2 + 0.75 * 1**2)]
    assert pooling(x, lengths)[0].tolist() == pytest.approx([2.5, 7.0, *deviation])


@pytest.mark.parametrize("name", POOLING)
def test_what_comes_out_has_the_size_that_is_stated(name):
    pooling = from_registry(POOLING, name)(4)
    assert pooling(torch.ones(2, 6, 4), torch.tensor([6, 2])).shape == (2, pooling.out_size)


@pytest.mark.parametrize("name", POOLING)
def test_padding_does_not_count(name):
    torch.manual_seed(0)
    pooling, x = from_registry(POOLING, name)(5), torch.randn(2, 7, 5)
    loud = torch.cat([x, torch.full((2, 4, 5), 1e4)], dim=1)
    lengths = torch.tensor([7, 3])
    torch.testing.assert_close(pooling(loud, lengths), pooling(x, lengths))
    torch.testing.assert_close(pooling(loud, lengths)[1:], pooling(x[1:, :3], torch.tensor([3])))


@pytest.mark.parametrize("made", [statistics, attentive_statistics])
def test_one_frame_and_equal_frames_have_finite_gradients(made):
    pooling = made(3)
    x = torch.full((2, 4, 3), 1e3, requires_grad=True)
    pooling(x, torch.tensor([1, 4])).sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("name", POOLING)
def test_pooled_in_float32_under_autocast(name):
    torch.manual_seed(0)
    pooling, x, lengths = from_registry(POOLING, name)(4), torch.randn(2, 6, 4), torch.tensor([6, 2])
    with torch.autocast("cpu", torch.bfloat16):
        found = pooling(x, lengths)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, pooling(x, lengths))
