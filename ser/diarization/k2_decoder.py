"""The best path through a decoding graph with k2.

Needs numpy, torch and k2 alone, so that it runs in an environment of k2's own, whatever Python that has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ser.diarization.graph import SegmentGraph

# Search beam of k2.intersect_dense.
BEAM = 10.0
# k2.intersect_dense counts time in sixteen bits, and finds no path in more windows.
MOST_WINDOWS = 2**16 - 2


def best_path(graph: SegmentGraph, scores: np.ndarray) -> tuple[np.ndarray, float] | None:
    """The best path, as of ser.diarization.viterbi.best_path, by k2.intersect_dense and k2.shortest_path.

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
    path = k2.shortest_path(k2.intersect_dense(acceptor, dense, BEAM), use_double_scores=True)
    labels = path.labels.numpy().astype(np.int64)
    return (labels[:-1], float(path.scores.double().sum())) if len(labels) else None
