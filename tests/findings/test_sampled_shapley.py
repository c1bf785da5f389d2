"""Shapley values from the prefixes of some permutations of the source corpora, on made games."""

from dataclasses import replace
from itertools import combinations, permutations

import numpy as np
import pytest
from made_ledgers import one_speaker, scored_target
from stand_ins import grid_of_readings

from ser.findings.design import Design, read_design
from ser.findings.paper_tables import cell_indices
from ser.findings.report.effects import _sampling, _shapley_notes
from ser.findings.scores import make_target
from ser.findings.stats.effects import PERMUTATIONS, SAMPLED, SHAPLEY, mixing, sampled_shapley, source_effects
from ser.grid.cells import prefixes

TARGET = "target"
OF_TWO = {"": 50, "c0": 60, "c1": 55, "c0c1": 75}  # v of sets of two source corpora


def design_of(sources):
    return Design((TARGET, *(f"c{i}" for i in range(sources))), ("multi",), ("lstm",), ("mu",))


def made_game(sources, seed):
    """v of each set of source corpora: a gain each, and one for each pair that meets."""
    rng = np.random.default_rng(seed)
    gains, pairs = rng.normal(2, 3, sources), rng.normal(0, 3, (sources, sources))

    def value(source_set):
        members = sorted(int(name[1:]) for name in source_set)
        return 200 + sum(gains[i] for i in members) + sum(pairs[i, j] for i, j in combinations(members, 2))

    exact = gains + np.array([sum(pairs[min(i, j), max(i, j)] for j in range(sources) if j != i) / 2
                              for i in range(sources)])  # fmt: skip
    return value, exact


def target_of(design, source_sets, value):
    """A target of which some training sets have a score; one utterance of a class is a point of 1000."""
    confusions = {
        (design.cell(source_set | {TARGET}, design.configurations[0]), 0): one_speaker(value(source_set), 2, 1000)
        for source_set in source_sets
    }
    return make_target(TARGET, ["a", "b"], ["s"], [1], confusions, "made")


def prefixes_of(orders):
    return {frozenset(order[:n]) for order in orders for n in range(len(order) + 1)}


def estimated(target, design):
    """Values and standard errors of the source corpora, in thousandths."""
    effects = sampled_shapley(target, design)
    scores = 1000 * np.diagonal(target.confusion, axis1=-2, axis2=-1).sum((1, 2, 3))[None] / 2000
    return np.array([scores[0] @ e.weights for e in effects]), np.array([e.standard_error(scores)[0] for e in effects])


def check_errors(found, exact):
    """Values of many draws are unbiased, and spread as much as their standard errors state; returns the spread."""
    values, stated = (np.array(parts) for parts in zip(*found, strict=True))
    spread = values.std(0)
    assert (abs(values.mean(0) - exact) < 4 * spread / np.sqrt(len(found))).all()
    assert 0.8 < np.sqrt((stated**2).mean() / (spread**2).mean()) < 1.25
    return spread


def test_all_permutations_give_the_exact_values():
    design = design_of(4)
    value, exact = made_game(4, 0)
    values, _ = estimated(target_of(design, design.source_sets(TARGET), value), design)
    np.testing.assert_allclose(values, exact)


@pytest.mark.parametrize(("number", "drawn"), [(5, 8), (10, 6)])
def test_drawn_permutations_are_unbiased_and_the_error_is_as_large_as_stated(number, drawn):
    design, rng, draws = design_of(number), np.random.default_rng(1), 100
    value, exact = made_game(number, 2)
    sources = design.sources(TARGET)
    found = [
        estimated(target_of(design, prefixes_of(rng.permutation(sources) for _ in range(drawn)), value), design)
        for _ in range(draws)
    ]
    assert (check_errors(found, exact) > 0.1).all()


def test_the_gains_along_one_permutation():
    design = design_of(3)
    orders = [("c1", "c2", "c0")]
    values = dict(zip([0, 1, 2, 3], [50, 60, 55, 75], strict=True))
    target = target_of(design, prefixes_of(orders), lambda source_set: values[len(source_set)])
    found, errors = estimated(target, design)
    np.testing.assert_allclose(found, [20, 10, -5])
    assert np.isnan(errors).all()
    kinds = [e.kind for e in source_effects(target, design)]
    assert kinds.count(SAMPLED) == 3
    assert SHAPLEY not in kinds


def test_the_error_of_two_permutations_by_hand():
    """c0 gains 10 first and 20 last: standard deviation 7.07, by the root of two 5."""
    design = design_of(2)
    target = target_of(design, design.source_sets(TARGET), lambda corpora: OF_TWO["".join(sorted(corpora))])
    values, errors = estimated(target, design)
    np.testing.assert_allclose(values, [15, 10])
    np.testing.assert_allclose(errors, [5, 5])


def test_of_many_permutations_some_are_drawn_evenly():
    design = design_of(7)
    value, exact = made_game(7, 3)
    target = target_of(design, design.source_sets(TARGET), value)
    (effect, *_), (values, errors) = sampled_shapley(target, design), estimated(target, design)
    assert effect.pairs == len(effect.steps) == PERMUTATIONS
    assert effect.permutations == 35  # sets of three of seven source corpora
    assert (abs(values - exact) < 4 * errors * np.sqrt(35 / PERMUTATIONS)).all()


def test_one_missing_set_leaves_the_permutations_that_pass_it_by():
    design = design_of(3)
    source_sets = [source_set for source_set in design.source_sets(TARGET) if source_set != {"c0", "c1"}]
    value, _ = made_game(3, 4)
    values, _ = estimated(target_of(design, source_sets, value), design)
    orders = [o for o in permutations(design.sources(TARGET)) if set(o[:2]) != {"c0", "c1"}]
    gains = [[value(o[: o.index(c) + 1]) - value(o[: o.index(c)]) for o in orders] for c in design.sources(TARGET)]
    assert [o[0] for o in orders] == ["c0", "c1", "c2", "c2"]  # which counts once
    np.testing.assert_allclose(values, np.average(gains, 1, [2, 2, 1, 1]))


