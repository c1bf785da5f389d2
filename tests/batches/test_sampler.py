import numpy as np
import pytest

from ser.batches import Sampler, by_length

FRAMES = np.random.default_rng(0).integers(150, 340, 448)


def sampler(purpose=(0, 1, "multi", "batches", "x"), frames=FRAMES, size=32, crop=622):
    return Sampler(frames, size, crop, purpose)


def test_a_batch_is_a_function_of_purpose_and_number():
    one, two = sampler(), sampler()
    for number in (40, 3, 0, 27):
        assert one.batch(number) == two.batch(number)
    assert sampler((1, 1, "multi", "batches", "x")).batch(0) != one.batch(0)
    assert one.batch(0) != one.batch(14)


def test_a_pass_holds_every_utterance_once():
    batches = [sampler().batch(i) for i in range(14)]
    assert sorted(index for batch in batches for index, _, _ in batch) == list(range(448))


def test_each_pass_drops_other_utterances():
    s = sampler(frames=FRAMES[:40])
    assert s.batches_per_pass == 1
    left = [set(range(40)) - {index for index, _, _ in s.batch(i)} for i in range(80)]
    assert all(len(x) == 8 for x in left)
    assert set.union(*left) == set(range(40))


def test_a_corpus_smaller_than_a_batch_is_one_batch():
    assert sorted(i for i, _, _ in sampler(frames=FRAMES[:5]).batch(3)) == list(range(5))


def test_padding_is_under_a_tenth():
    real = padded = 0
    for number in range(140):
        rows = [rows for _, _, rows in sampler().batch(number)]
        real, padded = real + sum(rows), padded + max(rows) * len(rows)
    assert 1 - real / padded < 0.08


def test_batches_are_composed_differently_in_each_pass():
    s = sampler()
    passes = [{frozenset(i for i, _, _ in s.batch(p * 14 + b)) for b in range(14)} for p in range(2)]
    assert not passes[0] & passes[1]


def test_long_utterances_are_cut_at_random_places_within_them():
    frames = np.full(64, 1000)
    starts = [start for n in range(20) for _, start, rows in sampler(frames=frames, crop=300).batch(n) if rows == 300]
    assert len(starts) == 640
    assert min(starts) >= 0
    assert max(starts) <= 700
    assert np.std(starts) == pytest.approx(700 / 12**0.5, rel=0.1)


def test_evaluation_takes_whole_utterances_within_the_bound():
    batches = by_length(FRAMES, 5000)
    assert sorted(index for batch in batches for index, _, _ in batch) == list(range(448))
    assert all(rows == FRAMES[index] and start == 0 for batch in batches for index, start, rows in batch)
    assert all(max(rows for _, _, rows in b) * len(b) <= 5000 for b in batches)
    assert by_length(np.array([9000]), 5000) == [[(0, 0, 9000)]]
