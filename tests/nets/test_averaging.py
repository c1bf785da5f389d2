import pytest
import torch
from safetensors.torch import load, save

from ser.nets.averaging import SavedStates, average


def state(value):
    return {
        "weight": torch.tensor([value, 2 * value]),
        "scale": torch.tensor(value),
        "steps": torch.tensor([int(value)]),
    }


def random_state(seed):
    drawn = torch.Generator().manual_seed(seed)
    return {"a.weight": torch.randn(7, 5, generator=drawn), "half": torch.randn(3, generator=drawn).bfloat16()}


def equal(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one
    )


def stored(tensors):
    """What a checkpoint gives back."""
    return load(save(tensors))


def test_average_by_hand():
    found = average([state(value) for value in (1.0, 2.0, 6.0)])
    assert found["weight"].tolist() == [3.0, 6.0]
    assert float(found["scale"]) == 3.0
    assert found["steps"].tolist() == [6]  # no float: the last one
    assert found["weight"].dtype == torch.float32


def test_small_weights_are_not_lost_in_a_long_sum():
    states = [{"w": torch.tensor([value])} for value in (1e8, 1.0, -1e8, 3.0)]  # float32 would give 0.75
    assert average(states)["w"].tolist() == [1.0]


def test_equal_states_average_to_themselves_bit_for_bit():
    assert equal(average([random_state(0)] * 7), random_state(0))
    assert str(average([{"w": torch.tensor([-0.0])}])["w"].tolist()) == "[-0.0]"


def test_what_is_added_is_copied():
    for kind in (SavedStates(2, best=False), SavedStates(2, best=True)):
        own = state(1.0)
        kind.add(0.5, own)
        for tensor in own.values():
            tensor.fill_(9)
        assert equal(kind.state(), state(1.0))
    double = {"w": torch.ones(2, dtype=torch.float64), "n": torch.tensor(1)}
    for tensor in average([double]).values():
        tensor.fill_(9)
    assert equal(double, {"w": torch.ones(2, dtype=torch.float64), "n": torch.tensor(1)})


def test_last_states_by_hand():
    last = SavedStates(2, best=False)
    for loss, value in ((0.1, 1.0), (0.9, 2.0), (0.5, 6.0)):
        last.add(loss, state(value))
    assert last.state()["weight"].tolist() == [4.0, 8.0]


def test_best_states_by_hand():
    best = SavedStates(2, best=True)
    for loss, value in ((0.4, 1.0), (0.9, 2.0), (float("nan"), 100.0), (0.5, 6.0), (0.5, 50.0), (0.7, 60.0)):
        best.add(loss, state(value))
    assert best.state()["weight"].tolist() == [3.5, 7.0]


@pytest.mark.parametrize("best", [False, True])
@pytest.mark.parametrize("stop", range(12))
def test_states_continue_bit_for_bit(best, stop):
    losses = [0.9, 0.5, 0.7, 0.7, 0.2, 0.1 + 0.2, 0.3, 0.8, 0.1, 0.6, 0.3, 0.4]
    whole, part = SavedStates(3, best), SavedStates(3, best)
    for step, loss in enumerate(losses):
        if step == stop:
            tensors, part = stored(part.tensors()), SavedStates(3, best)
            part.load(tensors)
        whole.add(loss, random_state(step))
        part.add(loss, random_state(step))
    assert equal(part.state(), whole.state())
    assert equal(part.tensors(), whole.tensors())


def test_eleven_states_keep_their_own_names():
    last = SavedStates(11, best=False)
    for value in range(11):
        last.add(0.0, state(float(value)))
    other = SavedStates(11, best=False)
    other.load(stored(last.tensors()))
    assert other.state()["weight"].tolist() == [5.0, 10.0]


def test_errors():
    for empty in (SavedStates(2, best=False), SavedStates(2, best=True)):
        with pytest.raises(ValueError, match="no states"):
            empty.state()
    with pytest.raises(ValueError, match="other names: b, c"):
        average([{"a": torch.ones(1), "b": torch.ones(1)}, {"a": torch.ones(1), "c": torch.ones(1)}])
