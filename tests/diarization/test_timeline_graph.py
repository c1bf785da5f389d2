"""The graph and the exact Viterbi, against all paths that there are."""

from itertools import groupby, pairwise, product

import numpy as np
import pytest

from ser.diarization.graph import FINAL, chain_graph
from ser.diarization.viterbi import best_path


def arcs(graph):
    return list(zip(*(x.tolist() for x in (graph.source, graph.target, graph.label, graph.score)), strict=True))


def test_the_graph_of_two_classes_by_hand():
    graph = chain_graph([2, 1], np.array([[9, 0.5], [0.25, 9]]))
    assert graph.states == 5
    assert arcs(graph) == [
        (0, 1, 0, 0),
        (0, 3, 1, 0),
        (1, 2, 0, 0),
        (2, 4, FINAL, 0),
        (2, 2, 0, 0),
        (2, 3, 1, -0.5),
        (3, 4, FINAL, 0),
        (3, 1, 0, -0.25),
        (3, 3, 1, 0),
    ]


def test_a_best_path_by_hand():
    scores = np.log(np.array([[0.9, 0.1], [0.1, 0.9], [0.95, 0.05], [0.2, 0.8], [0.2, 0.8]])).astype(np.float32)
    # One window of the second class would cost 2 x 2 and win log 9; two of it would win less.
    labels, score = best_path(chain_graph([1, 1], np.full((2, 2), 2.0)), scores)
    assert labels.tolist() == [0, 0, 0, 1, 1]
    assert score == pytest.approx(np.log(0.9 * 0.1 * 0.95 * 0.8 * 0.8) - 2)
    free = best_path(chain_graph([1, 1], np.zeros((2, 2))), scores)
    assert free[0].tolist() == scores.argmax(1).tolist()


def every_path(minimum, costs, scores):
    """All label sequences whose runs are long enough, with their scores, best first."""
    found = []
    for labels in product(range(len(minimum)), repeat=len(scores)):
        runs = [(label, len(list(run))) for label, run in groupby(labels)]
        if all(length >= minimum[label] for label, length in runs):
            score = sum(scores[window, label] for window, label in enumerate(labels))
            score -= sum(costs[a, b] for (a, _), (b, _) in pairwise(runs))
            found.append((labels, score))
    return sorted(found, key=lambda path: -path[1])


@pytest.mark.parametrize("seed", range(40))
def test_the_best_path_is_that_of_trying_all(seed):
    rng = np.random.default_rng(seed)
    classes, windows = int(rng.integers(1, 4)), int(rng.integers(1, 8))
    minimum, costs = rng.integers(1, 4, classes).tolist(), rng.exponential(1, (classes, classes)).astype(np.float32)
    scores = np.log(rng.dirichlet(np.ones(classes), windows)).astype(np.float32)
    expected = every_path(minimum, costs, scores)
    found = best_path(chain_graph(minimum, costs), scores)
    if not expected:
        assert found is None
    else:
        labels, score = found
        assert tuple(labels) == expected[0][0]
        assert score == pytest.approx(expected[0][1], rel=1e-5)
