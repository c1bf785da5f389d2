"""Training: deterministic sampling, exact resume, early stopping."""

from ser.training.engine import Trainer

__all__ = ["Trainer"]
