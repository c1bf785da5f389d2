import pytest
import torch
from torch import nn

from ser.nets.temporal import BLSTM, LSTM, TDNN

LENGTHS = torch.tensor([9, 4, 1])


def blocks():
    torch.manual_seed(0)
    return {
        "lstm": LSTM(5, 7),
        "blstm": BLSTM(5, 7),
        "tdnn": TDNN(5, 7, 4, "none"),
        "norm": TDNN(5, 7, 4, "layer"),
    }


def valid(y):
    return torch.cat([y[i, :n] for i, n in enumerate(LENGTHS)])


@pytest.mark.parametrize("name", blocks())
def test_padding_reaches_no_valid_frame(name):
    block = blocks()[name]
    x = torch.randn(3, 9, 5)
    noisy = x.clone()
    longer = torch.cat([x, torch.zeros(3, 6, 5)], dim=1)
    if name in ("lstm", "blstm"):
        for i, n in enumerate(LENGTHS):
            noisy[i, n:] = 100.0
    else:  # the TDNN counts on zeros beyond the length, as every batch has them
        for i, n in enumerate(LENGTHS):
            longer[i, n:] = noisy[i, n:] = 0.0
    alone = torch.cat([block(noisy[i : i + 1, :n], LENGTHS[i : i + 1])[0] for i, n in enumerate(LENGTHS)])
    torch.testing.assert_close(valid(block(noisy, LENGTHS)), alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(valid(block(longer, LENGTHS)), alone, atol=1e-5, rtol=0)


def test_blstm_is_that_of_torch_on_packed_sequences():
    block = blocks()["blstm"]
    reference = nn.LSTM(5, 7, batch_first=True, bidirectional=True)
    state = {
        **block.forwards.state_dict(),
        **{f"{k}_reverse": v for k, v in block.backwards.state_dict().items()},
    }
    reference.load_state_dict(state)
    x = torch.randn(3, 9, 5)
    packed = nn.utils.rnn.pack_padded_sequence(x, LENGTHS, batch_first=True)
    expected, _ = nn.utils.rnn.pad_packed_sequence(reference(packed)[0], batch_first=True)
    torch.testing.assert_close(valid(block(x, LENGTHS)), valid(expected), atol=1e-5, rtol=0)


def test_tdnn_sees_one_frame_more_a_layer_on_either_side():
    torch.manual_seed(1)
    block = TDNN(2, 3, 3, "none")
    x = torch.rand(1, 21, 2, requires_grad=True)
    block(x, torch.tensor([21]))[0, 10].sum().backward()
    seen = x.grad[0].abs().sum(1).nonzero().squeeze(1)
    assert seen.min() >= 7
    assert seen.max() <= 13
    assert block.layers[0].kernel_size == (1, 3)
    assert block.layers[0].dilation == (1, 1)
