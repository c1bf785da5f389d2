"""Number of augmented copies, and the transforms of each."""

from collections import Counter

import numpy as np
import pytest

from ser.augment import build_augment
from ser.augment.babble_pool import BabblePool
from ser.augment.copies import apply_transforms, copy_id, oversampling_factors, sample_transforms
from ser.config import load

NOBODY = BabblePool({}, {})


def settings(tmp_path, *overrides):
    values = load("strict", None, ["corpora=[ravdess]", "augment.room.count=2", *overrides]).augment
    return build_augment(values, tmp_path)


@pytest.mark.parametrize(
    ("sizes", "copies", "expected"),
    [
        ({"iemocap": 3000, "ravdess": 450, "tess": 800}, 1, {"iemocap": 1, "ravdess": 7, "tess": 4}),
        ({"iemocap": 3000, "ravdess": 2001}, 1, {"iemocap": 1, "ravdess": 1}),
        ({"iemocap": 3000, "ravdess": 2000}, 1, {"iemocap": 1, "ravdess": 2}),  # 1.5 is rounded up
        ({"iemocap": 3000, "ravdess": 450}, 2, {"iemocap": 2, "ravdess": 13}),
        ({"ravdess": 450}, 1, {"ravdess": 1}),
        ({"ravdess": 450}, 3, {"ravdess": 3}),
        ({"iemocap": 3000, "ravdess": 450}, 0, {"iemocap": 1, "ravdess": 1}),
    ],
)
def test_oversampling_brings_the_corpora_to_similar_size(sizes, copies, expected):
    assert oversampling_factors(sizes, copies) == expected


def test_a_copy_depends_on_utterance_number_and_settings_only(tmp_path):
    augment = settings(tmp_path)
    steps = sample_transforms("a-1", 2, augment, NOBODY)
    assert sample_transforms("a-1", 2, settings(tmp_path, "augment.copies=5"), NOBODY) == steps
    assert sample_transforms("a-1", 3, augment, NOBODY) != steps
    many = [sample_transforms(f"a-{i}", 2, augment, NOBODY) for i in range(2, 8)]
    assert steps not in many
    other = settings(tmp_path, "augment.volume.decibels=[-18,7]")
    assert [sample_transforms(f"a-{i}", 2, other, NOBODY) for i in range(2, 8)] != many


def test_kinds_come_evenly(tmp_path):
    augment = settings(tmp_path)
    for utterance in ("a-1", "b-2"):
        names = [sample_transforms(utterance, number, augment, NOBODY)[0]["kind"] for number in range(1, 13)]
        assert set(Counter(names).values()) == {2}
        assert len(set(names[:6])) == 6
    first = Counter(sample_transforms(f"a-{i}", 1, augment, NOBODY)[0]["kind"] for i in range(600))
    assert set(first) == set(augment.kinds)
    assert min(first.values()) > 60  # of 100 expected


def test_a_chain_does_several_kinds_in_their_order(tmp_path):
    augment = settings(tmp_path, "augment.chain=3", "augment.kinds=[volume,noise,vtlp,speed]")
    order = list(augment.kinds)
    assert order == ["speed", "vtlp", "noise", "volume"]
    for number in range(1, 9):
        names = [step["kind"] for step in sample_transforms("a-1", number, augment, NOBODY)]
        assert len(names) == 3
        assert names == sorted(names, key=order.index)


def test_apply_transforms_applies_the_steps_in_order(tmp_path):
    augment = settings(tmp_path, "augment.chain=2", "augment.kinds=[volume,speed]")
    samples = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    steps = sample_transforms("a-1", 1, augment, NOBODY)
    changed = apply_transforms(samples, 8000, steps, augment, NOBODY)
    assert [step["kind"] for step in steps] == ["speed", "volume"]
    faster = augment.kinds["speed"].apply(samples, 8000, {"factor": steps[0]["factor"]})
    expected = faster * np.float32(10 ** (steps[1]["decibels"] / 20))
    np.testing.assert_allclose(changed, expected, rtol=1e-6)
    np.testing.assert_array_equal(apply_transforms(samples, 8000, [], augment, NOBODY), samples)


def test_ids_of_copies_begin_with_the_utterance():
    assert copy_id("ravdess_01-03", 2) == "ravdess_01-03-copy2"
