"""Run experiments of a grid in one process: train, decode and score each, also zero-shot on unseen corpora."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import signal
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ser.batches import Data, open_data
from ser.common import InputError, digest
from ser.common.files import append_text
from ser.common.jobs import handling
from ser.common.progress import progress
from ser.common.run_folder import CONFIG, DONE, FAILED, LOG, MODEL, RESULT, ZERO_SHOT, is_scored, is_trained
from ser.config import Experiment, result_affecting, write_experiment
from ser.config.metrics import scores_text
from ser.corpora.protocol import PARTS
from ser.grid.cells import Grid
from ser.grid.state import (
    DoneList,
    Failure,
    claimed,
    find_problem,
    mark_failed,
    read_failure,
    read_zero_shot_hashes,
)
from ser.scoring.decode import Decoder
from ser.scoring.files import read_result, read_zero_shot
from ser.scoring.posteriors import read_posteriors
from ser.scoring.result import score_experiment, score_zero_shot, target_hashes
from ser.training import Trainer
from ser.training.checkpoint import load_tensors
from ser.training.engine import Interrupted

log = logging.getLogger(__name__)
# Seconds between two checks of experiments that other processes work on: at first, and after many checks.
POLL, LONGEST_POLL = 1.0, 60.0
# Combinations and folds whose data stay open.
MAX_OPEN = 16


class Runner:
    """Runs the missing experiments of a grid.

    Args:
        grid: the grid.
        run: name of this run of the grid, the same in all shards: experiments that failed in it are not repeated in it.
        job: this shard, from 1.
    """

    def __init__(self, grid: Grid, run: str, job: int = 1) -> None:
        self.grid, self.run, self.job = grid, run, job
        self.done = DoneList(grid.root / DONE)
        # Experiments that differ in temporal block, pooling or seed alone share their data, and come one after another.
        self._opened: dict[tuple[str, str, int, bool], Data] = {}
        self._hashes: dict[tuple[str, str, int, bool], dict[str, str]] = {}

    def shard(self, jobs: int) -> list[Failure]:
        """Run experiments that are missing and unclaimed, until all are done.

        Shares are not fixed: a shard begins with its own part of the grid and goes on with what others have not done,
        so that no shard is idle and the experiments of a lost shard are run, too.

        Returns:
            Failures in this shard.

        Raises:
            Interrupted: SIGTERM, SIGUSR1 or SIGINT came; a training has written its checkpoint.
        """
        experiments = [e for e in self.grid.experiments if not self.is_saved(e)]
        todo = [e for k in range(jobs) for e in experiments[(self.job - 1 + k) % jobs :: jobs]]
        # Only its own part is verified; for the others the list is enough, so that not every job reads all results.
        own = {e.folder for e in experiments[self.job - 1 :: jobs]}
        failures = []
        with (
            handling(_stop, signal.SIGTERM, signal.SIGUSR1),
            progress(text="experiments", unit="exp", total=len(todo), show=self.job == 1) as bar,
        ):
            wait = POLL
            while todo:
                taken = []
                for experiment in todo:
                    folder = self.grid.folder(experiment)
                    if experiment.folder not in own and self.done.has(experiment.folder, self._stamp(experiment)):
                        bar.update()
                        continue
                    with claimed(folder) as is_claimed:
                        failure = self.attempt(experiment) if is_claimed else None
                    if not is_claimed:
                        taken.append(experiment)
                        continue
                    if failure is not None and failure.job == self.job:
                        failures.append(failure)
                    bar.update()
                wait = POLL if len(taken) < len(todo) else min(2 * wait, LONGEST_POLL)
                todo = taken
                time.sleep(wait if todo else 0)
        return failures

    def _stamp(self, experiment: Experiment) -> str:
        """Digest of settings, data (also of corpora for zero-shot scoring), and modification times of both results."""
        try:
            times = [(self.grid.folder(experiment) / name).stat().st_mtime_ns for name in (RESULT, ZERO_SHOT)]
            unseen = {c: self.data_hashes(self.grid.alone(experiment, c)) for c in self.grid.unseen(experiment)}
            return digest([times, self.hashes(experiment), unseen])
        except (InputError, OSError):
            return ""  # not done; `attempt` meets the same problem, and records it

    def attempt(self, experiment: Experiment) -> Failure | None:
        """Run an experiment whose lock is held, unless it failed in this run already.

        A failure is recorded in the folder of the experiment, and does not stop the others.
        """
        folder, name = self.grid.folder(experiment), experiment.folder
        failure = read_failure(folder)
        if failure is not None and failure.run == self.run:
            return failure
        started = time.monotonic()
        try:
            if self.is_done(experiment):
                log.debug("%s: done already", name)
            else:
                with _logged(folder / LOG):
                    self.make(experiment)
                _log(f"{name}: done in {time.monotonic() - started:.0f} s")
            (folder / FAILED).unlink(missing_ok=True)
            with suppress(InputError):  # on a full disk: an unlisted experiment is checked again
                self.done.add(name, self._stamp(experiment))
            return None
        except Exception as error:
            if isinstance(error, Interrupted):
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            if not isinstance(error, InputError):
                reason = f"{type(error).__name__}: {reason}"
            failure = Failure(self.run, self.job, reason, LOG)
            _log(f"error: {name}: {reason}; log: {folder / LOG}")
            with suppress(InputError, OSError):  # on a full disk
                append_text(folder / LOG, "".join(traceback.format_exception(error)))
                mark_failed(folder, failure)
            return failure

    def make(self, experiment: Experiment) -> None:
        """Stages 4 to 6, and zero-shot scoring; existing results are not recomputed.

        Raises:
            InputError: what is there is of other settings or data, or something cannot be read or written.
        """
        folder = self.grid.folder(experiment)
        for path in folder.rglob(".tmp.*"):  # of processes that were killed
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        write_experiment(experiment, folder / CONFIG)
        data = self.data(experiment)
        train(data, folder)
        decoder = Decoder(experiment, folder)
        print(*decoder.decode_parts(data, "test"), sep="\n")
        if not self._is_scored(experiment):
            score_experiment(data, folder, "test")
        others, left_out = self._others(data)
        unseen = {corpus: other.parts("test")[corpus] for corpus, other in others.items()}
        print(*decoder.decode("test", unseen, others), sep="\n")
        score_zero_shot(data, folder, others, left_out)
        for path, read in ((folder / RESULT, read_result), (folder / ZERO_SHOT, read_zero_shot)):
            for corpus, scores in read(path)["targets"].items():
                print(f"{path.stem}: {corpus} {scores_text(scores)}, n {scores['n']}")

    def is_done(self, experiment: Experiment) -> bool:
        """Whether all results exist, are undamaged, and are of these settings and data."""
        folder = self.grid.folder(experiment)
        scored = read_zero_shot_hashes(folder) if self._is_scored(experiment) else None
        return self._is_scored_zero_shot(experiment, scored) and self._is_decoded(folder, scored or {})

    def is_saved(self, experiment: Experiment) -> bool:
        """Whether the saved ledger holds an experiment, of these settings and data."""
        row = self.grid.saved_run(experiment)
        if row is None or any(row[key] != value for key, value in self.hashes(experiment).items()):
            return False
        return self._is_scored_zero_shot(experiment, row["zero_shot"])

    def _is_scored_zero_shot(self, experiment: Experiment, scored: Mapping[str, Any] | None) -> bool:
        unseen = self.grid.unseen(experiment)
        if scored is None or not scored.keys() >= set(unseen):
            return False
        return all(
            scored[corpus] == self.data_hashes(self.grid.alone(experiment, corpus))
            for corpus in unseen
            if isinstance(scored[corpus], Mapping)
        )

    def _is_decoded(self, folder: Path, scored: Mapping[str, Any]) -> bool:
        """Whether the posteriors of all targets, which the ledger reads, exist and are undamaged."""
        unseen = [corpus for corpus, hashes in scored.items() if isinstance(hashes, Mapping)]  # others were left out
        targets = {*read_result(folder / RESULT)["targets"], *unseen}
        try:
            return targets <= read_posteriors(folder, "test").corpora.keys()
        except InputError:
            return False

    def _is_scored(self, experiment: Experiment) -> bool:
        folder = self.grid.folder(experiment)
        if not is_scored(folder) or find_problem(folder, experiment):
            return False
        result = read_result(folder / RESULT)
        return all(result[key] == value for key, value in self.hashes(experiment).items())

    def data(self, experiment: Experiment) -> Data:
        """Open the data of an experiment, or reuse open ones."""
        key = _key(experiment)
        if key not in self._opened:
            if len(self._opened) >= MAX_OPEN:
                del self._opened[next(iter(self._opened))]
            places = self.grid.places
            most = self.grid.most_folds
            self._opened[key] = open_data(experiment, places.recipe, places.data, places.dump, most)
        return replace(self._opened[key], experiment=experiment)

    def hashes(self, experiment: Experiment) -> dict[str, str]:
        """Hashes of settings, data and split."""
        return {**self.data_hashes(experiment), "config_hash": digest(result_affecting(experiment))}

    def data_hashes(self, experiment: Experiment) -> dict[str, str]:
        """Hashes of data and split."""
        key = _key(experiment)
        if key not in self._hashes:
            self._hashes[key] = target_hashes(self.data(experiment))
        return self._hashes[key]

    def _others(self, data: Data) -> tuple[dict[str, Data], dict[str, str]]:
        """Data of the corpora for zero-shot scoring, and why others are left out: they share data with the training."""
        experiment, others, left_out = data.experiment, {}, {}
        folds = [p.fold(experiment.split, experiment.fold) for p in data.protocols.values()]
        known = {speaker for fold in folds for part in PARTS for speaker in fold[part]}
        for corpus in self.grid.unseen(experiment):
            other = self.data(self.grid.alone(experiment, corpus))
            shared = sorted(known & set(other.parts("test")[corpus].speakers))
            audio = {name for parts in data.samples.values() for part in parts.values() for name in part.values()}
            equal = [key for key, name in other.samples[corpus]["test"].items() if name in audio]
            if shared:
                left_out[corpus] = f"{shared[0]} is a speaker of {', '.join(experiment.corpora)}, too"
            elif equal:
                left_out[corpus] = (
                    f"{len(equal)} utterances, {equal[0]} the first, have the samples of some of "
                    f"{', '.join(experiment.corpora)}"
                )
            else:
                others[corpus] = other
        return others, left_out


def train(data: Data, folder: Path) -> None:
    """Run stage 4, unless the model exists.

    Raises:
        InputError: the model is of other settings or data.
        Interrupted: a signal came; the checkpoint is written.
    """
    model = folder / MODEL
    if is_trained(folder):
        data.check_trained(load_tensors(model)[1], folder)
        return
    data.check_confounded(data.experiment.batches.normalisation)
    parts = data.parts("train"), data.parts("valid")
    trainer = Trainer(data.experiment, folder, data.heads, *parts, data.hashes(), data.warnings(), echo=False)
    trainer.run()
    if trainer.signal is not None:  # too late for the training to end on it
        raise Interrupted(trainer.signal)


def _key(experiment: Experiment) -> tuple[str, str, int, bool]:
    return experiment.combination, experiment.task, experiment.fold, bool(experiment.augment["copies"])


def _stop(number: int, _: object) -> None:
    """Raise Interrupted on a signal; files are always written completely or not at all."""
    raise Interrupted(number)


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Append everything that is printed to a log."""
    append_text(path, f"# {time.strftime('%F %T %z')} on {platform.node()}, process {os.getpid()}\n")
    with path.open("a", encoding="utf-8", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
        yield


def _log(text: str) -> None:
    with suppress(OSError):  # the log of the job may lie on a disk that is full
        print(text, flush=True)
