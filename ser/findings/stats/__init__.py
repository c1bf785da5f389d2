"""How far a figure can be trusted: resampling, effects of donors, tests, variance shares."""
