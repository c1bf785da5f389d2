"""Posteriors to scores: everything is joined by utterance id."""

from ser.scoring.decode import decode
from ser.scoring.result import score

__all__ = ["decode", "score"]
