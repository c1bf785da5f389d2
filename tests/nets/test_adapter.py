import math

import pytest
import torch

from ser.nets.adapter import Adapter


@pytest.mark.parametrize("shape", [(3, 6), (3, 7, 6)])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_a_new_adapter_is_the_identity_and_learns(shape, kind):
    torch.manual_seed(0)
    adapter, x = Adapter(6, 16), torch.randn(shape).to(kind).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
        y = adapter(x)
    assert torch.equal(y, x)
    assert adapter.out_size == 6
    y.float().square().sum().backward()
    assert adapter.up.weight.grad.abs().sum() > 0


def test_by_hand():
    # layernorm of (1, 3) is (-1, 1) but for 1e-5; down (-2, 1) . it = 3, relu 3; up (0.5, -1) * 3 + (0, 1)
    adapter = Adapter(2, 1)
    adapter.down.weight.data, adapter.down.bias.data = torch.tensor([[-2.0, 1.0]]), torch.zeros(1)
    adapter.up.weight.data, adapter.up.bias.data = torch.tensor([[0.5], [-1.0]]), torch.tensor([0.0, 1.0])
    shrunk = 1 / math.sqrt(1 + 1e-5)
    expected = [1 + 0.5 * 3 * shrunk, 3 - 3 * shrunk + 1]
    assert adapter(torch.tensor([[1.0, 3.0]]))[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_gradients():
    torch.manual_seed(0)
    adapter = Adapter(4, 3).double()
    adapter.up.weight.data.normal_()
    assert torch.autograd.gradcheck(adapter, torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True))
