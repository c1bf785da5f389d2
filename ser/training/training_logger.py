"""Log a training: lines on the terminal and in train.log, a progress bar, TensorBoard, Weights & Biases."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any, Literal

from ser.batches import UtteranceDataset
from ser.common import InputError, digest
from ser.common.files import append_text
from ser.common.progress import progress, report
from ser.common.run_folder import LOG
from ser.config import Training
from ser.config.metrics import scores_text
from ser.config.registry import METRICS


class TrainingLogger:
    """Logs a training.

    Args:
        folder: of the training, for train.log and the events/ of TensorBoard; None: nothing is logged.
        config: the settings.
        history: rows of epochs.jsonl; the caller appends to it.
        seconds: duration of each epoch so far; the caller appends to it.
        echo: whether to print the lines as well; False if the output goes to train.log anyway.
    """

    def __init__(
        self,
        folder: Path | None,
        config: Training,
        history: Sequence[Mapping[str, Any]],
        seconds: Sequence[float],
        echo: bool = True,
    ) -> None:
        self.folder, self.config, self.history, self.seconds = folder, config, history, seconds
        self.echo = echo
        self.board = _board(folder / "events", len(history)) if config.tensorboard and folder else None
        self.wandb = _wandb(folder, config.wandb) if config.wandb != "none" and folder else None

    def log(self, text: str) -> None:
        """Print a line and append it to train.log, which all runs of the training share."""
        if self.folder is None:
            return
        report(text, self.echo)
        append_text(self.folder / LOG, f"{time.strftime('%F %T')} {text}\n")

    def log_parts(self, parts: Mapping[str, Mapping[str, UtteranceDataset]]) -> None:
        """Log utterances, speakers and classes of the training and validation parts.

        Args:
            parts: train or valid -> corpus -> dataset.
        """
        for name, datasets in parts.items():
            for corpus, part in ((corpus, dataset.part) for corpus, dataset in datasets.items()):
                counts = ", ".join(f"{c} {n}" for c, n in zip(part.classes, part.class_counts, strict=True))
                speakers = len(set(part.speakers))
                self.log(f"{name} {corpus}: {len(part)} utterances of {speakers} speakers ({counts})")

    @contextmanager
    def epoch_bar(self, steps: int, done: int) -> Iterator[Any]:
        """Open the progress bar of the next epoch; call its `step(loss)` after each step.

        Args:
            steps: of the epoch.
            done: steps of the epoch that are complete already, in a resumed training.
        """
        with progress(
            text=f"epoch {len(self.history) + 1}", unit="step", total=steps, show=self.folder is not None
        ) as bar:
            bar.update(done)
            figures = []
            if self.seconds:
                scores = self.history[-1]["valid"].items()
                figures = [*(f"{corpus} UA {100 * v['ua']:.1f}" for corpus, v in scores), self._time_left()]
            total = count = 0.0

            def step(loss: float) -> None:
                nonlocal total, count
                total, count = total + loss, count + 1
                bar.set_postfix_str(", ".join([f"loss {total / count:.3f}", *figures]), refresh=False)
                bar.update()

            bar.step = step
            yield bar

    def _time_left(self) -> str:
        """The time to the end of the training if the validation loss does not improve any more."""
        epochs_left = self.config.max_epochs - len(self.history)
        epochs = min(epochs_left, self.config.patience - self.history[-1]["num_bad_epochs"])
        return f"{_clock(epochs * median(self.seconds))} left{' unless it improves' if epochs < epochs_left else ''}"

    def log_epoch(self) -> None:
        """Log the last epoch; send its scalars to TensorBoard and Weights & Biases."""
        row = self.history[-1]
        loss = ", ".join(f"{corpus} {v:.4f}" for corpus, v in row["train_loss"].items())
        valid = ", ".join(f"{corpus} {scores_text(v, ' ')}" for corpus, v in row["valid"].items())
        self.log(
            f"epoch {row['epoch']}: train loss {loss}; valid loss {row['valid_loss']:.4f}, {valid}; best epoch "
            f"{row['best_epoch']}, patience {row['num_bad_epochs']} of {self.config.patience}; "
            f"{self.seconds[-1]:.1f} s, {self._time_left()}"
        )
        if self.board is not None:
            for name, value in scalars(row).items():
                self.board.add_scalar(name, value, row["epoch"])
            self.board.flush()
        if self.wandb is not None:
            self.wandb.log(scalars(row), step=row["epoch"])

    def end(self) -> None:
        """Close the run of Weights & Biases."""
        if self.wandb is not None:
            self.wandb.finish()


def scalars(row: Mapping[str, Any]) -> dict[str, float]:
    """The scalars of a row of epochs.jsonl: loss/train_<corpus>, loss/valid, ua/valid_<corpus> and so on."""
    values_of = {f"loss/train_{corpus}": value for corpus, value in row["train_loss"].items()}
    values_of["loss/valid"] = row["valid_loss"]
    for corpus, values in row["valid"].items():
        values_of |= {f"{name}/valid_{corpus}": values[name] for name in ("loss", *METRICS) if name in values}
    return values_of


def _board(folder: Path, epochs: int) -> Any:
    """Open a writer of TensorBoard that drops what an interrupted run wrote after the restored epochs."""
    return _optional("tensorboard", "torch.utils.tensorboard").SummaryWriter(str(folder), purge_step=epochs + 1)


def _wandb(folder: Path, mode: Literal["offline", "online"]) -> Any:
    """Open a run of Weights & Biases; a resumed training continues the same run."""
    wandb, name = _optional("wandb", "wandb"), "/".join(folder.resolve().parts[-3:])
    settings = wandb.Settings(silent=True, console="off")
    return wandb.init(
        project="ser", id=digest(name), name=name, dir=folder, mode=mode, resume="allow", settings=settings
    )


def _optional(name: str, module: str) -> Any:
    """Import an optional package, or report which option needs it."""
    try:
        return import_module(module)
    except ImportError:
        raise InputError(
            f"the package {name} is not installed",
            f"training.{name}",
            f"`pip install {name}`, give --extras {name}, or leave the option off",
        ) from None


def _clock(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02d} h" if minutes >= 60 else f"{minutes} min"
