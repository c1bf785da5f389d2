"""What a model is worth on data, and how it bears noise, levels, codecs and lines."""
