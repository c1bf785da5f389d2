"""Log-STFT features and the store of Kaldi archives that every recipe shares."""

from ser.features.archive import ArkReader, ArkWriter, as_stored
from ser.features.store import FeatureStore

__all__ = ["ArkReader", "ArkWriter", "FeatureStore", "as_stored"]
