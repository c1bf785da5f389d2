"""Tables 2 to 5 as the paper defines them: which configuration wins, and which corpora the best mix contains.

Functions of scores with any leading axes, so that the grid and all of its resamples go the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ser.findings.design import FACTORS, Configuration, Design
from ser.findings.scores import METRICS, Target
from ser.findings.stats.bootstrap import Resampled, percentiles
from ser.grid.cells import Cell

# Scores that differ by less are tied: sums in another order differ by as much.
TIE = 1e-9
ALL = "All"


@dataclass(frozen=True)
class Share:
    """A cell of Table 3, 4 or 5.

    Attributes:
        labels: what it is the share of, by column.
        wins: ties count as parts of 1.
        of: how many there are to win.
        low, high: interval of the share; percentiles.
        chance: the share by chance.
        best: in how many of the resamples it is the largest of those that it competes with; None where there is none.
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
        best, single: the cells with the highest score, several of a tie; any mix, and the single-corpus baseline.
        best_score, single_score: fractions; NaN where no cell is there.
        p_best: in how many of the resamples one of `best` has the highest score.
        cells: how many cells were there to choose from.
    """

    target: str
    metric: str
    best: list[Cell]
    best_score: float
    p_best: float
    single: list[Cell]
    single_score: float
    cells: int


def winners(scores: np.ndarray, axis: int) -> np.ndarray:
    """1 for the highest along an axis, 1/m each where m are tied, else 0."""
    first = scores >= scores.max(axis, keepdims=True) - TIE
    return np.asarray(first / first.sum(axis, keepdims=True))


def places(target: Target, design: Design) -> np.ndarray:
    """Where each cell of a target's factorial stands, -1 where it is missing, int64, (mixes, configurations)."""
    index, own = target.index, frozenset([target.name])
    mixes = design.mixes(target.name, target.cells)
    return np.array([[index.get(design.cell(own | mix, c), -1) for c in design.configurations] for mix in mixes])


def table2(target: Target, resampled: Resampled, design: Design) -> list[Best]:
    """Best(t): the highest score over all mixes and configurations; Single(t): that of the single-corpus baseline."""
    place = places(target, design)
    every, alone = place[place >= 0], place[0][place[0] >= 0]
    if not len(every):
        return []
    found = []
    for m, metric in enumerate(METRICS):
        observed = resampled.observed[m]

        def top(among: np.ndarray, observed: np.ndarray = observed) -> list[int]:
            return [i for i in among.tolist() if observed[i] >= observed[among].max() - TIE] if len(among) else []

        best, single = top(every), top(alone)
        wins = winners(resampled.both[m][:, every], 1)
        found.append(
            Best(
                target.name,
                metric,
                [target.cells[i] for i in best],
                float(observed[best[0]]),
                float(wins[:, np.isin(every, best)].sum(1).mean()),
                [target.cells[i] for i in single],
                float(observed[single[0]]) if single else float("nan"),
                len(every),
            )
        )
    return found


def cases(targets: Sequence[Target], resampled: Mapping[str, Resampled], design: Design) -> tuple[np.ndarray, ...]:
    """Scores of each pair of target and mix that has all configurations.

    Returns:
        Observed, (metrics, cases, configurations), and resampled, (metrics, resamples, cases, configurations).
    """
    observed, both = [], []
    for target in targets:
        place = places(target, design)
        whole = place[(place >= 0).all(1)]
        observed.append(resampled[target.name].observed[:, whole])
        both.append(resampled[target.name].both[:, :, whole])
    return np.concatenate(observed, 1), np.concatenate(both, 2)


def ties(scores: np.ndarray, axis: int) -> np.ndarray:
    """In how many places along the last other axis the first is not alone, (metrics,)."""
    first = scores >= scores.max(axis, keepdims=True) - TIE
    return np.asarray((first.sum(axis) > 1).sum(-1))


