"""Read audio files of any format, at their own sampling rate and number of channels; report every damage."""

from ser.audio.formats import AudioInfo
from ser.audio.reader import Audio, audio_info, check_length, check_rate, check_samples, read_audio, read_blocks
from ser.audio.resample import resample, resample_blocks
from ser.audio.suffixes import AUDIO_SUFFIXES, READABLE_SUFFIXES

__all__ = [
    "AUDIO_SUFFIXES",
    "READABLE_SUFFIXES",
    "Audio",
    "AudioInfo",
    "audio_info",
    "check_length",
    "check_rate",
    "check_samples",
    "read_audio",
    "read_blocks",
    "resample",
    "resample_blocks",
]
