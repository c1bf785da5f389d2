"""What a launcher asks of a scheduler."""

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
    """Of the states of tasks."""

    WAITING = "in the queue"
    RUNNING = "on a node"
    HOPELESS = "in the queue, never to run"
    ENDED = "over by itself"
    DELETED = "ended by a person"
    LIMITED = "ended by a limit of time or memory"
    DISTURBED = "ended by preemption or the loss of a node"


class State(NamedTuple):
    """What a scheduler reports of a task, with the reason in its words."""

    kind: Kind
    reason: str = ""


class Submission(NamedTuple):
    """An array of tasks, with places 1 to size, as a scheduler knows it.

    Attributes:
        folder: holds what job.sh reads and writes, of this submission alone.
        name: no other submission has it, while a scheduler may give an id again.
    """

    folder: Path
    name: str
    id: str
    size: int


class Task(NamedTuple):
    """A task by the name of its submission and its place there, from 1."""

    name: str
    place: int


class Refused(Exception):
    """A scheduler does not take the jobs: one line."""


class NoAnswer(Exception):
    """A scheduler does not answer now; it may later."""


class Scheduler:
    """A scheduler, as far as launchers need one.

    Attributes:
        patience: seconds for which a file system may hide the status of a task that is over.
        memory: seconds after which last_words has something to say of a task that has left the queue.
        deletes_with: the signal by which a task learns that it was deleted, where no later state says so.
    """

    patience = 5.0
    memory = 5.0
    deletes_with = ""

    def __init__(self, call: Call) -> None:
        self.call = call

    def submit(self, folder: Path, name: str, size: int) -> Submission:
        """Submit the tasks of a folder.

        Raises:
            Refused: with the scheduler's words.
            NoAnswer: nothing was submitted.
        """
        raise NotImplementedError

    def largest_array(self) -> int:
        """The most tasks in a submission.

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

    def cancel(self, submission: Submission, place: int | None = None) -> None:
        """Ask a task, or all of a submission, to end.

        Raises:
            NoAnswer: it does not answer.
        """
        raise NotImplementedError

    def last_words(self, submission: Submission, place: int) -> State:
        """What is known of a task that is no longer in the queue."""
        return State(Kind.ENDED)


class Cluster(Scheduler):
    """A scheduler with commands."""

    # begins what a scheduler's command says when it cannot reach its daemon
    silence = (
        r"unable to contact|timed out|time out|connection refused|commlib error|unable to send message|got select error"
    )
    hides = ("BASH_FUNC_", "SQUEUE_", "SCANCEL_", "SER_TERMINAL_FD")  # of the environment: no use, and some harm

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self.unsure: set[str] = set()  # names of submissions that may have been taken without a word

    def ask(self, command: list[str], given: str = "") -> tuple[int, str, str]:
        """Exit code, standard output and the words of a scheduler's command.

        Raises:
            Refused: it is not installed here.
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
                start_new_session=True,  # Ctrl-C is the launcher's to handle
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
        found = re.search(r"^(\d+)\S*$", answer, re.MULTILINE)  # warnings may stand before it
        if not found:
            raise Refused(f"{command[0]} gives no number of a job: {answer}")
        return Submission(folder, name, found[1], size)

    script_end = ""  # arguments of job.sh behind the folder

    def submit_command(self, name: str, size: int) -> list[str]:
        """The command that reads the script of an array of tasks and prints its number."""
        raise NotImplementedError

    def find(self, name: str) -> str:
        """The id of the submission of a name, or nothing.

        Raises:
            NoAnswer: the scheduler does not answer.
        """
        raise NotImplementedError


def unblock_signals() -> None:
    """In a new process: undo what the launcher has blocked for itself."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
