"""Posteriors to scores: everything is joined by utterance id."""
