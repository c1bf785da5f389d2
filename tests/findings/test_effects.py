"""Effects of source corpora, worked out by hand: v(S), the right answers of 100 of ravdess trained with S as well."""

import numpy as np
import pytest
from made_ledgers import PAPER, TWO, drawn_target, scored_target

from ser.findings.stats.bootstrap import bootstrap, estimate
from ser.findings.stats.effects import mixing, multi_task, source_effects, transfer

IEMOCAP, TESS, PTBR = "iemocap", "tess", "customer_ptbr"
VALUES = {"": 50, "I": 52, "T": 56, "C": 49, "IT": 60, "IC": 53, "TC": 55, "ITC": 64}
LETTERS = {"I": IEMOCAP, "T": TESS, "C": PTBR}
V = {frozenset(LETTERS[letter] for letter in key): value for key, value in VALUES.items()}


def value_of(target, contrast):
    e = estimate(bootstrap(target, 100), contrast.weights[None])
    assert e.value[0, 0] == pytest.approx(e.value[1, 0])  # classes of equal size
    return 100 * e.value[0, 0]


@pytest.fixture(scope="module")
def target():
    """Configurations differ by what has no influence on differences."""
    return scored_target("ravdess", PAPER, lambda s, c, seed: V[s - {"ravdess"}] + 3 * (c[1] == "tdnn"), seeds=2)


def found(target, kind):
    effects = [e for e in source_effects(target, PAPER) if e.kind == kind]
    return {e.sources: (pytest.approx(value_of(target, e)), e.pairs) for e in effects}


def test_a_main_effect_is_the_mean_of_48_matched_pairs(target):
    """I: 52-50, 60-56, 53-49, 64-55. T: 56-50, 60-52, 55-49, 64-53. C: 49-50, 53-52, 55-56, 64-60."""
    assert found(target, "main effect") == {
        (IEMOCAP,): ((2 + 4 + 4 + 9) / 4, 48),
        (TESS,): ((6 + 8 + 6 + 11) / 4, 48),
        (PTBR,): ((-1 + 1 - 1 + 4) / 4, 48),
    }


def test_shapley_values_weight_the_pairs_by_a_third_and_a_sixth(target):
    """I: 1/3 (52-50) + 1/6 (60-56) + 1/6 (53-49) + 1/3 (64-55)."""
    values = found(target, "Shapley value")
    assert values == {
        (IEMOCAP,): (2 / 3 + 4 / 6 + 4 / 6 + 9 / 3, 48),
        (TESS,): (6 / 3 + 8 / 6 + 6 / 6 + 11 / 3, 48),
        (PTBR,): (-1 / 3 + 1 / 6 - 1 / 6 + 4 / 3, 48),
    }


def test_shapley_values_add_up_to_what_all_sources_do(target):
    effects = {(e.kind, e.sources): e.weights for e in source_effects(target, PAPER)}
    parts = sum(weights for (kind, _), weights in effects.items() if kind == "Shapley value")
    np.testing.assert_allclose(parts, effects["all source corpora", (IEMOCAP, TESS, PTBR)], atol=1e-12)
    assert found(target, "all source corpora") == {(IEMOCAP, TESS, PTBR): (14, 12)}


def test_an_interaction_is_a_difference_of_differences(target):
    """I and T: without C 60-52-56+50, with C 64-53-55+49."""
    assert found(target, "interaction") == {
        (IEMOCAP, TESS): ((2 + 5) / 2, 24),
        (IEMOCAP, PTBR): ((53 - 52 - 49 + 50 + 64 - 60 - 55 + 56) / 2, 24),
        (TESS, PTBR): ((55 - 56 - 49 + 50 + 64 - 60 - 53 + 52) / 2, 24),
    }


def test_mixing_is_the_mean_of_all_training_sets_minus_the_baseline(target):
    """52, 56, 49, 60, 53, 55, 64 against 50."""
    effect = mixing(target, PAPER)
    assert value_of(target, effect) == pytest.approx(sum(V.values()) / 7 - 50 / 7 - 50)
    assert effect.pairs == 7 * 12


def test_multi_task_is_multi_minus_unified_over_matched_cells_with_a_source_corpus():
    """The unified cells score 4 less, the one on ravdess alone 10 less, which does not count; one cell is missing."""

    def score(corpora, configuration, seed):
        if (len(corpora), *configuration) == (4, "unified", "lstm", "mu"):
            return None
        less = 10 if len(corpora) == 1 else 4
        return 60 + len(corpora) - less * (configuration[0] == "unified")

    target = scored_target("ravdess", PAPER, score)
    (effect,) = multi_task(target, PAPER)
    assert (value_of(target, effect), effect.pairs) == (pytest.approx(4), 7 * 6 - 1)
    assert multi_task(target, PAPER.narrowed({"task": ["multi"]})) == []


def test_with_one_source_all_effects_are_one():
    target = scored_target("ravdess", TWO, lambda s, c, seed: 60 if TESS in s else 50)
    values = {e.kind: (pytest.approx(value_of(target, e)), e.pairs) for e in source_effects(target, TWO)}
    assert values == {"main effect": (10, 12), "Shapley value": (10, 12), "all source corpora": (10, 12)}


def test_pairs_of_configurations_that_lack_a_cell_are_left_out():
    """tdnn has no run with all corpora, and another effect."""

    def right(corpora, configuration, seed):
        if configuration[1] == "tdnn":
            return None if len(corpora) == 4 else 99
        return V[corpora - {"ravdess"}]

    target = scored_target("ravdess", PAPER, right)
    assert found(target, "main effect")[IEMOCAP,] == (19 / 4, 32)


def test_what_no_configuration_has_cannot_be_computed():
    target = scored_target("ravdess", PAPER, lambda s, c, seed: None if len(s) == 4 else 50)
    effects = {(e.kind, e.sources): e for e in source_effects(target, PAPER)}
    assert effects["main effect", (TESS,)].weights is None
    assert effects["main effect", (TESS,)].configurations == 0
    gains = {e.sources: e.weights is None for e in transfer(target, PAPER) if e.kind == "in-domain gain"}
    assert not any(gains.values())


def test_the_transfer_matrix_has_four_panels():
    drawn = drawn_target(np.random.default_rng(0), seeds=1, zero_shot=True)
    accuracy = 100 * drawn.hits.sum((1, 2, 3)) / drawn.counts.sum()
    means = {c.corpora: np.mean(accuracy[[c.corpora == d.corpora for d in drawn.cells]]) for c in drawn.cells}
    found = {(e.kind, e.sources): value_of(drawn, e) for e in transfer(drawn, PAPER)}
    alone, every = means["ravdess",], means[PAPER.corpora]
    assert found["in-domain gain", ("ravdess",)] == pytest.approx(alone)
    assert found["in-domain gain", (IEMOCAP,)] == pytest.approx(means[IEMOCAP, "ravdess"] - alone)
    assert found["zero-shot", (TESS,)] == pytest.approx(means[TESS,])
    assert found["leave one corpus out", (IEMOCAP, TESS, PTBR)] == pytest.approx(means[IEMOCAP, TESS, PTBR])
    assert found["drop one of all corpora", (PTBR,)] == pytest.approx(every - means[IEMOCAP, TESS, "ravdess"])
    assert found["drop one of all corpora", ("ravdess",)] == pytest.approx(every - means[IEMOCAP, TESS, PTBR])
    assert len(found) == 4 + 3 + 1 + 4
