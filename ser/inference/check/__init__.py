"""Robustness evaluation: scores on data, clean and with noise, other levels, codecs and lines."""
