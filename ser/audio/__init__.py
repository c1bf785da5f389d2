"""Any audio file at its own rate and channel count, and nothing silently wrong."""

from ser.audio.reader import Audio, read_audio
from ser.audio.resample import resample

__all__ = ["Audio", "read_audio", "resample"]
