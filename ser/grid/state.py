"""In what state an experiment is, from the files in its folder alone; no clock decides anything."""

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
from ser.common.run_folder import EXPERIMENT_LOCK, FAILED, RESULT, TRAINING_LOCK, ZERO_SHOT, is_scored, posteriors_path
from ser.config import Experiment
from ser.scoring.files import read_finished, read_train, read_zero_shot

IDENTITY = ("corpora", "task", "temporal", "pooling", "fold", "seed")
HASHES = ("config_hash", "data_hash", "split_hash")


class State(Enum):
    """Of an experiment, in the order in which tables show them."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    MISSING = "missing"


@dataclass(frozen=True)
class RunStatus:
    """What was found.

    Attributes:
        reason: of a failed one, one line.
        log: of a failed one, its log.
    """

    state: State
    reason: str = ""
    log: Path | None = None


def read_status(folder: Path, experiment: Experiment, unseen: Sequence[str]) -> RunStatus:
    """Find the state of an experiment; one that was killed is missing, as one that never began.

    Args:
        unseen: corpora on which it is to be scored zero-shot.
    """
    if any(is_locked(folder / name) for name in (EXPERIMENT_LOCK, TRAINING_LOCK)):
        return RunStatus(State.RUNNING)
    failure = read_failure(folder)
    if failure is not None:
        return RunStatus(State.FAILED, failure.error, folder / failure.log)
    if not is_scored(folder) or not posteriors_path(folder, "test").is_file():
        return RunStatus(State.MISSING)
    problem = wrong_with(folder, experiment)
    if problem:
        return RunStatus(State.FAILED, problem, folder / RESULT)
    scored = read_zero_shot_hashes(folder)
    return RunStatus(State.DONE if scored is not None and scored.keys() >= set(unseen) else State.MISSING)


def wrong_with(folder: Path, experiment: Experiment) -> str:
    """What is wrong with result.json; "" for nothing. It has to be whole, of this experiment and its training."""
    path = folder / RESULT
    try:
        result, train = read_finished(folder, answers=True)
        train = train or read_train(folder)
    except InputError as error:
        return str(error)
    odd = [key for key in IDENTITY if result[key] != getattr(experiment, key)]
    return f"{path}: {odd[0]}: not that of this folder; the next run makes it again" if odd else ""


def read_zero_shot_hashes(folder: Path) -> dict[str, Any] | None:
    """What zero_shot.json holds of this model: corpus -> hashes of the data that were scored, or why none were.

    None where there is no such file, or it is of another model.
    """
    try:
        found, train = read_zero_shot(folder / ZERO_SHOT, answers=True), read_train(folder)
        same = all(found[key] == train[key] for key in HASHES)
        return {**{c: found["target_hashes"][c] for c in found["targets"]}, **found["left_out"]} if same else None
    except (InputError, LookupError, TypeError):
        return None


class DoneList:
    """Experiments that jobs of a grid have found done, in one file that all of them add to and read.

    A line is an experiment's folder and its stamp; the last one of an experiment counts. What is lost or garbled, as
    where two machines write at once, costs a check of that experiment.

    Args:
        path: of the file; there may be none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamps: dict[str, str] = {}

    def has(self, experiment: str, stamp: str) -> bool:
        """Whether an experiment was found done as it is now; the file is read again where this is not known.

        Args:
            experiment: its folder, below that of the grid.
            stamp: of its settings, data and files; "" of one that is not done.
        """
        if stamp and self._stamps.get(experiment) != stamp:
            with suppress(OSError):
                lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
                self._stamps = dict(line.split("\t") for line in lines if line.count("\t") == 1)
        return stamp != "" and self._stamps.get(experiment) == stamp

    def add(self, experiment: str, stamp: str) -> None:
        """Add an experiment, unless it is there or not done.

        Args:
            experiment: as of `has`.
            stamp: as of `has`.

        Raises:
            InputError: the disk is full or the place cannot be written.
        """
        if stamp and not self.has(experiment, stamp):
            append_text(self.path, f"{experiment}\t{stamp}\n")


@dataclass(frozen=True)
class Failure:
    """Why an experiment failed.

    Attributes:
        run: names the run of the grid, which does not try it again.
        job: the shard, from 1.
        log: its log, in the folder of the experiment.
    """

    run: str
    job: int
    error: str
    log: str


def mark_failed(folder: Path, failure: Failure) -> None:
    """Leave a marker."""
    write_json(folder / FAILED, asdict(failure))


def read_failure(folder: Path) -> Failure | None:
    """What `mark_failed` wrote; a damaged marker counts as one of another run."""
    path = folder / FAILED
    if not path.is_file():
        return None
    try:
        found = read_json(path)
        return Failure(str(found["run"]), int(found["job"]), str(found["error"]), str(found["log"]))
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
    """Hold the lock of an experiment; False where another process holds it, which is not waited for.

    Raises:
        InputError: another process took the lock meanwhile, too: it holds on one machine alone.
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
                (
                    "mount it with locks (NFS: without nolock and local_lock; Lustre: with flock, not "
                    "localflock), or run all jobs on one machine"
                ),
            )
