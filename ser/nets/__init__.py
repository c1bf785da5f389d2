"""Networks of pre-net, temporal block, pooling and heads; ensembles of these; SVMs."""

from ser.nets.ensemble import Ensemble
from ser.nets.network import SpeechEmotionNetwork, build
from ser.nets.svm import LinearSVM

__all__ = ["Ensemble", "LinearSVM", "SpeechEmotionNetwork", "build"]
