import pytest
import torch
from torch import nn

from ser.nets.attention import Layer, RestrictedSelfAttention, by_frame, by_offset

LENGTHS = torch.tensor([41, 17, 1])


def block(layers=3, context=4):
    torch.manual_seed(0)
    return RestrictedSelfAttention(5, 8, layers, 2, context)


def dense(layer, x, length):
    """The layer as its formula reads, over all pairs of frames of one utterance, (frames, size)."""
    size, heads, width = x.shape[1], layer.heads, 2 * layer.context + 1
    query, key, value, bias = layer.project(layer.norm(x)).split([size, size, size, heads * width], 1)
    found = []
    for h in range(heads):
        q, k, v = (y.chunk(heads, 1)[h] for y in (query, key, value))
        extended = torch.cat([q * (size / heads) ** -0.5, bias.chunk(heads, 1)[h]], 1)
        for t in range(length):
            others = range(max(0, t - layer.context), min(length, t + layer.context + 1))
            one_hot = torch.stack([nn.functional.one_hot(torch.tensor(s - t + layer.context), width) for s in others])
            a = torch.softmax(torch.cat([k[list(others)], one_hot], 1) @ extended[t], 0)
            found.append(a @ torch.cat([v[list(others)], one_hot], 1))
    found = torch.stack(found).unflatten(0, (heads, length)).transpose(0, 1)
    values, weights = found.split([size // heads, width], 2)
    per_head = torch.cat([values, weights], 2).flatten(1)
    return x + layer.out(torch.relu(per_head))


def test_rows_by_offset_and_back():
    x = torch.arange(12.0).view(3, 4)  # b = 3, width 2
    assert by_offset(x, 2).tolist() == [[0, 1], [5, 6], [10, 11]]
    assert by_frame(by_offset(x, 2)).tolist() == [[0, 1, 0, 0], [0, 5, 6, 0], [0, 0, 10, 11]]


@pytest.mark.parametrize("context", [0, 1, 4, 20])
def test_layer_and_its_gradients_are_those_of_keys_and_values_with_a_one_hot_offset(context):
    network = block(1, context)
    layer, length = network.layers[0], 37
    x = torch.randn(length, 8, requires_grad=True)
    network.inner = nn.Identity()
    found = network(x.relu()[None], torch.tensor([length]))[0]
    expected = dense(layer, x.relu(), length)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    weights = torch.randn(length, 8)
    ours = torch.autograd.grad((found * weights).sum(), [x, *layer.parameters()])
    theirs = torch.autograd.grad((expected * weights).sum(), [x, *layer.parameters()])
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_by_hand():
    # One head of size 1, context 1. LayerNorm of one value is its bias, here 1: q = 0, v = 2, and the biases of the
    # offsets are ln 1, ln 2, ln 3, so weights are (1, 2, 3) / 6 inside, (2, 3) / 5 and (1, 2) / 3 at the ends.
    layer = Layer(1, 1, 1, 16)
    layer.norm.bias.data.fill_(1)
    layer.project.weight.data.zero_()
    layer.project.bias.data = torch.tensor([0.0, 0.0, 2.0, *torch.log(torch.tensor([1.0, 2.0, 3.0]))])
    layer.out.weight.data = torch.tensor([[100.0, 1.0, 10.0, 0.0]])  # value, then the weights of -1, 0, +1
    layer.out.bias.data.zero_()
    network = RestrictedSelfAttention(1, 1, 0, 1, 1)
    network.inner, network.layers = nn.Identity(), nn.ModuleList([layer])
    found = network(torch.ones(1, 3, 1), torch.tensor([3]))[0, :, 0]
    assert found.tolist() == pytest.approx([201 + 0 + 4, 201 + 1 / 6 + 20 / 6, 201 + 1 / 3 + 20 / 3], rel=1e-6)


def test_padding_gets_no_gradient_and_gives_no_nan():
    network, x = block(), torch.randn(3, 101, 5)
    for i, n in enumerate(LENGTHS):
        x[i, n:] = 0
    x.requires_grad_()
    network(x, LENGTHS).square().sum().backward()
    for i, n in enumerate(LENGTHS):
        assert (x.grad[i, n:] == 0).all()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_a_frame_sees_its_context_a_layer_and_no_more():
    network, x = block(2, 3), torch.rand(1, 50, 5, requires_grad=True)
    network(x, torch.tensor([50]))[0, 25].square().sum().backward()
    assert x.grad[0].abs().sum(1).nonzero().squeeze(1).tolist() == list(range(19, 32))
