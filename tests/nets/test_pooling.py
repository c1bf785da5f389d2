"""Equations (1) to (3) of da Silva et al. (2020) against numbers worked out by hand."""

import math

import pytest
import torch

from ser.nets.pooling import AttentionPooling


def pooling(u, variance):
    layer = AttentionPooling(len(u), variance)
    layer.attention.weight.data = torch.tensor([u])
    return layer


def test_by_hand():
    # u . x = ln 3, 0, so a = (3/4, 1/4)
    x = torch.tensor([[[math.log(3.0), 2.0], [0.0, 6.0]]])
    found = pooling([1.0, 0.0], True)(x, torch.tensor([2]))
    mean = [0.75 * math.log(3), 0.75 * 2 + 0.25 * 6]  # (2): 0.8240, 3
    variance = [0.75 * math.log(3) ** 2 - mean[0] ** 2, 0.75 * 4 + 0.25 * 36 - 9]  # (3): 0.2263, 3
    assert found[0].tolist() == pytest.approx([*mean, *variance], abs=1e-6)
    assert found[0].tolist() == pytest.approx([0.82396, 3.0, 0.22630, 3.0], abs=1e-4)
    assert pooling([1.0, 0.0], False)(x, torch.tensor([2]))[0].tolist() == pytest.approx([0.82396, 3.0], abs=1e-4)


def test_a_zero_vector_pools_evenly():
    x = torch.tensor([[[1.0], [2.0], [6.0]]])
    assert pooling([0.0], True)(x, torch.tensor([3]))[0].tolist() == pytest.approx([3.0, 14 / 3])


def test_one_frame_has_no_variance():
    assert pooling([2.0], True)(torch.tensor([[[5.0]]]), torch.tensor([1]))[0].tolist() == pytest.approx([5.0, 0.0])


def test_variance_is_never_negative():
    x = torch.full((4, 50, 3), 1234.567) + 1e-4 * torch.randn(4, 50, 3)
    found = pooling([0.1, 0.2, 0.3], True)(x, torch.tensor([50, 40, 3, 1]))
    assert (found[:, 3:] >= 0).all()
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("variance", [False, True])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_gradient_is_that_of_its_parts(variance, kind):
    torch.manual_seed(0)
    layer = pooling(torch.randn(6).tolist(), variance)
    x = torch.randn(3, 8, 6).to(kind).requires_grad_()
    lengths = torch.tensor([8, 5, 1])
    scores = (x.float() @ layer.attention.weight[0]).masked_fill(torch.arange(8) >= lengths[:, None], float("-inf"))
    a = torch.softmax(scores, dim=1)[..., None]
    mean = (a * x.float()).sum(1)
    spread = ((a * x.float().square()).sum(1) - mean.square()).clamp(min=0)
    expected = torch.cat([mean, spread], dim=1) if variance else mean
    found = layer(x, lengths)
    torch.testing.assert_close(found, expected)
    with torch.no_grad():  # by the branch that is exported
        assert torch.equal(layer(x, lengths), found)
    weights, before = torch.randn_like(found), x.detach().clone()
    inputs = [x, layer.attention.weight]
    gradients = torch.autograd.grad((expected * weights).sum(), inputs)
    for one, other in zip(torch.autograd.grad((found * weights).sum(), inputs), gradients, strict=True):
        torch.testing.assert_close(one, other, atol=2e-6 if one.dtype == torch.float32 else 1e-2, rtol=1e-2)
    assert torch.equal(x, before)
