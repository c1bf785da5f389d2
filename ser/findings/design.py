"""Factors of a grid, and the cells of its factorial."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations, product
from pathlib import Path
from typing import Any

import numpy as np

from ser.common import InputError
from ser.corpora.protocol import read_protocol
from ser.findings.scores import Target
from ser.grid.cells import MOST_OF_ALL, Cell, listed, prefixes, read_grid_file

FACTORS = ("task", "temporal", "pooling")
Configuration = tuple[str, str, str]  # task, temporal block, pooling


@dataclass(frozen=True)
class Design:
    """Corpora in the order of tables, and the levels of each factor.

    Attributes:
        drawn: number and seed of the permutations whose `prefixes` the grid trains on; None: it draws none.
        sets: training sets that the grid lists; None: it has all of them, or draws them.
    """

    corpora: tuple[str, ...]
    task: tuple[str, ...]
    temporal: tuple[str, ...]
    pooling: tuple[str, ...]
    drawn: tuple[int, int] | None = None
    sets: frozenset[frozenset[str]] | None = None

    @property
    def configurations(self) -> list[Configuration]:
        """Twelve in the paper."""
        return list(product(self.task, self.temporal, self.pooling))

    def sources(self, target: str) -> list[str]:
        """The corpora other than the target."""
        return [corpus for corpus in self.corpora if corpus != target]

    def source_sets(self, target: str, cells: Collection[Cell] | None = None) -> list[frozenset[str]]:
        """All sets of source corpora, from none to all; each with the target is a training set: eight in the paper.

        Args:
            cells: the trained cells. Where the grid does not have all sets, or there are too many, only the sets of
                the grid and of these cells are returned.
        """
        sources = self.sources(target)
        if cells is not None and (self.sets is not None or self.drawn or len(sources) > MOST_OF_ALL):
            sets = [*(frozenset(cell.corpora) for cell in cells), *(self.sets or ())]
            source_sets = {frozenset(), *(s - {target} for s in sets if target in s and s <= {*self.corpora})}
            if self.drawn:
                source_sets |= prefixes(target, self.corpora, *self.drawn)
            return sorted(source_sets, key=lambda s: (len(s), sorted(map(sources.index, s))))
        return [frozenset(s) for s in chain(*(combinations(sources, n) for n in range(len(sources) + 1)))]

    def cell(self, corpora: frozenset[str], configuration: Configuration) -> Cell:
        """The cell that trains on some corpora."""
        return Cell(tuple(c for c in self.corpora if c in corpora), *configuration)

    def indices(self, target: Target, training_sets: Iterable[frozenset[str]]) -> np.ndarray:
        """Indices of cells in `target.cells`, -1 for a cell that is missing.

        Args:
            training_sets: corpora that are trained on together.

        Returns:
            int64, (training sets, configurations).
        """
        index = target.index
        rows = [[index.get(self.cell(s, c), -1) for c in self.configurations] for s in training_sets]
        return np.array(rows, np.int64).reshape(-1, len(self.configurations))

    def task_pairs(self, target: Target, training_sets: Iterable[frozenset[str]]) -> np.ndarray:
        """Indices of cells of task multi and unified that are equal in all else, int64, (pairs, 2)."""
        if not {"multi", "unified"} <= set(self.task):
            return np.empty((0, 2), np.int64)
        by_task = self.indices(target, training_sets).reshape(-1, len(self.task), len(self.temporal), len(self.pooling))
        pairs = np.stack([by_task[:, self.task.index(task)].ravel() for task in ("multi", "unified")], axis=1)
        return pairs[(pairs >= 0).all(1)]

    def narrowed(self, levels: Mapping[str, Sequence[str]]) -> Design:
        """The design with only some levels of some factors.

        Raises:
            InputError: a level that the grid has not.
        """
        for factor, names in levels.items():
            for name in names:
                if name not in getattr(self, factor):
                    known = ", ".join(getattr(self, factor))
                    raise InputError(f"{name} is not in the grid, which has {known}", f"--{factor} {','.join(names)}")
        chosen: dict[str, Any] = {f: tuple(x for x in getattr(self, f) if x in names) for f, names in levels.items()}
        return replace(self, **chosen)


def synthetic(corpora: Sequence[str], recipe: Path | None = None) -> list[str]:
    """The corpora whose protocol marks their speech as synthetic.

    Raises:
        InputError: a corpus has no protocol, or a wrong one.
    """
    return [corpus for corpus in corpora if read_protocol(corpus, recipe).synthetic]


def read_design(grid: str = "paper", recipe: Path | None = None) -> Design:
    """Read corpora and factors of conf/grids/<grid>.yaml, the recipe's own before the toolkit's.

    Raises:
        InputError: there is no such file, or it lacks one of them.
    """
    _, values = read_grid_file(grid, recipe)
    asked = values["combinations"]
    drawn = (asked["permutations"], asked.get("seed", 0)) if isinstance(asked, dict) else None
    corpora, task, temporal, pooling = (tuple(values[key]) for key in ("corpora", *FACTORS))
    sets = None if drawn or asked == "all" else frozenset(map(frozenset, listed(asked, corpora)))
    return Design(corpora, task, temporal, pooling, drawn, sets)
