"""Pictures of a result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ser.common import atomic_path


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
    _write(figure, path)


def plot_curves(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw losses and validation UA over epochs, with the chosen epoch marked."""
    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    loss, ua = figure.subplots(1, 2)
    for corpus in history[-1]["train_loss"]:
        loss.plot(epochs, [row["train_loss"].get(corpus, np.nan) for row in history], label=f"train {corpus}")
    for corpus in history[-1]["valid"]:
        loss.plot(epochs, [row["valid"][corpus]["loss"] for row in history], "--", label=f"valid {corpus}")
        ua.plot(epochs, [row["valid"][corpus]["ua"] for row in history], label=f"valid {corpus}")
    for axes, name in ((loss, "weighted loss"), (ua, "UA")):
        axes.axvline(history[-1]["best_epoch"], color="grey", linewidth=0.8)
        axes.set(xlabel="epoch", ylabel=name)
        axes.legend(fontsize="small")
    _write(figure, path)


def _write(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
