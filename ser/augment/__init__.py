"""Data augmentation: transforms that keep text and emotion."""

from ser.augment.settings import Augment, augmentation
from ser.augment.transforms import TooShort, Transform, copy_rng

__all__ = ["Augment", "TooShort", "Transform", "augmentation", "copy_rng"]
