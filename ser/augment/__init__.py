"""Data augmentation: transforms that keep text and emotion."""

from ser.augment.settings import Augment, augmentation
from ser.augment.spectral import (
    change_speed,
    mask,
    mixup_weights,
    sample_augmentation,
    warp_frequency,
)
from ser.augment.transforms import TooShort, Transform, copy_rng

__all__ = [
    "Augment",
    "TooShort",
    "Transform",
    "augmentation",
    "change_speed",
    "copy_rng",
    "mask",
    "mixup_weights",
    "sample_augmentation",
    "warp_frequency",
]
