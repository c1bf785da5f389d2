import pytest
import torch
from torch import nn

from ser.nets.attention import RestrictedSelfAttention
from ser.nets.nin import NetworkInNetwork
from ser.nets.temporal import BLSTM, LSTM, TDNN

LENGTHS = torch.tensor([41, 17, 1])
BLOCKS = {
    "lstm": lambda: LSTM(5, 7),
    "blstm": lambda: BLSTM(5, 7),
    "tdnn": lambda: TDNN(5, 7, 4, "none"),
    "norm": lambda: TDNN(5, 7, 4, "layer"),
    "nin": lambda: NetworkInNetwork(5, 6, 4, 12, 3),
    "attention": lambda: RestrictedSelfAttention(5, 8, 3, 2, 4),
}


def made(name):
    """A block, and a batch with zeros beyond the lengths."""
    torch.manual_seed(0)
    block, x = BLOCKS[name](), torch.randn(3, 41, 5)
    for i, n in enumerate(LENGTHS):
        x[i, n:] = 0
    if name == "nin":
        for module in (*block.hidden, *block.outer):
            module.bias.data.uniform_(0, 1)  # so that padded frames would be seen if they were not set to 0
    return block, x


def valid(y):
    return torch.cat([y[i, :n] for i, n in enumerate(LENGTHS)])


@pytest.mark.parametrize("name", BLOCKS)
def test_padding_reaches_no_valid_frame(name):
    block, x = made(name)
    noisy = x.clone()
    for i, n in enumerate(LENGTHS):
        noisy[i, n:] = 100.0
    alone = torch.cat([block(x[i : i + 1, :n], LENGTHS[i : i + 1])[0] for i, n in enumerate(LENGTHS)])
    # A convolution counts on zeros beyond the length, as every batch has them.
    others = [noisy] if name in ("lstm", "blstm", "attention") else []
    for batch in (x, torch.cat([x, torch.zeros(3, 30, 5)], 1), *others):
        found = block(batch, LENGTHS)
        assert found.shape == (*batch.shape[:2], block.out_size)
        torch.testing.assert_close(valid(found), alone, atol=1e-5, rtol=0)
        if name not in ("lstm", "blstm"):
            assert all((found[i, n:] == 0).all() for i, n in enumerate(LENGTHS))


@pytest.mark.parametrize(("name", "tolerance"), [("nin", 0.05), ("attention", 0.1)])
def test_autocast(name, tolerance):
    block, x = made(name)
    with torch.autocast("cpu", torch.bfloat16):
        found = block(x, LENGTHS)
    assert name == "attention" or found.dtype == torch.bfloat16
    found.float().square().sum().backward()
    torch.testing.assert_close(found.float(), block(x, LENGTHS), atol=tolerance, rtol=0.05)
    assert all(torch.isfinite(p.grad).all() for p in block.parameters())


def test_blstm_is_that_of_torch_on_packed_sequences():
    block, x = made("blstm")
    reference = nn.LSTM(5, 7, batch_first=True, bidirectional=True)
    backwards = {f"{k}_reverse": v for k, v in block.backwards.state_dict().items()}
    reference.load_state_dict({**block.forwards.state_dict(), **backwards})
    packed = nn.utils.rnn.pack_padded_sequence(x, LENGTHS, batch_first=True)
    expected, _ = nn.utils.rnn.pad_packed_sequence(reference(packed)[0], batch_first=True)
    torch.testing.assert_close(valid(block(x, LENGTHS)), valid(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize("make", [lambda: TDNN(2, 3, 3, "none"), lambda: NetworkInNetwork(2, 6, 3, 12, 3)])
def test_a_layer_sees_one_frame_more_on_either_side(make):
    torch.manual_seed(1)
    block, x = make(), torch.rand(1, 21, 2, requires_grad=True)
    block(x, torch.tensor([21]))[0, 10].sum().backward()
    seen = x.grad[0].abs().sum(1).nonzero().squeeze(1)
    assert seen.min() >= 7
    assert seen.max() <= 13
    assert block.layers[0].kernel_size == (1, 3)
    assert block.layers[0].dilation == (1, 1)
