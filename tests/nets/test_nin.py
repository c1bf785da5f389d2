import torch
from torch.nn import functional

from ser.nets.nin import BlockDiagonal, NetworkInNetwork


def test_block_diagonal_by_hand():
    layer = BlockDiagonal(4, 2, 2)
    layer.weight.data = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])
    layer.bias.data = torch.tensor([[[0.5]], [[-0.5]]])
    # [1, 2 | 3, 4]: 1 + 4 + 0.5 and 9 + 16 - 0.5
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0]]).view(1, 2, 2).transpose(0, 1)
    assert layer(x).flatten().tolist() == [5.5, 24.5]


def test_block_diagonal_gradients():
    layer = BlockDiagonal(6, 4, 2).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    weight, bias = (p.detach().clone().requires_grad_() for p in (layer.weight, layer.bias))
    assert torch.autograd.gradcheck(
        lambda x, w, b: torch.func.functional_call(layer, {"weight": w, "bias": b}, (x,)), (x, weight, bias)
    )


def test_it_is_a_convolution_and_two_grouped_ones_with_relu():
    torch.manual_seed(0)
    network, x = NetworkInNetwork(5, 6, 2, 12, 3), torch.randn(1, 9, 5)
    y = x.transpose(1, 2)
    for convolution, hidden, outer in zip(network.layers, network.hidden, network.outer, strict=True):
        y = torch.relu(functional.conv1d(y, convolution.weight[:, :, 0], convolution.bias, padding=1))
        for part in (hidden, outer):
            weight = part.weight.transpose(1, 2).flatten(0, 1)[..., None]
            y = torch.relu(functional.conv1d(y, weight, part.bias.flatten(), groups=3))
    torch.testing.assert_close(network(x, torch.tensor([9])), y.transpose(1, 2), atol=1e-6, rtol=1e-5)


def test_the_signal_does_not_fade_in_six_layers():
    torch.manual_seed(0)
    network = NetworkInNetwork(64, 64, 6, 128, 8)
    assert network(torch.randn(2, 50, 64), torch.tensor([50, 50])).std() > 1e-2
