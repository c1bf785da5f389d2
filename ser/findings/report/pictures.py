"""Plots of the findings: the transfer matrix as heat maps, Shapley values as bars with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser.common.pictures import PALETTE, save_picture
from ser.findings.stats.effects import LEFT_OUT, PANELS, SAMPLED, SHAPLEY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Records = Sequence[dict[str, Any]]
SCALE = 0.1  # ends of the colours of differences
SCORE_COLOURS = ("#ffffff", "#7fb3d5")
DIFFERENCE_COLOURS = ("#e08214", "#e6e6e6", "#8f86c9")  # black text reads on all of them
ALL_BUT = "all but target"


def plot_transfer(records: Records, metric: str, corpora: Sequence[str], path: Path) -> None:
    """Draw the four panels; what cannot be computed stays empty, a difference whose interval holds 0 is grey.

    Args:
        records: of the transfer table.
    """
    from matplotlib.figure import Figure

    records = [r for r in records if r["metric"] == metric]
    targets = list(dict.fromkeys(r["target"] for r in records))
    figure = Figure(figsize=(11, 2 + 1.6 * len(targets)), layout="constrained")
    figure.suptitle(f"{metric.upper()}: rows are targets, columns source corpora; grey: the interval holds 0")
    grid = figure.subplots(2, 2)
    images = []
    for axes, panel in zip(grid.flat, PANELS, strict=True):
        columns = [ALL_BUT] if panel == LEFT_OUT else list(corpora)
        fields = {
            (targets.index(r["target"]), columns.index(r["source"]) if len(columns) > 1 else 0): r
            for r in records
            if r["panel"] == panel
        }
        images.append(_heat_map(axes, (len(targets), len(columns)), fields))
        axes.set_xticks(range(len(columns)), columns, rotation=20 if max(map(len, columns)) > 9 else 0)
        axes.set_yticks(range(len(targets)), targets)
        axes.set_title(panel)
    for (scores, differences), row in zip(images[::2], grid, strict=True):
        figure.colorbar(differences, ax=row, label="difference, points", extend="both")
        figure.colorbar(scores, ax=row, label=f"{metric.upper()}, %")
    save_picture(figure, path)


def _heat_map(axes: Any, shape: tuple[int, int], fields: Mapping[tuple[int, int], dict[str, Any]]) -> tuple[Any, Any]:
    """Images of scores, from 0 to 100 %, and of differences, from -SCALE to SCALE, in points."""
    from matplotlib.colors import LinearSegmentedColormap

    scores, differences, texts = np.full(shape, np.nan), np.full(shape, np.nan), {}
    for field in np.ndindex(shape):
        r = fields.get(field)
        if r is None or np.isnan(r["value"]):
            texts[field] = "–"
        elif r["kind"] == "score":
            scores[field] = 100 * r["value"]
            texts[field] = f"{scores[field]:.1f}"
        else:
            clear = r["low"] > 0 or r["high"] < 0
            differences[field] = 100 * r["value"] if clear else 0
            texts[field] = f"{100 * r['value']:+.1f}"
    sequential, diverging = (LinearSegmentedColormap.from_list("", c) for c in (SCORE_COLOURS, DIFFERENCE_COLOURS))
    images = (
        axes.imshow(scores, cmap=sequential, vmin=0, vmax=100, aspect="auto"),
        axes.imshow(differences, cmap=diverging, vmin=-100 * SCALE, vmax=100 * SCALE, aspect="auto"),
    )
    for (i, j), text in texts.items():
        axes.text(j, i, text, ha="center", va="center")
    return images


def plot_shapley(records: Records, metric: str, corpora: Sequence[str], path: Path) -> None:
    """Draw a group of bars for each target, with a bar for each source corpus.

    Args:
        records: of the effects table.
    """
    from matplotlib.figure import Figure

    records = [r for r in records if r["metric"] == metric and r["effect"] in (SHAPLEY, SAMPLED)]
    records = [r for r in records if not np.isnan(r["value"])]
    targets = list(dict.fromkeys(r["target"] for r in records))
    sources = [corpus for corpus in corpora if any(r["sources"] == corpus for r in records)]
    figure: Figure = Figure(figsize=(4 + 2 * len(targets), 4), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / max(len(sources), 1)
    for i, source in enumerate(sources):
        bars = [r for r in records if r["sources"] == source]
        x = [targets.index(r["target"]) + (i - (len(sources) - 1) / 2) * width for r in bars]
        value, low, high = (100 * np.array([r[key] for r in bars]) for key in ("value", "low", "high"))
        colour = PALETTE[corpora.index(source) % 4]
        axes.bar(x, value, 0.9 * width, color=colour, label=source)
        axes.errorbar(x, value, [value - low, high - value], fmt="none", ecolor="black", capsize=3)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(range(len(targets)), targets)
    axes.set(ylabel=f"{metric.upper()}, points", title="Shapley value of each source corpus, with 95 % intervals")
    if records:
        figure.legend(title="source", loc="outside right upper")
    save_picture(figure, path)
