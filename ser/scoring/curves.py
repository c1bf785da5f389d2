"""Plot learning curves of finished and running trainings: losses and UA by epoch and corpus, from epochs.jsonl."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser.common import InputError
from ser.common.pictures import PALETTE, check_picture, save_picture
from ser.common.run_folder import EPOCHS, TRAIN
from ser.scoring import files

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

COLOURS = (*PALETTE[:-1], "#000000", "#882255")
OVERLAID = len(COLOURS)  # more trainings than that get panels of their own
MOST = 100
LABELS = {"train_loss": "training loss", "valid_loss": "validation loss", "ua": "validation UA"}


@dataclass(frozen=True)
class Curves:
    """Curves of one training, as far as it has come.

    Attributes:
        epochs: (epochs,).
        train_loss, valid_loss, ua: corpus -> (epochs,), NaN in an epoch that has none.
        monitored: mean of the validation losses of the corpora, which selects the best epoch, (epochs,).
        best_epoch: epoch of the best checkpoint; in a running training, the best so far.
        classes: corpus -> number of classes; empty while the training runs.
    """

    epochs: np.ndarray
    train_loss: dict[str, np.ndarray]
    valid_loss: dict[str, np.ndarray]
    ua: dict[str, np.ndarray]
    monitored: np.ndarray
    best_epoch: int
    done: bool
    classes: dict[str, int]

    @property
    def status(self) -> str:
        if self.done:
            return f"best checkpoint: epoch {self.best_epoch} of {self.epochs[-1]}"
        return f"running, epoch {self.epochs[-1]}, best so far {self.best_epoch}"


def curves_of(rows: Sequence[Mapping[str, Any]], train: Mapping[str, Any] | None = None) -> Curves:
    """Make curves of the rows of an epochs.jsonl.

    Args:
        rows: one for each epoch.
        train: train.json; with another number of epochs it is of an earlier training.
    """

    def series(values: Sequence[Mapping[str, float]]) -> dict[str, np.ndarray]:
        corpora = dict.fromkeys(corpus for row in values for corpus in row)
        return {corpus: np.array([row.get(corpus, np.nan) for row in values]) for corpus in corpora}

    if train and train["epochs"] != len(rows):
        train = None
    return Curves(
        epochs=np.array([row["epoch"] for row in rows]),
        train_loss=series([row["train_loss"] for row in rows]),
        valid_loss=series([{c: v["loss"] for c, v in row["valid"].items()} for row in rows]),
        ua=series([{c: v["ua"] for c, v in row["valid"].items()} for row in rows]),
        monitored=np.array([row["valid_loss"] for row in rows]),
        best_epoch=train["chosen_epoch"] if train else rows[-1]["best_epoch"],
        done=train is not None,
        # a unified head also has classes that the corpus lacks, which do not count in its UA
        classes={c: int(np.count_nonzero(counts)) for c, counts in train["class_counts"].items()} if train else {},
    )


def read_curves(folder: Path) -> Curves:
    """Read the curves of a training's folder.

    Raises:
        InputError: epochs.jsonl has no line, or one that is not JSON or lacks a key.
    """
    rows = files.read_epochs(folder)
    train = files.read_train(folder) if (folder / TRAIN).is_file() else None
    if train and train["epochs"] == len(rows):  # otherwise it is of an earlier training
        files.read_train(folder, [EPOCHS])
    return curves_of(rows, train)


def plot_curves(folders: Sequence[Path], path: Path) -> None:
    """Draw one or several trainings into one picture.

    Args:
        folders: of experiments, with epochs.jsonl.
        path: of the picture: .png, .pdf or .svg.

    Raises:
        InputError: an ending that is no picture's, too many trainings, or an epochs.jsonl that is not as it should be.
    """
    check_picture(path)
    if len(folders) > MOST:
        raise InputError(f"no room for {len(folders)} trainings, {MOST} at most", path, "name folders further down")
    title, names = _names(folders)
    save_picture(draw_curves(title, dict(zip(names, map(read_curves, folders), strict=True))), path)


def _names(folders: Sequence[Path]) -> tuple[str, list[str]]:
    """The common part of the paths exp/<combination>/<cell>/<run> of trainings, and the rest of each path."""
    paths = [folder.resolve() for folder in folders]
    common = Path(os.path.commonpath(paths))
    rests = [path.relative_to(common) for path in paths]
    shared = 4 - max(len(rest.parts) for rest in rests)
    return "/".join(common.parts[1:][-shared:]) if shared > 0 else "", [rest.as_posix() for rest in rests]


def draw_curves(title: str, trainings: Mapping[str, Curves]) -> Figure:
    """Draw trainings: one or many in their own panels, a few overlaid.

    Args:
        title: of the figure.
        trainings: name -> its curves.
    """
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    figure.suptitle(title, fontsize="medium")
    corpora = list(dict.fromkeys(c for curves in trainings.values() for c in (*curves.train_loss, *curves.ua)))
    if 1 < len(trainings) <= OVERLAID:
        _overlay(figure, trainings, corpora)
    else:
        _side_by_side(figure, trainings, corpora)
    return figure


def _side_by_side(figure: Figure, trainings: Mapping[str, Curves], corpora: Sequence[str]) -> None:
    """A panel of losses and one of UA for each training, with equal scales and one colour for each corpus."""
    from matplotlib.lines import Line2D

    alone = len(trainings) == 1
    pairs = 1 if alone else 3
    rows = -(-len(trainings) // pairs)
    figure.set_size_inches((9, 4) if alone else (15, 2.2 * rows + 0.8))
    panels = figure.subplots(rows, 2 * pairs, sharex=True, squeeze=False).reshape(-1, 2)
    colours = _colours(corpora)
    for i, pair in enumerate(panels):
        for axes, first in zip(pair, panels[0], strict=True):
            if i >= len(trainings):
                axes.remove()
            elif i:
                axes.sharey(first)
    for i, ((loss, ua), (name, curves)) in enumerate(zip(panels, trainings.items(), strict=False)):
        for corpus, values in curves.train_loss.items():
            _line(loss, curves, values, colours[corpus], f"train {corpus}", style="--", marked=False)
        for corpus, values in curves.valid_loss.items():
            _line(loss, curves, values, colours[corpus], f"valid {corpus}")
        if len(curves.valid_loss) > 1:
            _line(loss, curves, curves.monitored, "grey", "monitored")
        for corpus, values in curves.ua.items():
            _line(ua, curves, values, colours[corpus], f"valid {corpus}")
        _chance(ua, curves, curves.ua)
        for axes, label in ((loss, "loss"), (ua, LABELS["ua"])):
            axes.axvline(curves.best_epoch, color="grey", linewidth=0.8, zorder=1, label="best checkpoint")
            _frame(axes, label, lowest=i + pairs >= len(trainings))
        loss.set_title(curves.status if alone else f"{name}\n{curves.status}", loc="left", fontsize="small")
    handles = [Line2D([], [], color=colours[corpus], label=corpus) for corpus in corpora]
    handles += [
        Line2D([], [], color="black", linestyle="--", label="training"),
        Line2D([], [], color="black", label="validation"),
    ]
    if any(len(curves.valid_loss) > 1 for curves in trainings.values()):
        handles.append(Line2D([], [], color="grey", label="mean of validation"))
    _legend(figure, handles, trainings, 8)


def _overlay(figure: Figure, trainings: Mapping[str, Curves], corpora: Sequence[str]) -> None:
    """A row of panels for each corpus: training loss, validation loss, UA; one colour for each training."""
    from matplotlib.lines import Line2D

    figure.set_size_inches(13, 3 * len(corpora) + 0.6 + 0.2 * len(trainings))
    grid = figure.subplots(len(corpora), 3, sharex=True, squeeze=False)
    colours = _colours(list(trainings))
    for row, corpus in zip(grid, corpora, strict=True):
        for axes, (series, label) in zip(row, LABELS.items(), strict=True):
            for name, curves in trainings.items():
                values = getattr(curves, series)
                if corpus in values:
                    _line(axes, curves, values[corpus], colours[name], name, marked=series != "train_loss")
                    if series == "ua":
                        _chance(axes, curves, [corpus])
            _frame(axes, label)
            axes.set_title(corpus, fontsize="small")
            axes.set_visible(bool(axes.lines))
    labels = {name: f"{name}: {curves.status}" for name, curves in trainings.items()}
    longest = max(map(len, labels.values()))
    handles = [Line2D([], [], color=colours[name], label=label) for name, label in labels.items()]
    _legend(figure, handles, trainings, max(1, 150 // longest))


def _line(
    axes: Axes, curves: Curves, values: np.ndarray, colour: str, label: str, style: str = "-", marked: bool = True
) -> None:
    """A curve, (epochs,), with a disc at the best checkpoint, or a ring at the best so far."""
    axes.plot(curves.epochs, values, style, color=colour, label=label, linewidth=1.3, marker=".", markersize=3)
    if marked:
        best, face = curves.epochs == curves.best_epoch, colour if curves.done else "white"
        axes.plot(curves.epochs[best], values[best], "o", label=f"best {label}", color=colour, markersize=5, mfc=face)


def _chance(axes: Axes, curves: Curves, corpora: Iterable[str]) -> None:
    """A line at the UA by chance, once for each number of classes."""
    drawn = {line.get_label() for line in axes.lines}
    for classes in sorted({curves.classes[c] for c in corpora if c in curves.classes and c in curves.ua}):
        label = f"chance, {classes} classes"
        if label not in drawn:
            axes.axhline(1 / classes, color="grey", linestyle=":", linewidth=1, label=label)
            style: dict[str, Any] = {"ha": "right", "va": "bottom", "fontsize": "x-small", "color": "grey"}
            axes.text(0.99, 1 / classes, label, transform=axes.get_yaxis_transform(), **style)


def _frame(axes: Axes, label: str, lowest: bool = True) -> None:
    """Labels and a pale grid; only the lowest panels show the epochs."""
    from matplotlib.ticker import MaxNLocator

    axes.set_ylabel(label, fontsize="small")
    if lowest:
        axes.set_xlabel("epoch", fontsize="small")
    axes.tick_params(labelsize="small", labelbottom=lowest)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    if label == LABELS["ua"]:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e5e5e5", linewidth=0.6)
    axes.set_axisbelow(True)


def _colours(names: Sequence[str]) -> dict[str, str]:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    if len(names) <= len(COLOURS):
        return dict(zip(names, COLOURS, strict=False))
    return {name: to_hex(colormaps["turbo"](i / (len(names) - 1))) for i, name in enumerate(names)}


def _legend(figure: Figure, handles: Sequence[Line2D], trainings: Mapping[str, Curves], most: int) -> None:
    """A legend below the panels, in at most `most` columns, with the markers of best checkpoints."""
    from matplotlib.lines import Line2D

    signs = [
        Line2D([], [], linestyle="", marker="o", markersize=5, color="black", markerfacecolor=face, label=label)
        for done, face, label in ((True, "black", "best checkpoint"), (False, "white", "best so far"))
        if any(curves.done == done for curves in trainings.values())
    ]
    handles = [*handles, *signs]
    lines = -(-len(handles) // most)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=-(-len(handles) // lines), fontsize="small", frameon=False
    )
