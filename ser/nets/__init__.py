"""Prep block, temporal block, attention pooling, heads."""

from ser.nets.network import SpeechEmotionNetwork, build

__all__ = ["SpeechEmotionNetwork", "build"]
