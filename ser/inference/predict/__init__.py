"""Predictions for files: inputs, samples, answers and output formats."""
