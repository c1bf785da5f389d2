"""Emotion over time in a long recording: windows, a decoding graph, and two decoders that find the same path."""
