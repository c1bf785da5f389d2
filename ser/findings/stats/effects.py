"""What a donor corpus does for a target: linear combinations of cells, over matched pairs."""

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
        kind: "main effect", "Shapley value", "interaction", "all donors", or a panel of the transfer matrix.
        donors: whose it is.
        weights: (cells,); None where not one configuration has all cells that it needs.
        configurations: over how many of the grid's it goes.
        pairs: how many matched pairs of cells it is the mean of; 0 for none.
    """

    kind: str
    target: str
    donors: tuple[str, ...]
    weights: np.ndarray | None
    configurations: int
    pairs: int = 0


def contrast(
    kind: str, target: Target, design: Design, donors: tuple[str, ...], terms: Mapping[Mix, float], pairs: int = 0
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
        return Contrast(kind, target.name, donors, None, 0)
    weights = np.zeros(len(target.cells))
    for row in whole:
        weights[row] += np.array([*terms.values()]) / len(whole)
    return Contrast(kind, target.name, donors, weights, len(whole), pairs * len(whole))


def donor_effects(target: Target, design: Design) -> list[Contrast]:
    """Main effects, Shapley values, pairwise interactions, and what all donors do together.

    With v(S) the mean score when the donors S are trained on besides the target, of k donors:
    the main effect of d is the mean of v(S + d) - v(S) over all S without d; its Shapley value weights these by
    |S|! (k - |S| - 1)! / k! (Shapley 1953), so that all of them add up to v(all) - v(none); the interaction of d and e
    is the mean of v(S + d + e) - v(S + d) - v(S + e) + v(S).
    """
    donors = design.donors(target.name)
    k, own = len(donors), frozenset([target.name])
    mixes = design.mixes(target.name)
    found = []
    for kind in ("main effect", "Shapley value"):
        for d in donors:
            terms: dict[Mix, float] = {}
            for mix in (mix for mix in mixes if d not in mix):
                size = len(mix)
                weight = 1 / 2 ** (k - 1)
                if kind == "Shapley value":
                    weight = factorial(size) * factorial(k - size - 1) / factorial(k)
                terms |= {own | mix | {d}: weight, own | mix: -weight}
            found.append(contrast(kind, target, design, (d,), terms, 2 ** (k - 1)))
    for d, e in combinations(donors, 2):
        terms = {}
        for mix in (mix for mix in mixes if not mix & {d, e}):
            weight = 1 / 2 ** (k - 2)
            terms |= {
                own | mix | s: weight * (1 if len(s) != 1 else -1) for s in map(frozenset, ([], [d], [e], [d, e]))
            }
        found.append(contrast("interaction", target, design, (d, e), terms, 2 ** (k - 2)))
    if donors:
        terms = {own | set(donors): 1, own: -1}
        found.append(contrast("all donors", target, design, tuple(donors), terms, 1))
    return found


PANELS = {
    "in-domain gain": "trained on target and donor, minus target alone; diagonal: target alone",
    "zero-shot": "trained on the donor alone",
    "leave one corpus out": "trained on all corpora but the target",
    "drop one from the full mix": "trained on all corpora, minus all without this one",
}


def transfer(target: Target, design: Design) -> list[Contrast]:
    """The row of a target in the four panels of the transfer matrix; donors: its column, or all but the target."""
    t, every = target.name, frozenset(design.corpora)
    gain, zero_shot, leave_out, drop = PANELS

    def panel(kind: str, donors: tuple[str, ...], terms: Mapping[Mix, float]) -> Contrast:
        return contrast(kind, target, design, donors, terms)

    found = [panel(gain, (t,), {frozenset([t]): 1})]
    for d in design.donors(t):
        found += [
            panel(gain, (d,), {frozenset([t, d]): 1, frozenset([t]): -1}),
            panel(zero_shot, (d,), {frozenset([d]): 1}),
        ]
    if len(every) > 1:
        found.append(panel(leave_out, tuple(design.donors(t)), {every - {t}: 1}))
        found += [panel(drop, (d,), {every: 1, every - {d}: -1}) for d in design.corpora]
    return found
