"""The decoding graph: a finite-state acceptor with one chain of states a class.

Read by both decoders. Nothing but NumPy is imported here, and nothing of the toolkit, so that a script in an
environment of k2's own can use this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FINAL = -1


@dataclass(frozen=True)
class SegmentGraph:
    """Arcs in the order of (source, label), as k2 wants them; state 0 is the start, the last state the end.

    Every arc but those into the end takes one window.

    Attributes:
        source, target: states, int32, (arcs,).
        label: class that a window gets on the arc, FINAL into the end; int32, (arcs,).
        score: what the arc adds to the log-posterior of that class, 0 or below; float32, (arcs,).
    """

    source: np.ndarray
    target: np.ndarray
    label: np.ndarray
    score: np.ndarray

    @property
    def states(self) -> int:
        return int(self.target.max()) + 1


def chain_graph(minimum: Sequence[int], costs: np.ndarray) -> SegmentGraph:
    """A chain of states for each class, as long as its shortest segment; its last state repeats, leaves, or ends.

        start -> (e, 1) -> (e, 2) -> ... -> (e, m)  (e, m) -> (e, m)  (e, m) -> (f, 1) at costs[e, f]  (e, m) -> end

    There is no arc from a chain to its own beginning, so a sequence of labels has one path.

    Args:
        minimum: least number of windows in a row, 1 or more, (classes,).
        costs: of going from a class (row) to another (column), natural logarithm, 0 or more; float, (classes, classes).
            The diagonal is not read.
    """
    count, table = len(minimum), costs.astype(np.float32)
    first = 1 + np.concatenate([[0], np.cumsum(minimum)[:-1]]).astype(int)
    last = first + np.asarray(minimum) - 1
    end = int(last[-1]) + 1
    arcs: list[tuple[int, int, int, float]] = [(0, int(first[c]), c, 0.0) for c in range(count)]
    for c in range(count):
        arcs += [(state, state + 1, c, 0.0) for state in range(first[c], last[c])]
        arcs.append((int(last[c]), end, FINAL, 0.0))
        for other in range(count):
            target, cost = (last[c], 0.0) if other == c else (first[other], table[c, other])
            arcs.append((int(last[c]), int(target), other, -float(cost)))
    arcs.sort(key=lambda arc: (arc[0], arc[2]))
    numbers = np.array([arc[:3] for arc in arcs], np.int32).T
    return SegmentGraph(numbers[0], numbers[1], numbers[2], np.array([arc[3] for arc in arcs], np.float32))