@pytest.mark.parametrize("without", [0, 2, 3])
def test_no_permutation_can_be_evaluated_without_a_whole_size(without):
    design = design_of(3)
    target = scored_target(TARGET, design, lambda s, c, seed: None if len(s) == without + 1 else 50)
    assert sampled_shapley(target, design) == []
    assert {e.weights is None for e in source_effects(target, design) if e.kind == SHAPLEY} == {True}


def test_a_grid_of_thirty_corpora_takes_the_sets_that_were_trained():
    """2^30 sets cannot even be listed."""
    design = design_of(30)
    sources, rng = design.sources(TARGET), np.random.default_rng(5)
    value, exact = made_game(30, 6)
    orders = [rng.permutation(sources).tolist() for _ in range(6)]
    target = target_of(design, prefixes_of(orders), value)
    effects = [e for e in source_effects(target, design) if e.kind == SAMPLED]
    assert len(effects) == 30
    assert effects[0].permutations == 6
    assert mixing(target, design).weights is None
    assert len(design.source_sets(TARGET, target.cells)) == len(prefixes_of(orders))
    values, errors = estimated(target, design)
    assert np.mean(abs(values - exact) < 3 * errors) > 0.8


@pytest.mark.parametrize("available", [16, 4])
def test_the_cells_of_a_grid_with_drawn_permutations_suffice(tmp_path, available):
    """An additive game has the same gains in every permutation."""
    names = [f"c{i}" for i in range(16)]
    grid = grid_of_readings(tmp_path, names, "{permutations: 4, seed: 3}", names[:available])
    design = read_design("made", tmp_path).narrowed({"corpora": names[:available]})
    assert design.drawn == (4, 3)
    gains = np.random.default_rng(7).normal(2, 3, available)
    for target in design.corpora:
        source_sets = [frozenset(cell.corpora) - {target} for cell in grid.cells if target in cell.corpora]
        game = {source_set: 200 + sum(gains[int(name[1:])] for name in source_set) for source_set in source_sets}
        confusions = {
            (design.cell(source_set | {target}, design.configurations[0]), 0): one_speaker(value, 2, 1000)
            for source_set, value in game.items()
        }
        scored = make_target(target, ["a", "b"], ["s"], [1], confusions, "made")
        assert (cell_indices(scored, design) >= 0).all()  # of other sets none is called missing
        values, _ = estimated(scored, design)
        np.testing.assert_allclose(values, np.delete(gains, int(target[1:])))
        effects = sampled_shapley(scored, design)
        assert {effect.permutations for effect in effects} <= ({4} if available == 16 else {1, 2, 3, 4})


@pytest.mark.parametrize(
    ("asked", "missing"), [("[[c0], [c0, c1], [c0, c2]]", ["c2"]), ("pairs", ["c2"]), ("all", ["c2", "c1 c2"])]
)
def test_of_the_sets_that_a_grid_asks_for_those_that_are_not_trained_are_missing(tmp_path, asked, missing):
    grid_of_readings(tmp_path, ["c0", "c1", "c2"], asked)
    design = read_design("made", tmp_path)
    cells = [design.cell(frozenset(corpora), design.configurations[0]) for corpora in (["c0"], ["c0", "c1"])]
    confusions = {(cell, 0): one_speaker(5, 2, 10) for cell in cells}
    target = make_target("c0", ["a", "b"], ["s"], [1], confusions, "made")
    source_sets, place = design.source_sets("c0", target.cells), cell_indices(target, design)
    assert [
        " ".join(sorted(source_set)) for source_set, (i,) in zip(source_sets, place, strict=True) if i < 0
    ] == missing


def test_of_a_grid_with_all_targets_the_stated_error_is_that_of_the_draw():
    """Prefixes of the other targets' permutations are mixes of this one, too."""
    names = design_of(10).corpora
    value, exact = made_game(10, 2)
    found = []
    for seed in range(100):
        design = replace(design_of(10), drawn=(6, seed))
        sets = {source_set | {target} for target in names for source_set in prefixes(target, names, 6, seed)}
        source_sets = [found - {TARGET} for found in sets if TARGET in found]
        assert len(source_sets) > 2 * len(prefixes(TARGET, names, 6, seed))
        found.append(estimated(target_of(design, source_sets, value), design))
    check_errors(found, exact)


def test_the_table_reports_that_values_are_sampled_and_how_exactly():
    design = design_of(2)
    target = target_of(design, design.source_sets(TARGET), lambda corpora: OF_TWO["".join(sorted(corpora))])
    sampled = sampled_shapley(target, design)
    scores = np.array([[0.050, 0.060, 0.055, 0.075]] * 2)
    assert _sampling(sampled[0], scores) == [", sampled, 2 permutations, +- 0.5"] * 2
    exact = source_effects(target, design)
    assert _sampling(exact[0], scores) == ["", ""]
    assert _shapley_notes(target, exact, design) == []
    assert "the permutations of the source corpora whose prefixes" in _shapley_notes(target, sampled, design)[0]
    drawn = _shapley_notes(target, sampled, replace(design, drawn=(5, 0)))[0]
    assert drawn.endswith("The grid draws 5; those that are drawn twice count once.")
    none = target_of(design, [frozenset()], lambda source_set: 50)
    assert "nor sampled" in _shapley_notes(none, source_effects(none, design), design)[0]
