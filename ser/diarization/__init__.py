"""Speech emotion diarization: windows, a decoding graph, and two decoders that find the same path."""