def table4(wins: np.ndarray, configurations: Sequence[Configuration]) -> dict[str, dict[str, np.ndarray]]:
    """The counts of Table 3 by one factor at a time.

    Args:
        wins: (..., configurations), in the order of `configurations`.

    Returns:
        factor -> level -> wins.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    for i, factor in enumerate(FACTORS):
        for level in dict.fromkeys(c[i] for c in configurations):
            chosen = [c[i] == level for c in configurations]
            found.setdefault(factor, {})[level] = wins[..., chosen].sum(-1)
    return found


def table5(wins: np.ndarray, mixes: Sequence[frozenset[str]], sources: Sequence[str]) -> np.ndarray:
    """How many configurations have a best mix with a source corpus, (..., sources).

    Args:
        wins: of the mixes in each configuration, (..., mixes, configurations).
    """
    within = np.array([[d in mix for d in sources] for mix in mixes], np.float64)
    return np.asarray(np.einsum("...mc,md->...d", wins, within))


def shares3(observed: np.ndarray, both: np.ndarray, design: Design) -> list[Share]:
    """Table 3 of the wins in each case; see `cases` for the axes."""
    labels = [dict(zip(FACTORS, c, strict=True)) for c in design.configurations]
    chance = [1 / len(labels)] * len(labels)
    return _shares(observed.sum(-2), both.sum(-2), observed.shape[1], labels, chance)


def shares4(observed: np.ndarray, both: np.ndarray, design: Design) -> list[Share]:
    """Table 4 of the same wins."""
    found = []
    sums = table4(observed.sum(-2), design.configurations), table4(both.sum(-2), design.configurations)
    for factor in FACTORS:
        one, many = (np.stack([*s[factor].values()], axis=-1) for s in sums)
        labels = [{"factor": factor, "level": level} for level in sums[0][factor]]
        if len(labels) > 1:
            found += _shares(one, many, observed.shape[1], labels, [1 / len(labels)] * len(labels))
    return found


def shares5(
    targets: Sequence[Target], resampled: Mapping[str, Resampled], design: Design
) -> tuple[list[Share], dict[str, int], dict[str, np.ndarray]]:
    """Table 5: a row a target and, over all with another target, a row All.

    Returns:
        The shares; configurations of each target that have all mixes; and how many of these have a tie, by metric.
    """
    found: list[Share] = []
    counts: dict[str, int] = {}
    tied: dict[str, np.ndarray] = {}
    sums: dict[str, list[tuple[np.ndarray, np.ndarray, int]]] = {}
    for target in targets:
        place = places(target, design)
        whole = place[:, (place >= 0).all(0)]
        counts[target.name] = whole.shape[1]
        sources = design.sources(target.name)
        if not whole.size or not sources or len(place) < 2 ** len(sources):
            continue
        scores = resampled[target.name].observed[:, whole]
        tied[target.name] = ties(scores, 1)
        one, many = (
            table5(winners(s, s.ndim - 2), design.mixes(target.name, target.cells), sources)
            for s in (scores, resampled[target.name].both[:, :, whole])
        )
        labels = [{"target": target.name, "source": d} for d in sources]
        found += _shares(one, many, whole.shape[1], labels, [0.5] * len(sources))
        for i, source in enumerate(sources):
            sums.setdefault(source, []).append((one[..., i], many[..., i], whole.shape[1]))
    if len(tied) > 1:
        pooled = {}
        for d in (d for d in design.corpora if d in sums):
            ones, manys, ofs = zip(*sums[d], strict=True)
            pooled[d] = np.sum(ones, 0), np.sum(manys, 0), sum(ofs)
        many = np.stack([samples / of for _, samples, of in pooled.values()], axis=-1)
        best = winners(many, -1).mean(1)
        for i, (source, (one, samples, of)) in enumerate(pooled.items()):
            labels = [{"target": ALL, "source": source}]
            row = _shares(one[..., None], samples[..., None], of, labels, [0.5])
            found += [replace(share, best=float(best[METRICS.index(share.metric), i])) for share in row]
    return found, counts, tied


def _shares(
    observed: np.ndarray, both: np.ndarray, of: int, labels: Sequence[dict[str, str]], chance: Sequence[float]
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
            chance[i],
            float(best[m, i]) if len(labels) > 1 else None,
        )
        for m, metric in enumerate(METRICS)
        for i, label in enumerate(labels)
    ]
