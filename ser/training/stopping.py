"""When to stop, and which epoch to keep."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stopping:
    """State of early stopping after some epochs.

    Attributes:
        best: least loss so far, whose model is kept.
        best_epoch: its epoch, from 1; 0 before the first.
        reference: the loss that a later one has to be below by the relative improvement.
        num_bad_epochs: epochs since the reference.
    """

    best: float = float("inf")
    best_epoch: int = 0
    reference: float = float("inf")
    num_bad_epochs: int = 0

    def after(self, epoch: int, loss: float, min_delta: float) -> Stopping:
        """The state after another epoch; `best_epoch == epoch` means that its model is to be saved."""
        best, best_epoch = (loss, epoch) if loss < self.best else (self.best, self.best_epoch)
        if loss < self.reference * (1 - min_delta):
            return Stopping(best, best_epoch, loss, 0)
        return Stopping(best, best_epoch, self.reference, self.num_bad_epochs + 1)
