"""Plots of a result: confusion matrix and reliability diagram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ser.common.pictures import save_picture, text_colour

FEWEST = 20  # utterances of a reliability bin that is drawn


def plot_confusion(confusion: np.ndarray, classes: Sequence[str], title: str, path: Path) -> None:
    """Draw a confusion matrix: colour and text show the share of the row, and the text also the count.

    Args:
        confusion: counts, (classes, classes), row the truth.
        classes: their names.
        title: of the picture.
        path: of the picture: .png, .pdf or .svg.
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex
    from matplotlib.figure import Figure

    colours = colormaps["Blues"]
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    figure = Figure(figsize=(1.2 + len(classes), 1 + 0.9 * len(classes)), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(share, cmap=colours, vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="hypothesis", ylabel="truth", title=title)
    for (i, j), n in np.ndenumerate(confusion):
        colour = text_colour(to_hex(colours(share[i, j])))
        axes.text(j, i, f"{share[i, j]:.0%}\n{n}", ha="center", va="center", color=colour)
    save_picture(figure, path)


def plot_reliability(calibration: Mapping[str, Any], title: str, path: Path) -> None:
    """Draw accuracy over confidence, before and after temperature scaling, and the number of utterances in each bin.

    The accuracy of a bin of fewer than FEWEST utterances is not drawn.

    Args:
        calibration: ece_before, ece_after, reliability, as result.json has them.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(3, 1))
    for (upper, lower), when in zip(axes.T, ("before", "after"), strict=True):
        bins = calibration["reliability"][when]
        width = 1 / len(bins)
        shown = [b for b in bins if b["count"] >= FEWEST]
        upper.plot([0, 1], [0, 1], "--", color="grey")
        upper.plot([b["confidence"] for b in shown], [b["accuracy"] for b in shown], "o-")
        ece = calibration[f"ece_{when}"]
        upper.set(title=f"{when}: expected calibration error {ece:.3f}", xlim=(0, 1), ylim=(0, 1))
        lower.bar([(i + 0.5) * width for i in range(len(bins))], [b["count"] for b in bins], 0.9 * width)
        lower.set(xlabel="confidence")
    axes[0, 0].set(ylabel=f"accuracy (bins of {FEWEST} or more)")
    axes[1, 0].set(ylabel="utterances")
    save_picture(figure, path)
