import pytest
import torch

from ser.nets.fast import Dropout, ReLUWithin


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_dropout_drops_its_share_and_keeps_the_mean(p, kind):
    torch.manual_seed(0)
    y = Dropout(p).train()(torch.ones(301, 1003, dtype=kind))
    assert (y == 0).float().mean() == pytest.approx(p, abs=4 * (p * (1 - p) / y.numel()) ** 0.5)
    assert y.unique().tolist() == pytest.approx([0, 1 / (1 - p)], rel=1e-2 if kind == torch.bfloat16 else 1e-6)
    assert y.dtype == kind


def test_dropout_draws_each_value_on_its_own():
    torch.manual_seed(0)
    kept = (Dropout(0.5).train()(torch.ones(400, 4000)) > 0).double() - 0.5
    for shift in (1, 2, 3, 4, 8, 64):
        assert abs((kept[:, shift:] * kept[:, :-shift]).mean()) < 1e-3
        assert abs((kept[:-1] * kept[1:]).mean()) < 1e-3


def test_dropout_gradient_is_its_mask():
    x = torch.randn(7, 9, requires_grad=True)
    torch.manual_seed(1)
    y = Dropout(0.4).train()(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad * x.detach(), y.detach())
    torch.manual_seed(1)
    assert torch.equal(Dropout(0.4).train()(x), y)


def test_dropout_is_nothing_in_evaluation_or_at_0_and_all_at_1():
    x = torch.randn(5, 6)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0).train()(x), x)
    assert Dropout(1.0).train()(x).abs().max() == 0


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_relu_within_is_relu_and_mask(kind):
    x = torch.randn(3, 5, 1, 7).to(kind).to(memory_format=torch.channels_last)
    mask = torch.arange(7) < torch.tensor([7, 4, 1])[:, None]
    one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected = torch.relu(one) * mask[:, None, None, :].to(kind)
    found = ReLUWithin.apply(two * 1, (~mask).flatten().nonzero().squeeze(1))
    assert torch.equal(found, expected)
    weights = torch.randn_like(expected)
    (expected * weights).sum().backward()
    (found * weights).sum().backward()
    assert torch.equal(one.grad, two.grad)
