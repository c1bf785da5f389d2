"""What the statistics work on: confusion matrices by cell, seed and speaker, from a ledger or made by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ser.grid.cells import Cell

# Of the paper's tables, whose statistics are computed from confusion matrices; all metrics: ser/config/registry.py.
METRICS = ("wa", "ua")


@dataclass(frozen=True)
class Target:
    """All that is known of the test utterances of one corpus.

    Attributes:
        classes: of truth and answers.
        speakers: in order.
        folds: the fold that tests each speaker, int64, (speakers,).
        seeds: those that every cell has.
        cells: those whose answers cover all utterances; one without the target is zero-shot.
        confusion: float64, (cells, seeds, speakers, classes, classes), row the truth; an utterance counts once, however
            many folds test it.
        protocol: digest of labels and split.
        notes: what is missing.
    """

    name: str
    classes: list[str]
    speakers: list[str]
    folds: np.ndarray
    seeds: list[int]
    cells: list[Cell]
    confusion: np.ndarray
    protocol: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def index(self) -> dict[Cell, int]:
        """Where a cell stands in `confusion`."""
        return {cell: i for i, cell in enumerate(self.cells)}

    @property
    def hits(self) -> np.ndarray:
        """Right answers, (cells, seeds, speakers, classes)."""
        return np.ascontiguousarray(np.diagonal(self.confusion, axis1=-2, axis2=-1))

    @property
    def counts(self) -> np.ndarray:
        """Utterances, (speakers, classes): the same for every cell."""
        return np.asarray(self.confusion[0, 0].sum(-1))

    @property
    def utterances(self) -> int:
        return round(float(self.counts.sum()))


def common_seeds(target: str, seeds: Mapping[Cell, set[int]]) -> tuple[list[int], list[str]]:
    """The seeds that the most cells with the target have, and notes on cells that lack one of them, which do not count.

    A cell that lacks some seed costs that seed, so that cells stay comparable and the grid stays whole.
    """
    within = {cell: found for cell, found in seeds.items() if target in cell.corpora} or seeds
    counts = Counter(seed for found in within.values() for seed in found)
    most = max(counts.values(), default=0)
    common = sorted(seed for seed, n in counts.items() if n == most)
    every = sorted(set(counts) - set(common))
    notes = [f"seeds {', '.join(map(str, every))} do not count, for some cells lack them"] if every else []
    lacking = [cell.name for cell, found in seeds.items() if not found >= set(common)]
    if lacking:
        notes.append(
            f"{len(lacking)} cells do not count, for they lack some of the seeds that others have: {lacking[0]}"
        )
    return common, notes


def make_target(
    name: str,
    classes: Sequence[str],
    speakers: Sequence[str],
    folds: Sequence[int],
    confusions: Mapping[tuple[Cell, int], np.ndarray],
    protocol: str = "",
    notes: Sequence[str] = (),
) -> Target:
    """Put cells and seeds together.

    Args:
        confusions: (cell, seed) -> (speakers, classes, classes).
    """
    seeds: dict[Cell, set[int]] = {}
    for cell, seed in confusions:
        seeds.setdefault(cell, set()).add(seed)
    common, more = common_seeds(name, seeds)
    cells = [cell for cell, found in seeds.items() if found >= set(common)]
    values = np.array([[confusions[cell, seed] for seed in common] for cell in cells], np.float64)
    return Target(
        name, list(classes), list(speakers), np.array(folds), common, cells, values, protocol, [*notes, *more]
    )
