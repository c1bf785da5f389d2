"""Operations that change what a training hears, and leave what is said and felt."""

from ser.augment.spectral import (
    change_speed,
    draw_distortion,
    mask,
    mixup_weights,
    relative_floor,
    trim,
    warp_frequency,
)

__all__ = [
    "change_speed",
    "draw_distortion",
    "mask",
    "mixup_weights",
    "relative_floor",
    "trim",
    "warp_frequency",
]
