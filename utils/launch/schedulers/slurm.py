"""Slurm."""

from __future__ import annotations

import os
import re

from schedulers.base import Cluster, Kind, NoAnswer, State, Submission, Task

KINDS = {
    "PENDING": Kind.WAITING,
    "COMPLETED": Kind.ENDED,
    "FAILED": Kind.ENDED,
    "TIMEOUT": Kind.LIMITED,
    "OUT_OF_MEMORY": Kind.LIMITED,
    "DEADLINE": Kind.LIMITED,
    "CANCELLED": Kind.DELETED,
    "REVOKED": Kind.DELETED,
    "PREEMPTED": Kind.DISTURBED,
    "NODE_FAIL": Kind.DISTURBED,
    "BOOT_FAIL": Kind.DISTURBED,
}
# Reasons of jobs that would wait for ever.
NEVER = (
    r"JobHeld.*|.*launch failed.*held.*|.*NeverSatisfied|BadConstraints|Partition(Config|NodeLimit|TimeLimit)"
    r"|Invalid(Account|QOS)|(Account|QOS)NotAllowed|.*PerJob.*|.*Max\w+PerNode"
)


class Slurm(Cluster):
    """sbatch, squeue and scancel."""

    script_end = '"$SLURM_ARRAY_TASK_ID" USR1'

    def submit_command(self, name: str, size: int) -> list[str]:
        slots = f"%{self.call.max_jobs_run}" if self.call.max_jobs_run else ""
        return [
            *self.call.command,
            "--parsable",
            f"--job-name={name}",
            f"--array=1-{size}{slots}",
            "--no-requeue",  # by Slurm; the launcher does it, and a bounded number of times
            "--signal=B:USR1@60",  # a minute before the time limit
            "--chdir=/",
            "--output=/dev/null",
            *self.call.options,
        ]

    def largest_array(self) -> int:
        """By MaxArraySize, below which all indices lie."""
        code, answer, _ = self.ask(["scontrol", "show", "config"])
        found = re.search(r"^MaxArraySize\s*=\s*(\d+)", answer, re.MULTILINE)
        return max(1, int(found[1]) - 1) if code == 0 and found else 1000

    def find(self, name: str) -> str:
        answer = self._squeue("%F|%j")
        return next((line.split("|")[0] for line in answer.splitlines() if line.endswith(f"|{name}")), "")

    def states(self, submissions: list[Submission]) -> dict[Task, State]:
        answer = self._squeue("%i|%j|%T|%r")
        ours = {submission.name for submission in submissions}
        states = {}
        for line in answer.splitlines():
            task, name, state, reason = (line.split("|", 3) + [""] * 3)[:4]
            index = task.partition("_")[2]
            if name in ours and index.isdigit():
                kind = KINDS.get(state, Kind.RUNNING)
                if kind == Kind.WAITING and re.fullmatch(NEVER, reason, re.IGNORECASE):
                    kind = Kind.HOPELESS
                words = state if reason in ("", "None", "NonZeroExitCode") else f"{state}, {reason}"
                states[Task(name, int(index))] = State(kind, words)
        return states

    def _squeue(self, columns: str) -> str:
        command = ["squeue", "-h", "-r", "-t", "all", "-u", str(os.getuid()), "-o", columns]
        code, answer, words = self.ask(command)
        if code != 0:
            raise NoAnswer(f"squeue: {words}")
        return answer

    def cancel(self, submission: Submission, index: int | None = None) -> None:
        """As of `Scheduler`; by name too, for another job may have got the id."""
        which = submission.id if index is None else f"{submission.id}_{index}"
        name = f"--name={submission.name}"
        if index is None:  # waiting tasks first, or they start when running ones end
            self.ask(["scancel", "--state=PENDING", name, which])
        self.ask(["scancel", name, which])
