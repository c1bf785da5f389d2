import itertools

import pytest
import torch
from made import CLASSES

from ser.batches.load import UNIFIED
from ser.nets import build

ALL = list(itertools.product(("lstm", "blstm", "tdnn", "attention", "nin"), ("mu", "mu_sigma2"), ("multi", "unified")))


def network_of(made, temporal, pooling, task, *overrides):
    experiment = made.experiment(f"temporal={temporal}", f"pooling={pooling}", f"task={task}", *overrides)
    torch.manual_seed(0)
    network = build(experiment, made.open(experiment).heads)
    network.mean.normal_()
    network.deviation.uniform_(0.5, 2)
    return network


@pytest.mark.parametrize(("temporal", "pooling", "task"), ALL)
def test_a_padded_batch_and_single_utterances_have_equal_posteriors(made, temporal, pooling, task):
    network = network_of(made, temporal, pooling, task).eval()
    lengths = [37, 21, 1, 30]
    utterances = [torch.randn(n, 257) for n in lengths]
    batch = torch.zeros(4, 50, 257)
    for i, x in enumerate(utterances):
        batch[i, : len(x)] = x
    head = network.head_of("two")
    together = network(batch, torch.tensor(lengths), head, "two").softmax(1)
    alone = torch.cat([network(x[None], torch.tensor([len(x)]), head, "two").softmax(1) for x in utterances])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_heads(made):
    assert network_of(made, "lstm", "mu", "multi").classes == {"one": CLASSES, "two": CLASSES}
    unified = network_of(made, "lstm", "mu", "unified")
    assert unified.classes == {UNIFIED: CLASSES}
    assert unified.head_of("one") == unified.head_of("two") == UNIFIED


def test_sizes_are_those_of_the_paper(made):
    full = ("network.prep_size=512", "network.lstm.hidden_size=128", "network.tdnn.size=512", "network.tdnn.layers=6")
    blstm = network_of(made, "blstm", "mu_sigma2", "multi", *full)
    lstm = 4 * 128 * (512 + 128 + 2)
    prep = 257 * 512 + 512 + 512 * 512 + 512
    assert sum(p.numel() for p in blstm.parameters()) == prep + 2 * lstm + 256 + 2 * (512 * 4 + 4)
    tdnn = network_of(made, "tdnn", "mu", "unified", *full)
    convolutions = 3 * 257 * 512 + 512 + 5 * (3 * 512 * 512 + 512)
    assert sum(p.numel() for p in tdnn.parameters()) == convolutions + 512 + 512 * 4 + 4
    assert len(tdnn.prep) == 0


def test_features_are_normalised_and_padding_stays_zero(made):
    network = network_of(made, "tdnn", "mu", "multi")
    seen = []
    network.temporal.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    x = torch.randn(2, 6, 257)
    network(x, torch.tensor([6, 4]), "one", "one")
    torch.testing.assert_close(seen[0][0], (x[0] - network.mean) / network.deviation)
    assert seen[0][1, 4:].abs().max() == 0


def test_dropout_follows_the_temporal_block(made):
    network = network_of(made, "blstm", "mu", "multi", "network.dropout=0.9").train()
    x, lengths = torch.randn(2, 6, 257), torch.tensor([6, 4])
    torch.manual_seed(1)
    first = network(x, lengths, "one", "one")
    assert not torch.equal(first, network(x, lengths, "one", "one"))
    torch.manual_seed(1)
    assert torch.equal(first, network(x, lengths, "one", "one"))


def test_an_adapter_is_the_corpus_s_own_and_starts_as_nothing(made):
    network = network_of(made, "lstm", "mu", "unified", "network.adapter_size=4").eval()
    assert set(network.adapters) == {"one", "two"}
    x, lengths = torch.randn(2, 6, 257), torch.tensor([6, 4])
    one, two, new = (network(x, lengths, UNIFIED, corpus) for corpus in ("one", "two", "unseen"))
    torch.testing.assert_close(one, new)
    for parameter in network.adapters["one"].parameters():
        parameter.data.normal_()
    assert torch.equal(network(x, lengths, UNIFIED, "two"), two)
    assert not torch.allclose(network(x, lengths, UNIFIED, "one"), one)
