import math

import pytest
import torch

from ser.nets.adversarial import DomainHead, reverse_gradient, weight_at


def test_gradient_by_hand():
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    y = reverse_gradient(x, 0.3)
    assert torch.equal(y, x)
    (y * torch.tensor([5.0, 7.0])).sum().backward()
    assert x.grad.tolist() == pytest.approx([-1.5, -2.1])


def test_weight_minus_one_is_the_identity_backwards_too():
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: reverse_gradient(x, -1.0).sin(), x)


def test_weight_at_by_hand():
    assert weight_at(0) == 0
    assert weight_at(math.log(3) / 10) == pytest.approx(0.5)  # 2 / (1 + 1/3) - 1
    assert weight_at(1) == pytest.approx(0.9999092, abs=1e-7)


def test_the_head_descends_while_what_is_below_ascends():
    torch.manual_seed(0)
    head, x, targets = DomainHead(6, 3), torch.randn(4, 6), torch.tensor([0, 1, 2, 1])

    def gradients(weight):
        own = x.clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(head(own, weight), targets)
        return torch.autograd.grad(loss, [own, *head.parameters()])

    plain, reversed_ = gradients(-1.0), gradients(0.5)
    torch.testing.assert_close(reversed_[0], -0.5 * plain[0])
    for one, other in zip(plain[1:], reversed_[1:], strict=True):
        assert torch.equal(one, other)
    assert (gradients(0.0)[0] == 0).all()


def test_autocast_leaves_it_in_float32():
    with torch.autocast("cpu", torch.bfloat16):
        logits = DomainHead(6, 3)(torch.randn(4, 6).bfloat16(), 1.0)
    assert logits.shape == (4, 3)
    assert logits.dtype == torch.float32
