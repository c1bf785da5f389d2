"""Tables 2 to 5 as the paper defines them: which configuration wins, and which corpora the best training set contains.

Scores may have any leading axes, so that one function computes the figures of the grid and of all resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ser.findings.design import FACTORS, Configuration, Design
from ser.findings.scores import METRICS, Target
from ser.findings.stats.bootstrap import Resampled
from ser.grid.cells import Cell
from ser.scoring.pooled import percentiles

# Scores that differ by less are tied: sums in another order differ by as much.
TIE = 1e-9
ALL = "All"


@dataclass(frozen=True)
class Share:
    """A cell of Table 3, 4 or 5.

    Attributes:
        labels: column -> what the share is of.
        wins: a tie counts as a fraction.
        of: largest possible number of wins.
        low, high: percentile interval of the share.
        chance: share by chance.
        best: fraction of the resamples in which it is the largest of the shares that it competes with; None without
            any competitor.
    """

    metric: str
    labels: dict[str, str]
    wins: float
    of: int
    low: float
    high: float
    chance: float
    best: float | None

    @property
    def share(self) -> float:
        return self.wins / self.of


@dataclass(frozen=True)
class Best:
    """A row of Table 2.

    Attributes:
        best, single: cells with the highest score (several in a tie), of any training set and of the single-corpus
            baseline.
        p_best: fraction of the resamples in which one of `best` has the highest score.
        cells: number of cells to choose from.
    """

    target: str
    metric: str
    best: list[Cell]
    p_best: float
    single: list[Cell]
    cells: int


def _is_best(scores: np.ndarray, axis: int) -> np.ndarray:
    return np.asarray(scores >= scores.max(axis, keepdims=True) - TIE)


def winners(scores: np.ndarray, axis: int) -> np.ndarray:
    """1 for the highest along an axis, 1/m each where m are tied, else 0."""
    best = _is_best(scores, axis)
    return np.asarray(best / best.sum(axis, keepdims=True))


def ties(scores: np.ndarray, axis: int) -> np.ndarray:
    """How many entries along the other axis have several highest scores along `axis`, (metrics,)."""
    return np.asarray((_is_best(scores, axis).sum(axis) > 1).sum(-1))


def cell_indices(target: Target, design: Design) -> np.ndarray:
    """Index of each cell of a target's factorial, -1 where it is missing, int64, (source sets, configurations)."""
    return design.indices(target, [s | {target.name} for s in design.source_sets(target.name, target.cells)])


def table2(target: Target, resampled: Resampled, design: Design) -> list[Best]:
    """Best(t): highest score over all training sets and configurations; Single(t): that of the baseline on t alone."""
    indices = cell_indices(target, design)
    every, single_corpus = indices[indices >= 0], indices[0][indices[0] >= 0]
    if not len(every):
        return []
    rows = []
    for m, metric in enumerate(METRICS):
        observed = resampled.observed[m]
        best, single = (
            chosen[_is_best(observed[chosen], 0)] if len(chosen) else chosen for chosen in (every, single_corpus)
        )
        wins = winners(resampled.both[m][:, every], 1)
        rows.append(
            Best(
                target.name,
                metric,
                [target.cells[i] for i in best],
                float(wins[:, np.isin(every, best)].sum(1).mean()),
                [target.cells[i] for i in single],
                len(every),
            )
        )
    return rows


def cases(targets: Sequence[Target], resampled: Mapping[str, Resampled], design: Design) -> tuple[np.ndarray, ...]:
    """Scores of each pair of target and training set that has all configurations.

    Returns:
        Observed, (metrics, cases, configurations), and resampled, (metrics, resamples, cases, configurations).
    """
    observed, both = [], []
    for target in targets:
        indices = cell_indices(target, design)
        complete = indices[(indices >= 0).all(1)]
        observed.append(resampled[target.name].observed[:, complete])
        both.append(resampled[target.name].both[:, :, complete])
    return np.concatenate(observed, 1), np.concatenate(both, 2)


