"""Any audio file at its own rate and channel count, and nothing silently wrong."""

from ser.audio.reader import Audio, AudioInfo, audio_info, read_audio
from ser.audio.resample import resample

__all__ = ["Audio", "AudioInfo", "audio_info", "read_audio", "resample"]
