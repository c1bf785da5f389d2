"""Preview of each transform on one utterance, as audio and spectrograms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ser.audio import resample
from ser.augment.babble_pool import BabblePool
from ser.augment.copies import apply_transforms
from ser.augment.settings import Augment
from ser.augment.transforms import TooShort, copy_rng
from ser.common import atomic_path
from ser.common.pictures import save_picture
from ser.corpora.cuts import Cut, read_cut

COLUMNS = 2
LEVELS = 80  # range of a spectrogram, decibels
SHOWN = ("snr", "colour", "file", "alpha", "rt60", "kbps", "low", "high", "decibels", "factor")


def write_preview(cut: Cut, pool: BabblePool, augment: Augment, rate: int, out: Path) -> Iterator[Path]:
    """Write original.wav, <transform>.wav (float32, so that nothing is clipped) and spectrograms.png.

    Args:
        cut: the utterance.
        pool: the other training speakers.
        augment: the transforms in use.
        rate: of the files, in Hz.
        out: folder for the files.
    """
    import soundfile

    shown = {"original": ("", resample(*read_cut(cut), rate))}
    for name, kind in augment.kinds.items():
        values = kind.randomize_parameters(copy_rng(cut.id, 1, f"preview {name}"), pool)
        try:
            changed = apply_transforms(shown["original"][1], rate, [{"kind": name, **values}], augment, pool)
        except TooShort as error:
            print(f"{name}: left out: {error}")
            continue
        shown[name] = (_label(values), changed)
    for name, (_, changed) in shown.items():
        with atomic_path(out / f"{name}.wav") as temporary:
            soundfile.write(temporary, changed, rate, subtype="FLOAT")
        yield out / f"{name}.wav"
    _draw(shown, rate, out / "spectrograms.png")
    yield out / "spectrograms.png"


def _label(values: dict[str, Any]) -> str:
    """The parameters, shortened for a title."""
    texts = {key: f"{value:.4g}" if isinstance(value, float) else str(value)[:30] for key, value in values.items()}
    return ", ".join(f"{key} {texts[key]}" for key in SHOWN if key in texts)


def _draw(shown: dict[str, tuple[str, np.ndarray]], rate: int, path: Path) -> None:
    from matplotlib.figure import Figure

    rows = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(4 * COLUMNS, 1.5 * rows), layout="constrained")
    loudest = 10 * np.log10(max(1e-12, max(float(np.square(x).max()) for _, x in shown.values())))
    longest = max(len(x) for _, x in shown.values()) / rate
    for number, (name, (label, samples)) in enumerate(shown.items()):
        axes = figure.add_subplot(rows, COLUMNS, number + 1)
        padded = np.pad(samples, (0, max(0, 512 - len(samples))))
        with np.errstate(divide="ignore"):
            axes.specgram(padded, NFFT=512, noverlap=384, Fs=rate, vmin=loudest - 30 - LEVELS, vmax=loudest - 30)
        axes.set(xlim=(0, longest), title=f"{name}: {label}" if label else name)
        axes.set(xlabel="s" if number >= len(shown) - COLUMNS else None, ylabel="Hz" if number % COLUMNS == 0 else None)
    save_picture(figure, path)
