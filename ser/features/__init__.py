"""Log-STFT features and the store of Kaldi archives that every recipe shares."""

from ser.features.archive import ArkReader, ArkWriter
from ser.features.stft import log_stft
from ser.features.store import FeatureStore

__all__ = ["ArkReader", "ArkWriter", "FeatureStore", "log_stft"]
