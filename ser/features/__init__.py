"""The feature store: Kaldi archives that all recipes share."""

from ser.features.archive import ArkReader, ArkWriter, as_stored
from ser.features.store import FeatureStore

__all__ = ["ArkReader", "ArkWriter", "FeatureStore", "as_stored"]
