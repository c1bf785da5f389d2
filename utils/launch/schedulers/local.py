"""Jobs on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from command_line import Call

from schedulers.base import JOB, Kind, Scheduler, State, Submission, Task, unblock_signals


class Local(Scheduler):
    """Starts jobs itself, each in its own process group, and no more than --max-jobs-run at once."""

    patience = memory = 0.0

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self.slots = call.max_jobs_run or len(os.sched_getaffinity(0))
        self.waiting: list[tuple[Submission, int]] = []
        self.running: dict[Task, subprocess.Popen] = {}

    def submit(self, folder: Path, name: str, size: int) -> Submission:
        submission = Submission(folder, name, "", size)
        self.waiting += [(submission, index) for index in range(1, size + 1)]
        return submission

    def states(self, submissions: list[Submission]) -> dict[Task, State]:
        """As of `Scheduler`; a job that ended is reported once, and the next waiting one starts."""
        ended = [task for task, process in self.running.items() if process.poll() is not None]
        for task in ended:
            del self.running[task]
        while self.waiting and len(self.running) < self.slots:
            submission, index = self.waiting.pop(0)
            self.running[Task(submission.name, index)] = subprocess.Popen(
                ["bash", JOB, submission.folder, str(index)],
                stdin=subprocess.DEVNULL,
                close_fds=False,  # run.sh of a recipe keeps the terminal open for the first job
                start_new_session=True,
                preexec_fn=unblock_signals,
            )
        states = {task: State(Kind.ENDED) for task in ended}
        states.update({task: State(Kind.RUNNING) for task in self.running})
        states.update({Task(submission.name, index): State(Kind.WAITING) for submission, index in self.waiting})
        return states

    def cancel(self, submission: Submission, index: int | None = None) -> None:
        self.waiting = [task for task in self.waiting if task[0].name != submission.name]
        for task, process in self.running.items():
            if task.name == submission.name:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)

    def finish(self, end: float) -> None:
        """Wait until `end` for cancelled jobs and all their processes, then kill the remaining ones."""
        processes = list(self.running.values())
        while time.monotonic() < end and any(map(group_lives, processes)):
            time.sleep(0.05)
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def group_lives(process: subprocess.Popen) -> bool:
    """Whether a process of a job's group runs."""
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True
