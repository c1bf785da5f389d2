"""Data augmentation with transforms that keep text and emotion."""

from ser.augment.settings import Augment, build_augment
from ser.augment.transforms import TooShort, Transform, copy_rng

__all__ = ["Augment", "TooShort", "Transform", "build_augment", "copy_rng"]
