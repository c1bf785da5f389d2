"""A linear support vector machine as a network: functionals of an utterance to posteriors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ser.nets.network import Answering


class LinearSVM(Answering):
    """One-vs-one votes of linear margins.

    An SVM has no probabilities. The score of a class is its number of votes plus s / (3 (|s| + 1)), where s is the sum
    of its margins, so that votes decide. Posteriors are the softmax of scores; confidence needs a temperature fitted on
    validation. The most probable class is that of libsvm: of classes with equal votes the first, whose score is
    exchanged with the greatest of them.

    Args:
        head: name of the one head.
        classes: its class list.
        trained: classes with training data, in the order of the list; others have posterior 0.
        size: number of functionals.
    """

    mean: Tensor
    deviation: Tensor
    weights: Tensor
    intercepts: Tensor

    def __init__(self, head: str, classes: Sequence[str], trained: Sequence[str], size: int) -> None:
        super().__init__()
        self.classes = {head: tuple(classes)}
        self.columns = [self.classes[head].index(name) for name in trained]
        pairs = len(trained) * (len(trained) - 1) // 2
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("deviation", torch.ones(size, dtype=torch.float64))
        # Of each pair of trained classes, (0, 1), (0, 2) ... (1, 2) ...: a margin above 0 is a vote for the first.
        self.register_buffer("weights", torch.zeros(pairs, size, dtype=torch.float64))
        self.register_buffer("intercepts", torch.zeros(pairs, dtype=torch.float64))

    def embed(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(batch, frames, functionals), the first frame holding those of the utterance, to margins, (batch, pairs)."""
        values = (features[:, 0].double() - self.mean) / self.deviation
        return values @ self.weights.T + self.intercepts

    def posteriors(self, pooled: Tensor, head: str, corpus: str) -> Tensor:
        first, second = torch.triu_indices(len(self.columns), len(self.columns), 1, device=pooled.device)
        won = (pooled > 0).double()
        votes = pooled.new_zeros(len(pooled), len(self.columns))
        sums = votes.index_add(1, first, pooled).index_add(1, second, -pooled)
        votes = votes.index_add(1, first, won).index_add(1, second, 1 - won)
        scores = votes + sums / (3 * (sums.abs() + 1))
        answer, top = votes.argmax(1, keepdim=True), scores.argmax(1, keepdim=True)
        tied = scores.gather(1, top), scores.gather(1, answer)  # of equal votes: the answer gets the greater score
        scores = scores.scatter(1, answer, tied[0]).scatter(1, top, tied[1])
        posteriors = scores.new_zeros(len(scores), len(self.classes[head]))
        posteriors[:, self.columns] = torch.softmax(scores, dim=1)
        return posteriors.float()
