"""The factors of a grid, and the cells that a table needs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations, product
from pathlib import Path
from typing import Any

from ser.common import InputError
from ser.config import find
from ser.config.yaml_file import read_yaml
from ser.corpora.protocol import read_protocol
from ser.grid.cells import MOST_OF_ALL, Cell, is_draw

FACTORS = ("task", "temporal", "pooling")
Configuration = tuple[str, str, str]  # task, temporal block, pooling


@dataclass(frozen=True)
class Design:
    """Corpora in the order of tables, and the levels of each factor.

    Attributes:
        drawn: permutations and seed of `prefixes`, where the grid trains those; None: it does not.
        all_sets: whether the grid trains on all sets of its corpora.
    """

    corpora: tuple[str, ...]
    task: tuple[str, ...]
    temporal: tuple[str, ...]
    pooling: tuple[str, ...]
    drawn: tuple[int, int] | None = None
    all_sets: bool = True

    @property
    def configurations(self) -> list[Configuration]:
        """Twelve in the paper."""
        return list(product(self.task, self.temporal, self.pooling))

    def sources(self, target: str) -> list[str]:
        """The other corpora."""
        return [corpus for corpus in self.corpora if corpus != target]

    def mixes(self, target: str, cells: Collection[Cell] | None = None) -> list[frozenset[str]]:
        """All sets of source corpora, from none to all; each with the target is a combination: eight in the paper.

        Args:
            cells: those that were trained; where the grid has not all sets, or all are too many, theirs alone.
        """
        sources = self.sources(target)
        if cells is not None and not (self.all_sets and len(sources) <= MOST_OF_ALL):
            own = frozenset([target])
            found = {frozenset(cell.corpora) - own for cell in cells if target in cell.corpora}
            return sorted({frozenset(), *found}, key=lambda mix: (len(mix), sorted(map(sources.index, mix))))
        return [frozenset(s) for s in chain(*(combinations(sources, n) for n in range(len(sources) + 1)))]

    def cell(self, corpora: frozenset[str], configuration: Configuration) -> Cell:
        """The cell that trains on some corpora."""
        return Cell(tuple(c for c in self.corpora if c in corpora), *configuration)

    def narrowed(self, levels: Mapping[str, Sequence[str]]) -> Design:
        """With some levels of some factors alone.

        Raises:
            InputError: a level that the grid has not.
        """
        for factor, names in levels.items():
            for name in names:
                if name not in getattr(self, factor):
                    known = ", ".join(getattr(self, factor))
                    raise InputError(f"{name} is not in the grid, which has {known}", f"--{factor} {','.join(names)}")
        kept: dict[str, Any] = {
            f: tuple(level for level in getattr(self, f) if level in names) for f, names in levels.items()
        }
        return replace(self, **kept)


def synthetic(corpora: Sequence[str], recipe: Path | None = None) -> list[str]:
    """Those whose protocol marks their speech as synthetic.

    Raises:
        InputError: a corpus has no protocol, or a wrong one.
    """
    return [corpus for corpus in corpora if read_protocol(corpus, recipe).synthetic]


def read_design(grid: str = "paper", recipe: Path | None = None) -> Design:
    """Read corpora and factors of conf/grids/<grid>.yaml, the recipe's own before the toolkit's.

    Raises:
        InputError: there is no such file, or it lacks one of them.
    """
    path = find(f"conf/grids/{grid}.yaml", recipe)
    values = read_yaml(path)
    for key in ("corpora", *FACTORS):
        if not isinstance(values.get(key), list):
            raise InputError(f"key {key} must be a list", path)
    asked: Any = values.get("combinations")
    drawn = (asked["permutations"], asked.get("seed", 0)) if is_draw(asked) else None
    corpora, task, temporal, pooling = (tuple(values[key]) for key in ("corpora", *FACTORS))
    return Design(corpora, task, temporal, pooling, drawn, asked == "all")
