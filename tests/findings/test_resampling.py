import numpy as np
import pytest
from made_ledgers import TWO, drawn_target, scored_target

from ser.common.metrics import ua, wa
from ser.findings.scores import make_target
from ser.findings.stats.bootstrap import bootstrap, estimate, weighted_scores
from ser.findings.stats.effects import source_effects
from ser.findings.stats.tests import by_seed, by_speaker, holm, negative_control, sign_flip
from ser.findings.stats.variance import variance_shares
from ser.grid.cells import Cell
from ser.scoring.pooled import percentiles


@pytest.fixture(scope="module")
def target():
    return drawn_target(np.random.default_rng(0), design=TWO, sources={"tess": 0.5}, seeds=3)


def test_scores_are_those_of_the_pooled_confusion_matrix(target):
    observed = bootstrap(target, 100).observed
    for i in range(len(target.cells)):
        by_hand = [seed.sum(0) for seed in target.confusion[i]]
        assert observed[0, i] == pytest.approx(np.mean([wa(s) for s in by_hand]))
        assert observed[1, i] == pytest.approx(np.mean([ua(s) for s in by_hand]))


def test_a_speaker_drawn_twice_counts_twice():
    """Two speakers, two classes: the first has 1 of 2 and 2 of 2 right, the second 0 of 1 and 1 of 3."""
    hits = np.array([[[[1.0, 2], [0, 1]]]])
    counts = np.array([[2.0, 2], [1, 3]])
    weights = np.array([[[1.0], [1]], [[2], [0]], [[0], [2]], [[2], [1]]])
    of_all, of_each = weighted_scores(hits, counts, weights)[..., 0]
    np.testing.assert_allclose(of_all, [4 / 8, 6 / 8, 2 / 8, 7 / 12])
    np.testing.assert_allclose(of_each, [(1 / 3 + 3 / 5) / 2, (1 / 2 + 1) / 2, (0 + 1 / 3) / 2, (2 / 5 + 5 / 7) / 2])


def test_a_class_that_a_resample_has_not_is_left_out():
    of_all, of_each = weighted_scores(
        np.array([[[[1.0, 0], [0, 1]]]]), np.array([[2.0, 0], [0, 4]]), np.array([[[1.0], [0]]])
    )
    assert (of_all.item(), of_each.item()) == (0.5, 0.5)


def test_cells_are_resampled_together():
    """Two cells that are equal on every speaker and seed differ in no resample, though both vary."""
    rng = np.random.default_rng(0)
    one = rng.integers(0, 9, (2, 6, 2, 2)).astype(float)
    cells = [Cell(("ravdess",), task, "lstm", "mu") for task in ("multi", "unified")]
    found = {(cell, seed): one[seed] for cell in cells for seed in (0, 1)}
    r = bootstrap(make_target("ravdess", ["a", "b"], list("uvwxyz"), [1, 1, 2, 2, 3, 3], found), 200)
    assert np.all(r.both[..., 0] == r.both[..., 1])
    assert r.both[1, :, 0].std() > 0.01
    e = estimate(r, np.array([[1.0, -1.0]]))
    assert (e.value.tolist(), e.low.tolist(), e.high.tolist()) == ([[0], [0]],) * 3


def test_resamples_are_the_same_each_time(target):
    one, other = bootstrap(target, 100), bootstrap(target, 100)
    assert np.array_equal(one.both, other.both)
    assert not np.array_equal(one.both[:, 0], one.both[:, 1])


def test_the_variance_of_means_over_speakers_is_that_of_the_textbook():
    """One seed, equal utterances: SE is the deviation of the speakers' accuracies over sqrt(n), with n - 1 below."""
    rng = np.random.default_rng(0)
    right = rng.integers(3, 9, 12)
    confusion = np.array([[[n, 10 - n], [10 - n, n]] for n in right], float)
    target = make_target("x", ["a", "b"], [str(i) for i in range(12)], [1] * 12, {(CELL, 0): confusion})
    e = estimate(bootstrap(target, 20000), np.ones((1, 1)))
    half = 2.201 * (right / 10).std(ddof=1) / np.sqrt(12)  # t of 11 degrees of freedom
    assert e.value[0, 0] == pytest.approx(right.mean() / 10)
    assert e.high[0, 0] - e.value[0, 0] == pytest.approx(half, rel=0.03)


CELL = Cell(("x",), "multi", "lstm", "mu")


def test_noise_between_seeds_widens_the_interval():
    """All speakers go up and down with the seed: hardly a difference among speakers, much among seeds."""
    found = {(CELL, seed): np.array([[[n, 20 - n], [20 - n, n]]] * 8, float) for seed, n in enumerate((8, 12, 10, 14))}
    several = make_target("x", ["a", "b"], list("abcdefgh"), [1] * 8, found)
    single = make_target("x", ["a", "b"], list("abcdefgh"), [1] * 8, {(CELL, 0): found[CELL, 0]})
    wide, narrow = (estimate(bootstrap(t, 4000), np.ones((1, 1))) for t in (several, single))
    half = 3.182 * (np.array([8, 12, 10, 14]) / 20).std(ddof=1) / 2  # t of 3 degrees of freedom
    # the noise of pairs is taken off, which here is an eighth of that of seeds
    assert wide.high[0, 0] - wide.value[0, 0] == pytest.approx(half * np.sqrt(7 / 8), rel=0.05)
    assert narrow.high[0, 0] == pytest.approx(narrow.value[0, 0])


