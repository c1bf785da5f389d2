"""The corpus contract: labels are a closed set, splits are by speaker, every file is accounted for."""

from ser.corpora.protocol import Protocol, read_protocol
from ser.corpora.utterance import Utterance, audio_files, file_utterance

__all__ = ["Protocol", "Utterance", "audio_files", "file_utterance", "read_protocol"]
