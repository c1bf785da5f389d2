"""Best and n best paths through a decoding graph with k2.

Needs numpy, torch and k2 alone, so that it runs in an environment of k2's own, whatever Python that has.
"""

from __future__ import annotations

import heapq
from itertools import count as counter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ser.diarization.graph import Graph

# Paths that are worse than the best by more are not in the first lattice; it is made again where that is too few.
BEAM = 10.0
WIDEST = 1e8
# k2.intersect_dense finds nothing in more, for it counts time in sixteen bits.
MOST_WINDOWS = 2**16 - 2


def best_paths(graph: Graph, scores: np.ndarray, count: int = 1) -> list[tuple[np.ndarray, float]]:
    """As ser.diarization.viterbi.best_paths, by k2.intersect_dense and k2.shortest_path.

    k2 has no n shortest paths (it samples), so for `count` > 1 the lattice, which holds every path within a beam of the
    best, is searched with k2's own backward scores (A*, whose bound is exact).

    Raises:
        ImportError: k2 is absent, or was built for another torch or Python.
    """
    import k2
    import torch

    arcs = np.stack([graph.source, graph.target, graph.label, graph.score.view(np.int32)], axis=1)
    acceptor = k2.create_fsa_vec([k2.Fsa(torch.from_numpy(np.ascontiguousarray(arcs, np.int32)))])
    windows = torch.from_numpy(np.ascontiguousarray(scores, np.float32))[None]
    # One row, so that it is in the descending order of durations which intersect_dense asks for.
    dense = k2.DenseFsaVec(windows, torch.tensor([[0, 0, len(scores)]], dtype=torch.int32))
    beam = BEAM
    while True:
        lattice = k2.intersect_dense(acceptor, dense, beam)
        if count == 1:
            return _one(k2.shortest_path(lattice, use_double_scores=True))
        found = _search(lattice, count)
        whole = len(found) == count and found[0][1] - found[-1][1] < beam
        if not found or whole or beam >= WIDEST:
            return found
        beam *= 10


def _one(linear: Any) -> list[tuple[np.ndarray, float]]:
    labels = linear.labels.numpy().astype(np.int64)
    if not len(labels):
        return []
    return [(labels[:-1], float(linear.scores.double().sum()))]


def _search(lattice: Any, count: int) -> list[tuple[np.ndarray, float]]:
    """The `count` best paths of a lattice, best first."""
    arcs = lattice.arcs.values().numpy()
    if not len(arcs):
        return []
    source, target, label = arcs[:, 0], arcs[:, 1], arcs[:, 2]
    score = lattice.scores.detach().numpy().astype(np.float64)
    rest = lattice.get_backward_scores(use_double_scores=True, log_semiring=False).numpy()
    starts = np.searchsorted(source, np.arange(source.max() + 2))
    end = int(target.max())
    order = counter(0, -1)
    # (bound, newest first where tied, score so far, state, (label, what was before))
    queue: list[Any] = [(-rest[0], next(order), 0.0, 0, None)]
    found: list[tuple[np.ndarray, float]] = []
    while queue and len(found) < count:
        _, _, sofar, state, path = heapq.heappop(queue)
        if state == end:
            labels = []
            while path is not None:
                labels.append(path[0])
                path = path[1]
            found.append((np.array(labels[:0:-1], np.int64), sofar))
            continue
        for arc in range(starts[state], starts[state + 1]):
            reached = sofar + score[arc]
            after = int(target[arc])
            heapq.heappush(
                queue, (-round(reached + rest[after], 6), next(order), reached, after, (int(label[arc]), path))
            )
    return found
