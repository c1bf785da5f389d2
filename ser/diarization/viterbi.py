"""The best path through a decoding graph, exactly, in NumPy."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np

from ser.diarization.graph import FINAL, SegmentGraph


def best_path(graph: SegmentGraph, scores: np.ndarray) -> tuple[np.ndarray, float] | None:
    """The path of the greatest sum of arc and window scores (Viterbi 1967); nothing is pruned.

    An arc's and a window's score are added in float32, as k2 does it, and sums are float64.

    Args:
        scores: log-posteriors, float32, (windows, classes).

    Returns:
        Its labels, int64, (windows,), and score; None where the graph has no path of so many windows.
    """
    windows, states = len(scores), graph.states
    emits = graph.label != FINAL
    into = [np.flatnonzero(graph.target[emits] == state) for state in range(states)]
    arcs = np.array([*zip_longest(*into, fillvalue=emits.sum())]).T  # (states, most arcs into a state)
    source, label, cost = graph.source[emits], graph.label[emits], graph.score[emits]
    # Padding of the table: an arc from one more state, which no path reaches.
    source = np.append(source, states)
    label, cost = np.append(label, 0), np.append(cost, np.float32(0))
    sources, labels, costs = source[arcs], label[arcs], cost[arcs]
    best = np.full(states + 1, -np.inf)
    best[0] = 0
    back = np.zeros((windows, states), np.int32)
    rows = np.arange(states)
    for window in range(windows):
        reached = best[sources] + (costs + scores[window][labels]).astype(np.float64)
        back[window] = reached.argmax(1)
        best[:states] = reached[rows, back[window]]
    ends, final = graph.source[~emits], graph.score[~emits]
    last = int((best[ends] + final).argmax())
    score = float(best[ends[last]] + final[last])
    if not np.isfinite(score):
        return None
    path, state = np.empty(windows, np.int64), int(ends[last])
    for window in range(windows - 1, -1, -1):
        arc = arcs[state, back[window, state]]
        path[window], state = label[arc], int(source[arc])
    return path, score