def table4(wins: np.ndarray, configurations: Sequence[Configuration]) -> dict[str, dict[str, np.ndarray]]:
    """The counts of Table 3 by one factor at a time.

    Args:
        wins: (..., configurations), in the order of `configurations`.
        configurations: task, temporal block and pooling of each.

    Returns:
        factor -> level -> wins.
    """
    levels = {factor: dict.fromkeys(c[i] for c in configurations) for i, factor in enumerate(FACTORS)}
    return {
        factor: {level: wins[..., [c[i] == level for c in configurations]].sum(-1) for level in levels[factor]}
        for i, factor in enumerate(FACTORS)
    }


def shares3(observed: np.ndarray, both: np.ndarray, design: Design) -> list[Share]:
    """Table 3.

    Args:
        observed: wins in each case, with the axes of `cases`.
        both: the same of resamples.
    """
    labels = [dict(zip(FACTORS, c, strict=True)) for c in design.configurations]
    return _shares(observed.sum(-2), both.sum(-2), observed.shape[1], labels, 1 / len(labels))


def shares4(observed: np.ndarray, both: np.ndarray, design: Design) -> list[Share]:
    """Table 4 of the same wins as `shares3`."""
    shares = []
    sums = table4(observed.sum(-2), design.configurations), table4(both.sum(-2), design.configurations)
    for factor in FACTORS:
        one, many = (np.stack([*s[factor].values()], axis=-1) for s in sums)
        labels = [{"factor": factor, "level": level} for level in sums[0][factor]]
        if len(labels) > 1:
            shares += _shares(one, many, observed.shape[1], labels, 1 / len(labels))
    return shares


def shares5(
    targets: Sequence[Target], resampled: Mapping[str, Resampled], design: Design
) -> tuple[list[Share], dict[str, int], dict[str, np.ndarray]]:
    """Table 5: a row a target and, over all with another target, a row All.

    Returns:
        The shares; how many configurations of each target have all training sets; and how many of these have a tie, by
        metric.
    """
    shares: list[Share] = []
    counts: dict[str, int] = {}
    tied: dict[str, np.ndarray] = {}
    sums: dict[str, list[tuple[np.ndarray, np.ndarray, int]]] = {}
    for target in targets:
        indices = cell_indices(target, design)
        complete = indices[:, (indices >= 0).all(0)]
        counts[target.name] = complete.shape[1]
        sources = design.sources(target.name)
        if not complete.size or not sources or len(indices) < 2 ** len(sources):
            continue
        scores = resampled[target.name].observed[:, complete]
        tied[target.name] = ties(scores, 1)
        source_sets = design.source_sets(target.name, target.cells)
        contains = np.array([[d in s for d in sources] for s in source_sets], np.float64)
        one, many = (  # in how many configurations the best training set contains each source corpus
            np.einsum("...mc,md->...d", winners(s, s.ndim - 2), contains)
            for s in (scores, resampled[target.name].both[:, :, complete])
        )
        labels = [{"target": target.name, "source": d} for d in sources]
        shares += _shares(one, many, complete.shape[1], labels, 0.5)
        for i, source in enumerate(sources):
            sums.setdefault(source, []).append((one[..., i], many[..., i], complete.shape[1]))
    if len(tied) > 1:
        pooled = {d: [np.sum(parts, 0) for parts in zip(*sums[d], strict=True)] for d in design.corpora if d in sums}
        many = np.stack([samples / of for _, samples, of in pooled.values()], axis=-1)
        best = winners(many, -1).mean(1)
        for i, (source, (one, samples, of)) in enumerate(pooled.items()):
            labels = [{"target": ALL, "source": source}]
            row = _shares(one[..., None], samples[..., None], int(of), labels, 0.5)
            shares += [replace(share, best=float(best[METRICS.index(share.metric), i])) for share in row]
    return shares, counts, tied


def _shares(
    observed: np.ndarray, both: np.ndarray, of: int, labels: Sequence[dict[str, str]], chance: float
) -> list[Share]:
    """Shares that compete with one another.

    Args:
        observed: wins, (metrics, shares).
        both: the same of resamples, (metrics, resamples, shares).
    """
    low, high = percentiles(both / of, axis=1)
    best = winners(both, -1).mean(1)
    return [
        Share(
            metric,
            label,
            float(observed[m, i]),
            of,
            float(low[m, i]),
            float(high[m, i]),
            chance,
            float(best[m, i]) if len(labels) > 1 else None,
        )
        for m, metric in enumerate(METRICS)
        for i, label in enumerate(labels)
    ]
