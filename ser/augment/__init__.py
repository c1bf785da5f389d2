"""Data augmentation: transforms that keep text and emotion."""

from ser.augment.kinds import Kind, TooShort, copy_rng
from ser.augment.settings import Augment, augmentation
from ser.augment.spectral import (
    change_speed,
    draw_distortion,
    mask,
    mixup_weights,
    warp_frequency,
)

__all__ = [
    "Augment",
    "Kind",
    "TooShort",
    "augmentation",
    "change_speed",
    "copy_rng",
    "draw_distortion",
    "mask",
    "mixup_weights",
    "warp_frequency",
]
