"""State of an experiment, determined by the files in its folder and never by times."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ser.common import InputError, read_json, write_json
from ser.common.files import append_text, hold, lock_file
from ser.common.run_folder import (
    EXPERIMENT_LOCK,
    FAILED,
    LOG,
    RESULT,
    TRAINING_LOCK,
    ZERO_SHOT,
    is_scored,
    posteriors_path,
)
from ser.config import Experiment
from ser.scoring.files import read_finished, read_train, read_zero_shot

IDENTITY = ("corpora", "task", "temporal", "pooling", "fold", "seed")
HASHES = ("config_hash", "data_hash", "split_hash")


class State(Enum):
    """States of an experiment, in the order of tables."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    MISSING = "missing"


@dataclass(frozen=True)
class RunStatus:
    """State of an experiment.

    Attributes:
        state: the state.
        reason: why it failed, in one line.
        log: log of a failed experiment.
    """

    state: State
    reason: str = ""
    log: Path | None = None


def read_status(folder: Path, experiment: Experiment, unseen: Sequence[str]) -> RunStatus:
    """Read the state of an experiment. One that was killed is missing, like one that never began.

    Args:
        unseen: corpora for zero-shot scoring.
    """
    if any(is_locked(folder / name) for name in (EXPERIMENT_LOCK, TRAINING_LOCK)):
        return RunStatus(State.RUNNING)
    failure = read_failure(folder)
    if failure is not None:
        return RunStatus(State.FAILED, failure.error, folder / failure.log)
    if not is_scored(folder) or not posteriors_path(folder, "test").is_file():
        return RunStatus(State.MISSING)
    problem = find_problem(folder, experiment)
    if problem:
        return RunStatus(State.FAILED, problem, folder / LOG)
    scored = read_zero_shot_hashes(folder)
    return RunStatus(State.DONE if scored is not None and scored.keys() >= set(unseen) else State.MISSING)


def find_problem(folder: Path, experiment: Experiment) -> str:
    """Check that result.json is undamaged and of this experiment and its training.

    Returns:
        The problem; "" for none.
    """
    path = folder / RESULT
    try:
        result, train = read_finished(folder, answers=True)
        train = train or read_train(folder)
    except InputError as error:
        return str(error)
    odd = [key for key in IDENTITY if result[key] != getattr(experiment, key)]
    return f"{path}: {odd[0]}: not that of this folder; the next run makes it again" if odd else ""


def read_zero_shot_hashes(folder: Path) -> dict[str, Any] | None:
    """Read from zero_shot.json: corpus -> hashes of the scored data, or the reason why it was left out.

    None where there is no such file, or it is of another model.
    """
    try:
        scored, train = read_zero_shot(folder / ZERO_SHOT, answers=True), read_train(folder)
        same = all(scored[key] == train[key] for key in HASHES)
        return {**{c: scored["target_hashes"][c] for c in scored["targets"]}, **scored["left_out"]} if same else None
    except (InputError, LookupError, TypeError):
        return None


class DoneList:
    """List of finished experiments, in one file that all jobs of a grid append to and read.

    A line is an experiment's folder and its stamp; the last line of an experiment counts. After a lost or damaged line,
    as when two machines write at once, the experiment is checked again.

    Args:
        path: of the file, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamps: dict[str, str] = {}

    def has(self, experiment: str, stamp: str) -> bool:
        """Whether an experiment is listed with this stamp; the file is read again for unknown experiments.

        Args:
            experiment: its folder, relative to that of the grid.
            stamp: digest of its settings, data and files; "" if it is not done.
        """
        if stamp and self._stamps.get(experiment) != stamp:
            with suppress(OSError):
                lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
                self._stamps = dict(line.split("\t") for line in lines if line.count("\t") == 1)
        return stamp != "" and self._stamps.get(experiment) == stamp

    def add(self, experiment: str, stamp: str) -> None:
        """Add an experiment that is done, unless it is listed.

        Args:
            experiment: as for `has`.
            stamp: as for `has`.

        Raises:
            InputError: the file cannot be written.
        """
        if stamp and not self.has(experiment, stamp):
            append_text(self.path, f"{experiment}\t{stamp}\n")


@dataclass(frozen=True)
class Failure:
    """Why an experiment failed.

    Attributes:
        run: name of the run of the grid, which does not repeat the experiment.
        job: the shard, from 1.
        error: message.
        log: file name of the log in the folder of the experiment.
    """

    run: str
    job: int
    error: str
    log: str


def mark_failed(folder: Path, failure: Failure) -> None:
    """Write a marker into the folder of a failed experiment."""
    write_json(folder / FAILED, asdict(failure))


def read_failure(folder: Path) -> Failure | None:
    """Read the marker of `mark_failed`; a damaged one counts as that of another run."""
    path = folder / FAILED
    if not path.is_file():
        return None
    try:
        marker = read_json(path)
        return Failure(str(marker["run"]), int(marker["job"]), str(marker["error"]), str(marker["log"]))
    except (InputError, LookupError, TypeError, ValueError):
        return Failure("", 0, f"{path}: not readable; the next run makes it again", FAILED)


def is_locked(path: Path) -> bool:
    """Whether a process holds a lock."""
    if not path.is_file():
        return False
    with path.open() as file:
        return not lock_file(file, shared=True)


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Hold the lock of an experiment; yields False at once where another process holds it.

    Raises:
        InputError: another process took the lock at the same time: locks hold only within one machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with hold(folder / EXPERIMENT_LOCK) as file:
        if file is None:
            yield False
            return
        holder = f"{socket.gethostname()} {os.getpid()}\n"
        file.truncate(0)
        file.write(holder)
        file.flush()
        os.listdir(folder)  # has NFS ask what other machines have written
        yield True
        file.seek(0)
        if (other := file.read()) != holder:
            raise InputError(
                f"taken by another process ({other.strip()}) while {holder.strip()} held it: locks of "
                "this file system hold on one machine alone",
                folder / EXPERIMENT_LOCK,
                "mount it with locks (NFS: without nolock and local_lock; Lustre: with flock, not localflock), or run "
                "all jobs on one machine",
            )
