"""Prep block, temporal block, attention pooling, heads; ensembles of these, and SVMs."""

from ser.nets.ensemble import Ensemble
from ser.nets.network import SpeechEmotionNetwork, build
from ser.nets.svm import LinearSVM

__all__ = ["Ensemble", "LinearSVM", "SpeechEmotionNetwork", "build"]
