"""How far a figure can be trusted: resampling, effects of source corpora, tests, variance shares."""
