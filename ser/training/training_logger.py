"""What people see of a training: lines on the screen and in train.log, a progress bar, TensorBoard where asked for."""

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
        folder: of the training, where train.log and, for TensorBoard, events/ go; None: nothing is logged.
        history: rows of epochs.jsonl, which grow as the training goes on.
        seconds: of each epoch so far, alike.
        echo: whether to print its lines, too; not where the output goes to train.log anyway.
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
        """Print a line, and append it to train.log, the log of all runs of the training."""
        if self.folder is None:
            return
        report(text, self.echo)
        append_text(self.folder / LOG, f"{time.strftime('%F %T')} {text}\n")

    def log_parts(self, parts: Mapping[str, Mapping[str, UtteranceDataset]]) -> None:
        """Count what there is to train and validate on."""
        for name, datasets in parts.items():
            for corpus, part in ((corpus, dataset.part) for corpus, dataset in datasets.items()):
                counts = ", ".join(f"{c} {n}" for c, n in zip(part.classes, part.class_counts, strict=True))
                speakers = len(set(part.speakers))
                self.log(f"{name} {corpus}: {len(part)} utterances of {speakers} speakers ({counts})")

    @contextmanager
    def epoch_bar(self, steps: int, done: int) -> Iterator[Any]:
        """The bar of the next epoch, of which some steps may be done already; call its `step(loss)`."""
        with progress(
            text=f"epoch {len(self.history) + 1}", unit="step", total=steps, show=self.folder is not None
        ) as bar:
            bar.update(done)
            figures = self._figures()
            total = count = 0.0

            def step(loss: float) -> None:
                nonlocal total, count
                total, count = total + loss, count + 1
                bar.set_postfix_str(", ".join([f"loss {total / count:.3f}", *figures]), refresh=False)
                bar.update()

            bar.step = step
            yield bar

    def _figures(self) -> list[str]:
        """UA of the last validation, and the time left."""
        if not self.seconds:
            return []
        scores = [f"{corpus} UA {100 * v['ua']:.1f}" for corpus, v in self.history[-1]["valid"].items()]
        return [*scores, self._time_left()]

    def _time_left(self) -> str:
        """To the end of the training, if nothing improves any more."""
        to_the_end = self.config.max_epochs - len(self.history)
        epochs = min(to_the_end, self.config.patience - self.history[-1]["num_bad_epochs"])
        return f"{_clock(epochs * median(self.seconds))} left{' unless it improves' if epochs < to_the_end else ''}"

    def log_epoch(self) -> None:
        """A line on the last epoch, and its scalars for TensorBoard."""
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
        """Close what is open."""
        if self.wandb is not None:
            self.wandb.finish()


def scalars(row: Mapping[str, Any]) -> dict[str, float]:
    """A row of epochs.jsonl as TensorBoard names it: loss/train_<corpus>, loss/valid, ua/valid_<corpus> and so on."""
    found = {f"loss/train_{corpus}": value for corpus, value in row["train_loss"].items()}
    found["loss/valid"] = row["valid_loss"]
    for corpus, values in row["valid"].items():
        found |= {f"{name}/valid_{corpus}": values[name] for name in ("loss", *METRICS) if name in values}
    return found


def _board(folder: Path, epochs: int) -> Any:
    """A writer that takes back what an interrupted run wrote after the epochs that are kept."""
    return _optional("tensorboard", "torch.utils.tensorboard").SummaryWriter(str(folder), purge_step=epochs + 1)


def _wandb(folder: Path, mode: Literal["offline", "online"]) -> Any:
    """A run of Weights & Biases; a training that is continued goes on in the same."""
    wandb, name = _optional("wandb", "wandb"), "/".join(folder.resolve().parts[-3:])
    settings = wandb.Settings(silent=True, console="off")
    return wandb.init(
        project="ser", id=digest(name), name=name, dir=folder, mode=mode, resume="allow", settings=settings
    )


def _optional(name: str, module: str) -> Any:
    """A module of a package that only the option of its name needs."""
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
