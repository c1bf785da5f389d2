"""Pictures of a result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ser.common.pictures import save_picture


def plot_confusion(confusion: np.ndarray, classes: Sequence[str], title: str, path: Path) -> None:
    """Draw a confusion matrix: colour and text give the row's share, and the count."""
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    figure = Figure(figsize=(1.2 + len(classes), 1 + 0.9 * len(classes)), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="hypothesis", ylabel="truth", title=title)
    for (i, j), n in np.ndenumerate(confusion):
        axes.text(
            j,
            i,
            f"{share[i, j]:.0%}\n{n}",
            ha="center",
            va="center",
            color="white" if share[i, j] > 0.5 else "black",
        )
    save_picture(figure, path)
