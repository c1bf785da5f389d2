"""Best and n best paths through a decoding graph, exactly, in NumPy."""

from __future__ import annotations

import numpy as np

from ser.diarization.graph import FINAL, Graph


def best_paths(graph: Graph, scores: np.ndarray, count: int = 1) -> list[tuple[np.ndarray, float]]:
    """The paths of the greatest sums of arc and window scores, best first.

    Every state keeps its `count` best ways to get there (the list Viterbi algorithm of Seshadri and Sundberg 1994), so
    nothing is pruned. An arc's and a window's score are added in float32, as k2 does it, and sums are float64.

    Args:
        scores: log-posteriors, float32, (windows, classes).

    Returns:
        (labels, score) of each path, labels int64, (windows,); fewer than `count` where the graph has no more, none
        where it has no path of so many windows.
    """
    windows, states = len(scores), graph.states
    emits = graph.label != FINAL
    arcs = _table(graph.target[emits], states)
    source, label, cost = graph.source[emits], graph.label[emits], graph.score[emits]
    # An arc that is not there leads from one more state, which nothing reaches.
    source = np.append(source, states)
    label, cost = np.append(label, 0), np.append(cost, np.float32(0))
    sources, labels, costs = source[arcs], label[arcs], cost[arcs]  # (states, most arcs into a state)
    best = np.full((states + 1, count), -np.inf)
    best[0, 0] = 0
    width = arcs.shape[1] * count
    back = np.zeros((windows, states, count), np.int16 if width < 2**15 else np.int32)
    rows = np.arange(states)[:, None]
    for window in range(windows):
        step = (costs + scores[window][labels]).astype(np.float64)
        reached = (best[sources] + step[:, :, None]).reshape(states, width)
        order = reached.argmax(1)[:, None] if count == 1 else np.argsort(-reached, axis=1, kind="stable")
        chosen = order[:, :count]
        back[window] = chosen
        best[:states] = reached[rows, chosen]
    ends = [
        (best[graph.source[arc], rank] + graph.score[arc], int(graph.source[arc]), rank)
        for arc in np.flatnonzero(~emits)
        for rank in range(count)
    ]
    ends = sorted((end for end in ends if np.isfinite(end[0])), key=lambda end: -end[0])[:count]
    return [(_trace(back, arcs, source, label, state, rank), float(score)) for score, state, rank in ends]


def _table(targets: np.ndarray, states: int) -> np.ndarray:
    """Numbers of the arcs into each state, filled up with the number after the last; (states, most arcs)."""
    counts = np.bincount(targets, minlength=states)
    table = np.full((states, max(1, counts.max())), len(targets))
    order = np.argsort(targets, kind="stable")
    starts = np.cumsum(counts) - counts
    table[targets[order], np.arange(len(targets)) - starts[targets[order]]] = order
    return table


def _trace(
    back: np.ndarray, arcs: np.ndarray, source: np.ndarray, label: np.ndarray, state: int, rank: int
) -> np.ndarray:
    """Labels of the path that is the `rank`th best into a state."""
    count = back.shape[2]
    labels = np.empty(len(back), np.int64)
    for window in range(len(back) - 1, -1, -1):
        place, rank = divmod(int(back[window, state, rank]), count)
        arc = arcs[state, place]
        labels[window] = label[arc]
        state = int(source[arc])
    return labels
