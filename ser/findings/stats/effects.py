"""What a source corpus does for a target: linear combinations of cells, over matched pairs."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import factorial

import numpy as np

from ser.common import derive_seed
from ser.findings.design import Design
from ser.findings.scores import Target
from ser.grid.cells import prefixes

Mix = frozenset[str]
MAIN_EFFECT, SHAPLEY, SAMPLED = "main effect", "Shapley value", "Shapley value, sampled"
PERMUTATIONS = 1000  # at most, of a sampled Shapley value


@dataclass(frozen=True)
class Contrast:
    """A linear combination of the scores of a target's cells.

    Attributes:
        kind: "main effect", "Shapley value" or "Shapley value, sampled", "interaction", "all source corpora", or a
            panel of the transfer matrix.
        sources: whose it is.
        weights: (cells,); None where not one configuration has all cells that it needs.
        configurations: over how many of the grid's it goes.
        pairs: how many matched pairs of cells it is the mean of; 0 for none.
        steps: of a sampled Shapley value, the cells without and with the source corpus in each permutation, int64,
            (permutations, configurations, 2).
        groups: of each permutation, those that count as one together, from 0, int64, (permutations,).
    """

    kind: str
    target: str
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


def contrast(
    kind: str, target: Target, design: Design, sources: tuple[str, ...], terms: Mapping[Mix, float], pairs: int = 0
) -> Contrast:
    """A sum over training mixes, as a mean over the configurations that have all of them.

    Args:
        terms: corpora trained on -> coefficient; none: there are more of them than cells.
        pairs: in each configuration.
    """
    if not terms:
        return Contrast(kind, target.name, sources, None, 0)
    index = target.index
    rows = [[index.get(design.cell(mix, c), -1) for mix in terms] for c in design.configurations]
    whole = [row for row in rows if min(row) >= 0]
    if not whole:
        return Contrast(kind, target.name, sources, None, 0)
    weights = np.zeros(len(target.cells))
    for row in whole:
        weights[row] += np.array([*terms.values()]) / len(whole)
    return Contrast(kind, target.name, sources, weights, len(whole), pairs * len(whole))


def main_effects(target: Target, design: Design) -> list[Contrast]:
    """That of each source corpus, see `source_effects`."""
    k = len(design.sources(target.name))
    return _gains(MAIN_EFFECT, target, design, lambda size: 1 / 2 ** (k - 1))


def _gains(kind: str, target: Target, design: Design, weight: Callable[[int], float]) -> list[Contrast]:
    """Of each source corpus d a sum of v(S + d) - v(S), weighted by the size of S."""
    sources, own = design.sources(target.name), frozenset([target.name])
    mixes, found = factorial_mixes(target, design), []
    for d in sources:
        terms: dict[Mix, float] = {}
        for mix in (mix for mix in mixes if d not in mix):
            terms |= {own | mix | {d}: weight(len(mix)), own | mix: -weight(len(mix))}
        found.append(contrast(kind, target, design, (d,), terms, 2 ** (len(sources) - 1)))
    return found


def source_effects(target: Target, design: Design) -> list[Contrast]:
    """Main effects, Shapley values, pairwise interactions, and what all source corpora do together.

    With v(S) the mean score when the source corpora S are trained on besides the target, of k sources:
    the main effect of d is the mean of v(S + d) - v(S) over all S without d; its Shapley value weights these by
    |S|! (k - |S| - 1)! / k! (Shapley 1953), so that all of them add up to v(all) - v(none); the interaction of d and e
    is the mean of v(S + d + e) - v(S + d) - v(S + e) + v(S). Where no configuration has every v(S), Shapley values are
    sampled, see `sampled_shapley`.
    """
    sources = design.sources(target.name)
    k, own = len(sources), frozenset([target.name])
    mixes = factorial_mixes(target, design)
    shapley = _gains(SHAPLEY, target, design, lambda size: factorial(size) * factorial(k - size - 1) / factorial(k))
    if any(effect.weights is None for effect in shapley):
        shapley = sampled_shapley(target, design) or shapley
    found = [*main_effects(target, design), *shapley]
    for d, e in combinations(sources, 2):
        terms: dict[Mix, float] = {}
        for mix in (mix for mix in mixes if not mix & {d, e}):
            weight = 1 / 2 ** (k - 2)
            terms |= {
                own | mix | s: weight * (1 if len(s) != 1 else -1) for s in map(frozenset, ([], [d], [e], [d, e]))
            }
        found.append(contrast("interaction", target, design, (d, e), terms, 2 ** (k - 2)))
    if sources:
        terms = {own | set(sources): 1, own: -1}
        found.append(contrast("all source corpora", target, design, tuple(sources), terms, 1))
    return found


def factorial_mixes(target: Target, design: Design) -> list[Mix]:
    """All sets of source corpora; none where they are more than the cells, so that no configuration can have all."""
    return design.mixes(target.name) if 2 ** len(design.sources(target.name)) <= len(target.cells) else []


def sampled_shapley(target: Target, design: Design) -> list[Contrast]:
    """Shapley values from a part of the training mixes, by permutations (Castro, Gomez and Tejada 2009).

    The Shapley value of d is the mean, over all orders of the source corpora, of v(S + d) - v(S), S being those before
    d. Only mixes that were trained have a value, so a permutation can be evaluated if and only if all of its prefixes,
    from none to all source corpora, are cells. The mean goes over the permutations that can be: all of them, or
    PERMUTATIONS drawn evenly from more. Those that share prefixes are not independent: of the size of which they have
    the most mixes (of several, the middle one), each mix counts as one permutation, the mean of those that pass through
    it. So n permutations that were drawn from many, and all of whose prefixes were trained, count as n.

    Where the grid draws permutations for each target (`prefixes`), only those of this one count: mixes with another
    target's prefix would complete more permutations, which depend on each other.

    It is unbiased where the grid trained the prefixes of permutations drawn at random; its standard error is of such a
    draw, too large where it is most of all permutations, and does not cover cells missing for another reason.

    Returns:
        One a source corpus, over the configurations that have v(none) and v(all) and the mixes that all of these have;
        nothing where not one permutation can be evaluated. They add up to v(all) - v(none).
    """
    sources, own = design.sources(target.name), frozenset([target.name])
    every: Mix = frozenset(sources)
    cells: dict[tuple[str, str, str], dict[Mix, int]] = {c: {} for c in design.configurations}
    for i, cell in enumerate(target.cells):
        mix = frozenset(cell.corpora) - own
        if target.name in cell.corpora and mix <= every:
            cells.get((cell.task, cell.temporal, cell.pooling), {})[mix] = i
    whole = [found for found in cells.values() if {frozenset(), every} <= found.keys()]
    common = set.intersection(*(set(found) for found in whole)) if whole else set()
    if design.drawn:
        common &= prefixes(target.name, design.corpora, *design.drawn)
    ways: dict[Mix, int] = {every: 1}  # in how many orders the corpora that a mix lacks can follow
    for mix in sorted(common - {every}, key=len, reverse=True):
        ways[mix] = sum(ways.get(mix | {d}, 0) for d in every - mix)
    number = ways.get(frozenset(), 0) if common else 0
    rng = random.Random(derive_seed("permutations", target.name))
    chosen = range(number) if number <= PERMUTATIONS else [rng.randrange(number) for _ in range(PERMUTATIONS)]
    steps: dict[str, list[list[tuple[int, int]]]] = {d: [] for d in sources}
    passed: list[list[Mix]] = []
    for left in chosen:
        mix = frozenset()
        passed.append([])
        while mix != every:
            for d in (d for d in sources if d not in mix):
                if left < ways.get(mix | {d}, 0):
                    break
                left -= ways.get(mix | {d}, 0)
            passed[-1].append(mix)
            steps[d].append([(found[mix], found[mix | {d}]) for found in whole])
            mix |= {d}
    if not passed:
        return []
    by_size = list(zip(*passed, strict=True))
    middle = len(sources) / 2
    most = max(by_size, key=lambda mixes: (len(set(mixes)), -abs(len(mixes[0]) - middle)))
    places = {mix: i for i, mix in enumerate(dict.fromkeys(most))}
    groups = np.array([places[mix] for mix in most])
    return [_mean_step(target, d, np.array(own_steps), groups) for d, own_steps in steps.items()]


def _mean_step(target: Target, source: str, steps: np.ndarray, groups: np.ndarray) -> Contrast:
    configurations = steps.shape[1]
    sizes, weights = np.bincount(groups), np.zeros(len(target.cells))
    share = 1 / (len(sizes) * sizes[groups] * configurations)[:, None]
    np.add.at(weights, steps[..., 0], -share)
    np.add.at(weights, steps[..., 1], share)
    pairs = len(steps) * configurations
    return Contrast(SAMPLED, target.name, (source,), weights, configurations, pairs, steps, groups)


MIXING, MULTI_TASK = "mixing", "multi-task"


def mixing(target: Target, design: Design) -> Contrast:
    """The mean score over all training sets with a source corpus, minus the single-corpus baseline."""
    own = frozenset([target.name])
    mixes = [mix for mix in factorial_mixes(target, design) if mix]
    terms: dict[Mix, float] = {own | mix: 1 / len(mixes) for mix in mixes}
    terms |= {own: -1} if mixes else {}
    return contrast(MIXING, target, design, tuple(design.sources(target.name)), terms, len(mixes))


def multi_task(target: Target, design: Design) -> list[Contrast]:
    """Task multi minus task unified over matched cells with a source corpus; none where the grid has one task alone."""
    if not {"multi", "unified"} <= set(design.task):
        return []
    index, own = target.index, frozenset([target.name])
    settings = [c for c in design.configurations if c[0] == "multi"]
    cells = [
        (design.cell(own | mix, c), design.cell(own | mix, ("unified", *c[1:])))
        for mix in design.mixes(target.name, target.cells)
        if mix
        for c in settings
    ]
    pairs = [(index[one], index[other]) for one, other in cells if one in index and other in index]
    weights = np.zeros(len(target.cells))
    for one, other in pairs:
        weights[[one, other]] += np.array([1, -1]) / len(pairs)
    sources = tuple(design.sources(target.name))
    return [Contrast(MULTI_TASK, target.name, sources, weights if pairs else None, len(settings), len(pairs))]


LEFT_OUT = "leave one corpus out"
PANELS = {
    "in-domain gain": "trained on target and source corpus, minus single-corpus baseline; diagonal: that baseline",
    "zero-shot": "trained on the source corpus alone",
    LEFT_OUT: "trained on all corpora but the target",
    "drop one from the full mix": "trained on all corpora, minus all without this one",
}


def transfer(target: Target, design: Design) -> list[Contrast]:
    """The row of a target in the four panels of the transfer matrix; sources: its column, or all but the target."""
    t, every = target.name, frozenset(design.corpora)
    gain, zero_shot, leave_out, drop = PANELS

    def panel(kind: str, sources: tuple[str, ...], terms: Mapping[Mix, float]) -> Contrast:
        return contrast(kind, target, design, sources, terms)

    found = [panel(zero_shot, (d,), {frozenset([d]): 1}) for d in design.sources(t)]
    if len(every) > 1:
        found.append(panel(leave_out, tuple(design.sources(t)), {every - {t}: 1}))
    if t not in every:
        return found
    found += [panel(gain, (t,), {frozenset([t]): 1})]
    found += [panel(gain, (d,), {frozenset([t, d]): 1, frozenset([t]): -1}) for d in design.sources(t)]
    if len(every) > 1:
        found += [panel(drop, (d,), {every: 1, every - {d}: -1}) for d in design.corpora]
    return found
