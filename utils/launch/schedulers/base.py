"""The interface of schedulers."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from command_line import Call

JOB = Path(__file__).resolve().parents[1] / "job.sh"


class Kind(Enum):
    """Kinds of the states of tasks."""

    WAITING = "in the queue"
    RUNNING = "on a node"
    HOPELESS = "in the queue, never to run"
    ENDED = "over by itself"
    DELETED = "ended by a person"
    LIMITED = "ended by a limit of time or memory"
    DISTURBED = "ended by preemption or the loss of a node"


class State(NamedTuple):
    """The state of a task, and the scheduler's reason for it."""

    kind: Kind
    reason: str = ""


class Submission(NamedTuple):
    """An array of tasks, with indices 1 to size.

    Attributes:
        folder: of this submission's files, which job.sh reads and writes.
        name: unique, while a scheduler may use an id again.
    """

    folder: Path
    name: str
    id: str
    size: int


class Task(NamedTuple):
    """A task: the name of its submission, and its index there, from 1."""

    name: str
    array_index: int


class Refused(Exception):
    """A scheduler does not take the jobs: one line."""


class NoAnswer(Exception):
    """A scheduler does not answer now; it may later."""


class Scheduler:
    """A scheduler.

    Attributes:
        patience: seconds for which a file system may hide the status file of a task that has ended.
        memory: seconds after which last_words knows a task that has left the queue.
        deletes_with: the signal that a deleted task gets, if no later state reports the deletion.
    """

    patience = 5.0
    memory = 5.0
    deletes_with = ""

    def __init__(self, call: Call) -> None:
        self.call = call

    def submit(self, folder: Path, name: str, size: int) -> Submission:
        """Submit the tasks of a folder.

        Raises:
            Refused: with the scheduler's message.
            NoAnswer: the scheduler does not answer; nothing is submitted.
        """
        raise NotImplementedError

    def largest_array(self) -> int:
        """The largest number of tasks in a submission.

        Raises:
            NoAnswer: the scheduler does not answer.
        """
        return 10**9

    def states(self, submissions: list[Submission]) -> dict[Task, State]:
        """States of the tasks that the scheduler still knows.

        Raises:
            NoAnswer: it does not answer.
        """
        raise NotImplementedError

    def cancel(self, submission: Submission, index: int | None = None) -> None:
        """Ask a task, or all of a submission, to end.

        Raises:
            NoAnswer: it does not answer.
        """
        raise NotImplementedError

    def last_words(self, submission: Submission, index: int) -> State:
        """The last known state of a task that is no longer in the queue."""
        return State(Kind.ENDED)


class Cluster(Scheduler):
    """A scheduler with commands."""

    # in the messages of commands that cannot reach the daemon
    silence = (
        r"unable to contact|timed out|time out|connection refused|commlib error|unable to send message|got select error"
    )
    hides = ("BASH_FUNC_", "SQUEUE_", "SCANCEL_", "SER_TERMINAL_FD")  # environment variables that could do harm

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self.unsure: set[str] = set()  # names of submissions whose answer was lost

    def ask(self, command: list[str], given: str = "") -> tuple[int, str, str]:
        """Run a scheduler's command: exit code, standard output, and message.

        Raises:
            Refused: the command is not installed here.
            NoAnswer: it cannot reach its daemon.
        """
        environment = {k: v for k, v in os.environ.items() if not k.startswith(self.hides)}
        try:
            done = subprocess.run(
                command,
                input=given,
                env=environment,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=120,
                start_new_session=True,  # the launcher handles Ctrl-C
                preexec_fn=unblock_signals,
            )
        except OSError as error:
            raise Refused(f"{command[0]}: {error.strerror}; submit where your site's commands are on PATH") from None
        except subprocess.TimeoutExpired:
            raise NoAnswer(f"{command[0]} hangs") from None
        words = " ".join((done.stderr + ("" if done.returncode == 0 else done.stdout)).split())
        if done.returncode != 0 and re.search(self.silence, words, re.IGNORECASE):
            raise NoAnswer(f"{command[0]}: {words}")
        return done.returncode, done.stdout, words

    def submit(self, folder: Path, name: str, size: int) -> Submission:
        return self.send(self.submit_command(name, size), folder, name, size)

    def send(self, command: list[str], folder: Path, name: str, size: int) -> Submission:
        """Submit with a command."""
        script = f"#!/bin/bash\nexec bash {shlex.quote(str(JOB))} {shlex.quote(str(folder))} {self.script_end}\n"
        if name in self.unsure and (number := self.find(name)):
            return Submission(folder, name, number, size)
        self.unsure.add(name)
        code, answer, words = self.ask(command, script)
        self.unsure.remove(name)
        if code != 0:
            raise Refused(f"{command[0]} refuses ({self.call.config} has its options): {words}")
        match = re.search(r"^(\d+)\S*$", answer, re.MULTILINE)  # warnings may come before it
        if not match:
            raise Refused(f"{command[0]} gives no number of a job: {answer}")
        return Submission(folder, name, match[1], size)

    script_end = ""  # arguments of job.sh behind the folder

    def submit_command(self, name: str, size: int) -> list[str]:
        """The command that reads the script of an array of tasks and prints its number."""
        raise NotImplementedError

    def find(self, name: str) -> str:
        """The id of the submission of that name, or "".

        Raises:
            NoAnswer: the scheduler does not answer.
        """
        raise NotImplementedError


def unblock_signals() -> None:
    """In a new process: unblock the signals that the launcher blocks for itself."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
