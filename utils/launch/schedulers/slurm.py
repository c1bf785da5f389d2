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
# Why a job waits for ever, unless a person comes to its help.
NEVER = (
    r"JobHeld.*|.*launch failed.*held.*|.*NeverSatisfied|BadConstraints|Partition(Config|NodeLimit|TimeLimit)"
    r"|Invalid(Account|QOS)|(Account|QOS)NotAllowed|.*PerJob.*|.*Max\w+PerNode"
)


class Slurm(Cluster):
    """sbatch, squeue and scancel."""

    script_end = '"$SLURM_ARRAY_TASK_ID" USR1'

    def submit_command(self, name: str, size: int) -> list[str]:
        places = f"%{self.call.max_jobs_run}" if self.call.max_jobs_run else ""
        return [
            *self.call.command,
            "--parsable",
            f"--job-name={name}",
            f"--array=1-{size}{places}",
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
        code, answer, words = self._squeue("%F|%j")
        found = [line.split("|")[0] for line in answer.splitlines() if line.endswith(f"|{name}")]
        if code != 0:
            raise NoAnswer(f"squeue: {words}")
        return found[0] if found else ""

    def states(self, submissions: list[Submission]) -> dict[Task, State]:
        code, answer, words = self._squeue("%i|%j|%T|%r")
        if code != 0:
            raise NoAnswer(f"squeue: {words}")
        ours = {submission.name for submission in submissions}
        states = {}
        for line in answer.splitlines():
            task, name, state, reason = (line.split("|", 3) + [""] * 3)[:4]
            place = task.partition("_")[2]
            if name in ours and place.isdigit():
                kind = KINDS.get(state, Kind.RUNNING)
                if kind == Kind.WAITING and re.fullmatch(NEVER, reason, re.IGNORECASE):
                    kind = Kind.HOPELESS
                words = state if reason in ("", "None", "NonZeroExitCode") else f"{state}, {reason}"
                states[Task(name, int(place))] = State(kind, words)
        return states

    def _squeue(self, columns: str) -> tuple[int, str, str]:
        return self.ask(["squeue", "-h", "-r", "-t", "all", "-u", str(os.getuid()), "-o", columns])

    def cancel(self, submission: Submission, place: int | None = None) -> None:
        """By name as well: an id may be another job's by now."""
        which = submission.id if place is None else f"{submission.id}_{place}"
        name = f"--name={submission.name}"
        if place is None:  # what waits first: of an array with a limit, a task that ends lets the next begin
            self.ask(["scancel", "--state=PENDING", name, which])
        self.ask(["scancel", name, which])
