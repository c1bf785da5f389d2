"""A timeline as one HTML page that loads nothing: player, waveform, segments, posteriors, and how far to trust it."""
