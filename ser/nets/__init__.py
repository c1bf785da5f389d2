"""Prep block, temporal block, attention pooling, heads; ensembles of these."""

from ser.nets.ensemble import Ensemble
from ser.nets.network import SpeechEmotionNetwork, build

__all__ = ["Ensemble", "SpeechEmotionNetwork", "build"]
