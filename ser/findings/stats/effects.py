"""What a source corpus does for a target: linear combinations of cells, over matched pairs."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial

import numpy as np

from ser.common import derive_seed
from ser.findings.design import Design
from ser.findings.scores import Target
from ser.grid.cells import prefixes

CorpusSet = frozenset[str]
MAIN_EFFECT, SHAPLEY, SAMPLED = "main effect", "Shapley value", "Shapley value, sampled"
PERMUTATIONS = 1000  # at most, of a sampled Shapley value


@dataclass(frozen=True)
class Contrast:
    """A linear combination of the scores of a target's cells.

    Attributes:
        kind: "main effect", "Shapley value" or "Shapley value, sampled", "interaction", "all source corpora", or a
            panel of the transfer matrix.
        sources: the source corpora whose effect it is.
        weights: (cells,); None where no configuration has all cells that it needs.
        configurations: number of configurations averaged over.
        pairs: number of matched pairs of cells averaged over; 0 for none.
        steps: of a sampled Shapley value, the cells without and with the source corpus in each permutation, int64,
            (permutations, configurations, 2).
        groups: of each permutation, those that count as one together, from 0, int64, (permutations,).
    """

    kind: str
    sources: tuple[str, ...]
    weights: np.ndarray | None
    configurations: int
    pairs: int = 0
    steps: np.ndarray | None = None
    groups: np.ndarray | None = None

    @property
    def permutations(self) -> int:
        """How many a sampled Shapley value goes over, those of a group counted once; 0 for any other effect."""
        return 0 if self.groups is None else int(self.groups.max()) + 1

    def standard_error(self, scores: np.ndarray) -> np.ndarray:
        """Of a sampled Shapley value: that of a mean over permutations (Castro, Gomez and Tejada 2009).

        Args:
            scores: of the cells, (metrics, cells).

        Returns:
            (metrics,); NaN of one permutation.
        """
        assert self.steps is not None
        assert self.groups is not None
        before, after = np.moveaxis(self.steps, 2, 0)
        gains = (scores[:, after] - scores[:, before]).mean(2)
        if self.permutations < 2:
            return np.full(len(scores), np.nan)
        means = np.array([np.bincount(self.groups, gain) for gain in gains]) / np.bincount(self.groups)
        return np.asarray(means.std(1, ddof=1) / np.sqrt(self.permutations))


def is_score(effect: Contrast) -> bool:
    """Whether a contrast is a mean of scores, not a difference."""
    return effect.weights is not None and bool(effect.weights.min() >= 0)


def contrast(
    kind: str,
    target: Target,
    design: Design,
    sources: tuple[str, ...],
    terms: Mapping[CorpusSet, float],
    pairs: int = 0,
) -> Contrast:
    """A weighted sum over training sets, averaged over the configurations that have all of them.

    Args:
        terms: training set -> coefficient; empty where the grid has more of them than cells.
        pairs: matched pairs in each configuration.
    """
    rows = design.indices(target, terms).T
    rows = rows[(rows >= 0).all(1)]
    if not rows.size:
        return Contrast(kind, sources, None, 0)
    weights = np.zeros(len(target.cells))
    for row in rows:
        weights[row] += np.array([*terms.values()]) / len(rows)
    return Contrast(kind, sources, weights, len(rows), pairs * len(rows))


def main_effects(target: Target, design: Design) -> list[Contrast]:
    """The main effect of each source corpus, see `source_effects`."""
    k = len(design.sources(target.name))
    return _gains(MAIN_EFFECT, target, design, lambda size: 1 / 2 ** (k - 1))


def _gains(kind: str, target: Target, design: Design, weight: Callable[[int], float]) -> list[Contrast]:
    """For each source corpus d the sum over S of v(S + d) - v(S), weighted by the size of S."""
    sources, own = design.sources(target.name), frozenset([target.name])
    source_sets, gains = all_source_sets(target, design), []
    for d in sources:
        terms: dict[CorpusSet, float] = {}
        for without in (s for s in source_sets if d not in s):
            terms |= {own | without | {d}: weight(len(without)), own | without: -weight(len(without))}
        gains.append(contrast(kind, target, design, (d,), terms, 2 ** (len(sources) - 1)))
    return gains


def source_effects(target: Target, design: Design) -> list[Contrast]:
    """Main effects, Shapley values, pairwise interactions, and the joint effect of all source corpora.

    With v(S) the mean score when the source corpora S are trained on besides the target, of k sources:
    the main effect of d is the mean of v(S + d) - v(S) over all S without d; its Shapley value weights these by
    |S|! (k - |S| - 1)! / k! (Shapley 1953), so that all of them add up to v(all) - v(none); the interaction of d and e
    is the mean of v(S + d + e) - v(S + d) - v(S + e) + v(S). Where no configuration has every v(S), Shapley values are
    sampled, see `sampled_shapley`.
    """
    sources = design.sources(target.name)
    k, own = len(sources), frozenset([target.name])
    shapley = _gains(SHAPLEY, target, design, lambda size: factorial(size) * factorial(k - size - 1) / factorial(k))
    if any(effect.weights is None for effect in shapley):
        shapley = sampled_shapley(target, design) or shapley
    effects = [*main_effects(target, design), *shapley]
    source_sets = all_source_sets(target, design)
    for d, e in combinations(sources, 2):
        terms: dict[CorpusSet, float] = {}
        for without in (s for s in source_sets if not s & {d, e}):
            weight = 1 / 2 ** (k - 2)
            terms |= {own | without | {d, e}: weight, own | without: weight}
            terms |= {own | without | {d}: -weight, own | without | {e}: -weight}
        effects.append(contrast("interaction", target, design, (d, e), terms, 2 ** (k - 2)))
    if sources:
        terms = {own | set(sources): 1, own: -1}
        effects.append(contrast("all source corpora", target, design, tuple(sources), terms, 1))
    return effects


def all_source_sets(target: Target, design: Design) -> list[CorpusSet]:
    """All sets of source corpora; none where they are more than the cells, so that no configuration can have all."""
    return design.source_sets(target.name) if 2 ** len(design.sources(target.name)) <= len(target.cells) else []


def sampled_shapley(target: Target, design: Design) -> list[Contrast]:
    """Shapley values from some of the training sets, by permutations (Castro, Gomez and Tejada 2009).

    The Shapley value of d is the mean, over all orders of the source corpora, of v(S + d) - v(S), S being those before
    d. Only sets that were trained have a value, so a permutation can be evaluated if and only if all of its prefixes,
    from none to all source corpora, are cells. The mean goes over the permutations that can be: all of them, or
    PERMUTATIONS drawn evenly from more. Those that share prefixes are not independent: of the size of which they have
    the most sets (of several, the middle one), each set counts as one permutation, the mean of those that pass through
    it. So n permutations that were drawn from many, and all of whose prefixes were trained, count as n.

    Where the grid draws permutations for each target (`prefixes`), only those of this one count: sets with another
    target's prefix would complete more permutations, which depend on each other.

    It is unbiased where the grid trained the prefixes of permutations drawn at random; its standard error is of such a
    draw, too large where it is most of all permutations, and does not cover cells missing for another reason.

    Returns:
        One for each source corpus, over the configurations that have v(none) and v(all) and the sets that all of these
        have; nothing where no permutation can be evaluated. They add up to v(all) - v(none).
    """
    sources = design.sources(target.name)
    every: CorpusSet = frozenset(sources)
    trained: dict[tuple[str, str, str], dict[CorpusSet, int]] = {c: {} for c in design.configurations}
    for i, cell in enumerate(target.cells):
        source_set = frozenset(cell.corpora) - {target.name}
        if target.name in cell.corpora and source_set <= every:
            trained.get((cell.task, cell.temporal, cell.pooling), {})[source_set] = i
    complete = [cells for cells in trained.values() if {frozenset(), every} <= cells.keys()]
    if not complete:
        return []
    common = set.intersection(*(set(cells) for cells in complete))
    if design.drawn:
        common &= prefixes(target.name, design.corpora, *design.drawn)
    num_orders = {every: 1}  # in how many orders the corpora that a set lacks can follow
    for source_set in sorted(common - {every}, key=len, reverse=True):
        num_orders[source_set] = sum(num_orders.get(source_set | {d}, 0) for d in every - source_set)
    number = num_orders.get(frozenset(), 0)
    if not number:
        return []
    rng = random.Random(derive_seed("permutations", target.name))
    chosen = range(number) if number <= PERMUTATIONS else [rng.randrange(number) for _ in range(PERMUTATIONS)]
    steps: dict[str, list[list[tuple[int, int]]]] = {d: [] for d in sources}
    passed: list[list[CorpusSet]] = []  # prefixes of each permutation but the last
    for rank in chosen:
        prefix: CorpusSet = frozenset()
        passed.append([])
        while prefix != every:
            for d in (d for d in sources if d not in prefix):
                following = num_orders.get(prefix | {d}, 0)
                if rank < following:
                    break
                rank -= following
            passed[-1].append(prefix)
            steps[d].append([(cells[prefix], cells[prefix | {d}]) for cells in complete])
            prefix |= {d}
    middle = len(sources) / 2
    by_size = zip(*passed, strict=True)
    most = max(by_size, key=lambda sets: (len(set(sets)), -abs(len(sets[0]) - middle)))
    numbers = {source_set: i for i, source_set in enumerate(dict.fromkeys(most))}
    groups = np.array([numbers[source_set] for source_set in most])
    sizes, number = np.bincount(groups), len(complete)
    share = 1 / (len(sizes) * sizes[groups] * number)[:, None]
    means = []
    for d, own_steps in steps.items():
        weights, pairs = np.zeros(len(target.cells)), np.array(own_steps)
        np.add.at(weights, pairs[..., 0], -share)
        np.add.at(weights, pairs[..., 1], share)
        means.append(Contrast(SAMPLED, (d,), weights, number, len(pairs) * number, pairs, groups))
    return means


MIXING, MULTI_TASK = "mixing", "multi-task"


def mixing(target: Target, design: Design) -> Contrast:
    """The mean score over all training sets with a source corpus, minus the single-corpus baseline."""
    own = frozenset([target.name])
    source_sets = [s for s in all_source_sets(target, design) if s]
    terms: dict[CorpusSet, float] = {own | s: 1 / len(source_sets) for s in source_sets}
    terms |= {own: -1} if source_sets else {}
    return contrast(MIXING, target, design, tuple(design.sources(target.name)), terms, len(source_sets))


def multi_task(target: Target, design: Design) -> list[Contrast]:
    """Task multi minus task unified over matched cells with a source corpus; none where the grid has one task alone."""
    if not {"multi", "unified"} <= set(design.task):
        return []
    training_sets = [s | {target.name} for s in design.source_sets(target.name, target.cells) if s]
    pairs = design.task_pairs(target, training_sets)
    weights = np.zeros(len(target.cells))
    weights[pairs] = np.array([1, -1]) / max(len(pairs), 1)
    sources, configurations = tuple(design.sources(target.name)), len(design.configurations) // len(design.task)
    return [Contrast(MULTI_TASK, sources, weights if len(pairs) else None, configurations, len(pairs))]


LEFT_OUT = "leave one corpus out"
PANELS = {
    "in-domain gain": "trained on target and source corpus, minus single-corpus baseline; diagonal: that baseline",
    "zero-shot": "trained on the source corpus alone",
    LEFT_OUT: "trained on all corpora but the target",
    "drop one of all corpora": "trained on all corpora, minus all without this one",
}


def transfer(target: Target, design: Design) -> list[Contrast]:
    """The row of a target in the four panels of the transfer matrix; sources: its column, or all but the target."""
    t, every, sources = target.name, frozenset(design.corpora), design.sources(target.name)
    gain, zero_shot, leave_out, drop = PANELS

    def panel(kind: str, sources: Sequence[str], terms: Mapping[CorpusSet, float]) -> Contrast:
        return contrast(kind, target, design, tuple(sources), terms)

    panels = [panel(zero_shot, [d], {frozenset([d]): 1}) for d in sources]
    if len(every) > 1:
        panels.append(panel(leave_out, sources, {every - {t}: 1}))
    if t not in every:
        return panels
    panels.append(panel(gain, [t], {frozenset([t]): 1}))
    panels += [panel(gain, [d], {frozenset([t, d]): 1, frozenset([t]): -1}) for d in sources]
    if len(every) > 1:
        panels += [panel(drop, [d], {every: 1, every - {d}: -1}) for d in design.corpora]
    return panels
