"""Pictures of the findings: the transfer matrix as heat maps, Shapley values as bars with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser.common.pictures import save_picture
from ser.findings.stats.effects import PANELS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Records = Sequence[dict[str, Any]]
ALL_BUT = "all but target"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # told apart also by the colour-blind (Okabe and Ito)


def plot_transfer(records: Records, metric: str, corpora: Sequence[str], path: Path) -> None:
    """Draw the four panels; what cannot be computed stays empty.

    Args:
        records: of the transfer sheet.
    """
    from matplotlib.figure import Figure

    own = [r for r in records if r["metric"] == metric]
    targets = list(dict.fromkeys(r["target"] for r in own))
    figure = Figure(figsize=(11, 2 + 1.6 * len(targets)), layout="constrained")
    figure.suptitle(f"{metric.upper()}: rows are targets, columns donors; differences in points have a sign")
    for axes, panel in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        columns = [ALL_BUT] if panel == "leave one corpus out" else list(corpora)
        values = np.full((len(targets), len(columns)), np.nan)
        levels = np.zeros(values.shape, bool)
        for r in (r for r in own if r["panel"] == panel):
            place = targets.index(r["target"]), columns.index(r["donor"]) if len(columns) > 1 else 0
            values[place], levels[place] = 100 * r["value"], r["kind"] == "score"
        _heat_map(axes, values, levels)
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(targets)), targets)
        axes.set_title(panel)
    save_picture(figure, path)


def _heat_map(axes: Any, values: np.ndarray, levels: np.ndarray) -> None:
    """Scores in one range of colours, differences around 0 in another."""
    known = ~np.isnan(values)
    differences = np.where(levels, np.nan, values)
    bound = max(1.0, float(np.nanmax(np.abs(differences)))) if (known & ~levels).any() else 1.0
    for i, j in np.argwhere(~known):
        axes.text(j, i, "–", ha="center", va="center")
    axes.imshow(np.where(levels, values, np.nan), cmap="Greys", vmin=0, vmax=150, aspect="auto")
    axes.imshow(differences, cmap="PuOr", vmin=-bound, vmax=bound, aspect="auto")
    for i, j in np.argwhere(known):
        strong = not levels[i, j] and abs(values[i, j]) > 0.7 * bound
        text = f"{values[i, j]:.1f}" if levels[i, j] else f"{values[i, j]:+.1f}"
        axes.text(j, i, text, ha="center", va="center", color="white" if strong else "black")


def plot_shapley(records: Records, metric: str, corpora: Sequence[str], path: Path) -> None:
    """Draw a group of bars for each target, a bar a donor.

    Args:
        records: of the effects sheet.
    """
    from matplotlib.figure import Figure

    own = [r for r in records if (r["metric"], r["effect"]) == (metric, "Shapley value") and not np.isnan(r["value"])]
    targets = list(dict.fromkeys(r["target"] for r in own))
    donors = [corpus for corpus in corpora if any(r["donors"] == corpus for r in own)]
    figure: Figure = Figure(figsize=(4 + 2 * len(targets), 4), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / max(len(donors), 1)
    for i, donor in enumerate(donors):
        bars = [r for r in own if r["donors"] == donor]
        x = [targets.index(r["target"]) + (i - (len(donors) - 1) / 2) * width for r in bars]
        value, low, high = (100 * np.array([r[key] for r in bars]) for key in ("value", "low", "high"))
        colour = COLOURS[corpora.index(donor) % len(COLOURS)]
        axes.bar(x, value, 0.9 * width, color=colour, label=donor)
        axes.errorbar(x, value, [value - low, high - value], fmt="none", ecolor="black", capsize=3)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(range(len(targets)), targets)
    axes.set(ylabel=f"{metric.upper()}, points", title="Shapley value of each donor, with 95 % intervals")
    if own:
        figure.legend(title="donor", loc="outside right upper")
    save_picture(figure, path)
