"""Early stopping."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EarlyStopping:
    """State of early stopping after an epoch.

    Attributes:
        best: lowest validation loss so far.
        best_epoch: the epoch of `best`, from 1; 0 before the first epoch.
        reference: a loss counts as an improvement if it is below this by the relative `min_delta`.
        num_bad_epochs: epochs since the last improvement.
    """

    best: float = float("inf")
    best_epoch: int = 0
    reference: float = float("inf")
    num_bad_epochs: int = 0

    def after(self, epoch: int, loss: float, min_delta: float) -> EarlyStopping:
        """The state after one more epoch.

        Args:
            epoch: from 1.
            loss: its validation loss.
            min_delta: relative improvement of the loss that resets `num_bad_epochs`.
        """
        best, best_epoch = (loss, epoch) if loss < self.best else (self.best, self.best_epoch)
        if loss < self.reference * (1 - min_delta):
            return EarlyStopping(best, best_epoch, loss, 0)
        return EarlyStopping(best, best_epoch, self.reference, self.num_bad_epochs + 1)