def test_of_one_speaker_there_is_no_interval():
    target = make_target("x", ["a", "b"], ["s"], [1], {(CELL, 0): np.array([[[3.0, 1], [0, 4]]])})
    e = estimate(bootstrap(target, 100), np.ones((1, 1)))
    assert e.value[0, 0] == 7 / 8
    assert np.isnan(e.low).all()


def test_all_sign_patterns_are_tested():
    """Of 16 patterns the sum of 1, 2, 3 and 4 is as far from 0 in two; that of 1, 2, 3 and -1 in six."""
    assert sign_flip(np.array([1.0, 2, 3, 4])).p == pytest.approx(2 / 16)
    assert sign_flip(np.array([1.0, 2, 3, -1])).p == pytest.approx(6 / 16)
    assert sign_flip(np.zeros(4)).p == 1
    assert sign_flip(np.array([5.0])).p is None


def test_three_seeds_can_never_reach_five_percent():
    found = sign_flip(np.array([5.0, 5.1, 4.9]))
    assert (found.p, found.smallest) == (0.25, 0.25)
    assert sign_flip(np.arange(1.0, 7.0)).p == pytest.approx(2 / 64)


def test_of_many_blocks_random_sign_patterns_are_tested():
    values = np.random.default_rng(0).normal(0.9, 1, 24)
    found = sign_flip(values)
    assert found.p == sign_flip(values).p < 0.01
    assert found.smallest == pytest.approx(2e-4)


def test_holm_by_hand():
    """Sorted 0.01, 0.02, 0.04 times 3, 2, 1."""
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([]) == []


def test_speakers_and_seeds_contribute_the_effect(target):
    effect = source_effects(target, TWO)[0]
    value = estimate(bootstrap(target, 100), effect.weights[None]).value[:, 0]
    np.testing.assert_allclose(by_speaker(target, effect.weights).sum(1), value)
    np.testing.assert_allclose(by_seed(target, effect.weights).mean(1), value)


def test_the_negative_control_is_the_baseline_as_multi_and_as_unified():
    """One speaker; multi minus unified is 0.1 and -0.3 in two seeds of one pair, 0 in the other pair."""
    design = TWO.narrowed({"temporal": ["lstm"]})
    right = {("multi", 0): 6, ("unified", 0): 5, ("multi", 1): 4, ("unified", 1): 7}
    found = {}
    for pooling in design.pooling:
        for (task, seed), n in right.items():
            n = n if pooling == "mu" else 5
            cell = Cell(("ravdess",), task, "lstm", pooling)
            found[cell, seed] = np.array([[[n, 10 - n], [10 - n, n]]], float)
    pairs = negative_control(make_target("ravdess", ["a", "b"], ["s"], [1], found), design)
    np.testing.assert_allclose(pairs.differences[0], [-0.1, 0], atol=1e-12)
    # squares 0.01, 0.09, 0, 0: their mean halved is 0.0125
    assert pairs.run_sd == pytest.approx([np.sqrt(0.0125)] * 2)
    one_task = drawn_target(np.random.default_rng(0), design=design.narrowed({"task": ["multi"]}))
    assert negative_control(one_task, design) is None


def test_variance_shares_by_hand():
    """tess +4, tdnn +2 and lstm -2, and both together nothing more: of no noise no rest."""
    shift = {"lstm": -2, "blstm": 0, "tdnn": 2}
    target = scored_target("ravdess", TWO, lambda s, c, _: 50 + 4 * ("tess" in s) + shift[c[1]])
    shares = variance_shares(target, TWO, "ua")
    parts = {part["term"]: (part["df"], pytest.approx(part["share"], abs=1e-9)) for part in shares}
    # 24 cells: sources 24 * 2 * 2, temporal 8 * (4 + 0 + 4)
    assert parts["sources"] == (1, 96 / 160)
    assert parts["temporal"] == (2, 64 / 160)
    assert parts["rest"][1] == 0
    assert sum(part["share"] for part in shares) == pytest.approx(1)
    assert set(parts) == {
        "sources", "task", "temporal", "pooling", "sources x task", "sources x temporal", "sources x pooling",
        "task x temporal", "task x pooling", "temporal x pooling", "rest",
    }  # fmt: skip


def test_noise_is_taken_off_a_share():
    drawn = drawn_target(np.random.default_rng(0), design=TWO, seeds=4)
    for part in variance_shares(drawn, TWO, "ua"):
        if part["term"] == "rest":
            assert part["beyond_noise"] is None
        else:
            assert part["beyond_noise"] < part["share"]


def test_shares_of_an_incomplete_factorial_are_not_computed(target):
    cells = {(c, s): target.confusion[i, s] for i, c in enumerate(target.cells[1:], 1) for s in range(3)}
    lacking = make_target("ravdess", target.classes, target.speakers, target.folds.tolist(), cells)
    assert variance_shares(lacking, TWO, "ua") == []


def test_without_a_rest_there_is_no_noise_to_take_off():
    """One factor of two levels: a gain of tess is all there is."""
    design = TWO.narrowed({"task": ["multi"], "temporal": ["lstm"], "pooling": ["mu"]})
    target = scored_target("ravdess", design, lambda s, c, _: 50 + 4 * ("tess" in s))
    (sources, rest) = variance_shares(target, design, "ua")
    assert sources == {"term": "sources", "df": 1, "share": pytest.approx(1), "beyond_noise": None}
    assert (rest["df"], rest["share"]) == (0, pytest.approx(0))


def test_percentiles_leave_out_a_fortieth_at_either_end():
    samples = np.stack([np.arange(1001.0), np.arange(1001.0) - 500])
    low, high = percentiles(samples, axis=1)
    np.testing.assert_allclose(low, [25, -475])
    np.testing.assert_allclose(high, [975, 475])
