"""Input of the statistics: confusion matrices by cell, seed and speaker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ser.grid.cells import Cell

# Metrics of the paper's tables, computed from confusion matrices; all metrics are in ser/config/registry.py.
METRICS = ("wa", "ua")


@dataclass(frozen=True)
class Target:
    """Results on the test utterances of one corpus.

    Attributes:
        name: the corpus.
        classes: of truth and hypotheses.
        speakers: sorted.
        folds: the fold that tests each speaker, int64, (speakers,).
        seeds: seeds that every cell has.
        cells: cells with hypotheses for all utterances; a cell that was not trained on the target is zero-shot.
        confusion: float64, (cells, seeds, speakers, classes, classes), rows: truth; an utterance that several folds
            test counts once.
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
        """Cell -> index in `cells` and `confusion`."""
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


def make_target(
    name: str,
    classes: Sequence[str],
    speakers: Sequence[str],
    folds: Sequence[int],
    confusions: Mapping[tuple[Cell, int], np.ndarray],
    protocol: str = "",
    notes: Sequence[str] = (),
) -> Target:
    """Make a target of the confusion matrices of cells and seeds.

    Only seeds count that most cells with the target have, and only cells with all of these, so that cells stay
    comparable.

    Args:
        confusions: (cell, seed) -> (speakers, classes, classes).
    """
    seeds: dict[Cell, set[int]] = {}
    for cell, seed in confusions:
        seeds.setdefault(cell, set()).add(seed)
    in_domain = {cell: numbers for cell, numbers in seeds.items() if name in cell.corpora} or seeds
    counts = Counter(seed for numbers in in_domain.values() for seed in numbers)
    common = sorted(seed for seed, n in counts.items() if n == max(counts.values()))
    cells = [cell for cell, numbers in seeds.items() if numbers >= set(common)]
    notes = [*notes]
    if others := sorted(set(counts) - set(common)):
        notes.append(f"seeds {', '.join(map(str, others))} do not count, for some cells lack them")
    if lacking := [cell.name for cell, numbers in seeds.items() if not numbers >= set(common)]:
        notes.append(
            f"{len(lacking)} cells do not count, for they lack some of the seeds that others have: {lacking[0]}"
        )
    values = np.array([[confusions[cell, seed] for seed in common] for cell in cells], np.float64)
    return Target(name, list(classes), list(speakers), np.array(folds), common, cells, values, protocol, notes)
