"""What a source corpus does for a target: linear combinations of cells, over matched pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import factorial

import numpy as np

from ser.findings.design import Design
from ser.findings.scores import Target

Mix = frozenset[str]


@dataclass(frozen=True)
class Contrast:
    """A linear combination of the scores of a target's cells.

    Attributes:
        kind: "main effect", "Shapley value", "interaction", "all source corpora", or a panel of the transfer matrix.
        sources: whose it is.
        weights: (cells,); None where not one configuration has all cells that it needs.
        configurations: over how many of the grid's it goes.
        pairs: how many matched pairs of cells it is the mean of; 0 for none.
    """

    kind: str
    target: str
    sources: tuple[str, ...]
    weights: np.ndarray | None
    configurations: int
    pairs: int = 0


def contrast(
    kind: str, target: Target, design: Design, sources: tuple[str, ...], terms: Mapping[Mix, float], pairs: int = 0
) -> Contrast:
    """A sum over training mixes, as a mean over the configurations that have all of them.

    Args:
        terms: corpora trained on -> coefficient.
        pairs: in each configuration.
    """
    index = target.index
    rows = [[index.get(design.cell(mix, c), -1) for mix in terms] for c in design.configurations]
    whole = [row for row in rows if min(row) >= 0]
    if not whole:
        return Contrast(kind, target.name, sources, None, 0)
    weights = np.zeros(len(target.cells))
    for row in whole:
        weights[row] += np.array([*terms.values()]) / len(whole)
    return Contrast(kind, target.name, sources, weights, len(whole), pairs * len(whole))


MAIN_EFFECT = "main effect"


def source_effects(target: Target, design: Design) -> list[Contrast]:
    """Main effects, Shapley values, pairwise interactions, and what all source corpora do together.

    With v(S) the mean score when the source corpora S are trained on besides the target, of k sources:
    the main effect of d is the mean of v(S + d) - v(S) over all S without d; its Shapley value weights these by
    |S|! (k - |S| - 1)! / k! (Shapley 1953), so that all of them add up to v(all) - v(none); the interaction of d and e
    is the mean of v(S + d + e) - v(S + d) - v(S + e) + v(S).
    """
    sources = design.sources(target.name)
    k, own = len(sources), frozenset([target.name])
    mixes = design.mixes(target.name)
    found = []
    for kind in (MAIN_EFFECT, "Shapley value"):
        for d in sources:
            terms: dict[Mix, float] = {}
            for mix in (mix for mix in mixes if d not in mix):
                size = len(mix)
                weight = 1 / 2 ** (k - 1)
                if kind == "Shapley value":
                    weight = factorial(size) * factorial(k - size - 1) / factorial(k)
                terms |= {own | mix | {d}: weight, own | mix: -weight}
            found.append(contrast(kind, target, design, (d,), terms, 2 ** (k - 1)))
    for d, e in combinations(sources, 2):
        terms = {}
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


MIXING, MULTI_TASK = "mixing", "multi-task"


def mixing(target: Target, design: Design) -> Contrast:
    """The mean score over all training sets with a source corpus, minus the single-corpus baseline."""
    own = frozenset([target.name])
    mixes = [mix for mix in design.mixes(target.name) if mix]
    terms: dict[Mix, float] = {own | mix: 1 / len(mixes) for mix in mixes} | {own: -1}
    return contrast(MIXING, target, design, tuple(design.sources(target.name)), terms, len(mixes))


def multi_task(target: Target, design: Design) -> list[Contrast]:
    """Task multi minus task unified over matched cells with a source corpus; none where the grid has one task alone."""
    if not {"multi", "unified"} <= set(design.task):
        return []
    index, own = target.index, frozenset([target.name])
    settings = [c for c in design.configurations if c[0] == "multi"]
    cells = [
        (design.cell(own | mix, c), design.cell(own | mix, ("unified", *c[1:])))
        for mix in design.mixes(target.name)
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
