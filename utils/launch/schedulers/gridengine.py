"""Grid Engine."""

from __future__ import annotations

import os
import pwd
import re
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from command_line import Call

from schedulers.base import Cluster, Kind, NoAnswer, Refused, State, Submission, Task

WARNING = 60  # seconds before the time limit
# "failed" of accounting(5); all others: Kind.ENDED
FAILURES = {"19": Kind.DISTURBED, "21": Kind.DISTURBED, "25": Kind.DISTURBED, "37": Kind.LIMITED, "100": Kind.DELETED}


class GridEngine(Cluster):
    """qsub, qstat, qdel and qacct."""

    memory = 17.0  # the accounting is written each 15 seconds
    script_end = '"$SGE_TASK_ID" USR2'
    deletes_with = "USR2"

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self.silent_since: dict[Task, float] = {}  # of tasks whose nodes do not answer
        self.nodes_polled = time.monotonic()

    def submit_command(self, name: str, size: int, check: str = "e") -> list[str]:
        """As of `Cluster`; with -w e Grid Engine refuses what no node can ever run."""
        soft = max(1, self.call.seconds - WARNING)
        return [
            *self.call.command,
            "-terse",
            *("-N", name),
            *("-t", f"1-{size}"),
            *("-r", "n"),  # not by Grid Engine: the launcher does it, and a bounded number of times
            *("-w", check),
            "-notify",  # a signal before the end
            *("-wd", "/"),
            *("-o", "/dev/null", "-e", "/dev/null"),
            *("-S", "/bin/bash"),
            *(("-l", f"s_rt={soft}") if self.call.seconds else ()),
            *self.call.options,
        ]

    def submit(self, folder: Path, name: str, size: int) -> Submission:
        try:
            return super().submit(folder, name, size)
        except Refused as refused:
            if "no suitable queues" not in str(refused):
                raise
            self._verify_without_measured(name, size)
            return self.send(self.submit_command(name, size, "n"), folder, name, size)

    def _verify_without_measured(self, name: str, size: int) -> None:
        """Verify without resources that nodes measure, such as mem_free: -w e takes unmeasured ones for absent.

        Raises:
            Refused: with reasons, which the first refusal does not give.
        """
        answer = self.ask(["qhost", "-F"])[1]
        measured = set(re.findall(r"^\s*.l:(\w+)=", answer, re.MULTILINE)) - set(
            re.findall(r"^\s*.[cf]:(\w+)=", answer, re.MULTILINE)
        )
        command = without_resources(self.submit_command(name, size, "v"), measured)
        code, _, words = self.ask(command, "true\n")
        if code != 0:
            raise Refused(f"{command[0]} refuses ({self.call.config} has its options): {words}")

    def largest_array(self) -> int:
        """By max_aj_tasks of the configuration."""
        code, answer, _ = self.ask(["qconf", "-sconf"])
        found = re.search(r"^max_aj_tasks\s+(\d+)", answer, re.MULTILINE)
        return int(found[1]) or 10**9 if code == 0 and found else 1000

    def find(self, name: str) -> str:
        numbers = [job.findtext("JB_job_number") for job in self._qstat() if job.findtext("JB_name") == name]
        return numbers[0] or "" if numbers else ""

    def states(self, submissions: list[Submission]) -> dict[Task, State]:
        ours = {submission.name for submission in submissions}
        states = {}
        for task, job in tasks(self._qstat()):
            if task.name in ours:
                letters, number = job.findtext("state") or "", job.findtext("JB_job_number") or ""
                if "E" in letters:
                    states[task] = State(Kind.HOPELESS, f"{letters}{self._error(number, task.array_index)}")
                elif "h" in letters:
                    states[task] = State(Kind.HOPELESS, f"{letters}, held")
                else:
                    states[task] = State(Kind.WAITING if letters.endswith("w") else Kind.RUNNING, letters)
        self._poll_nodes()
        for task, since in self.silent_since.items():
            if task in states and time.monotonic() - since > self.call.settings["node_wait"]:
                states[task] = State(Kind.DISTURBED, "its node does not answer")
        return states

    def _poll_nodes(self) -> None:
        """Note tasks on nodes that do not answer: Grid Engine reports them as running for ever."""
        now = time.monotonic()
        if now - self.nodes_polled > min(30, self.call.settings["node_wait"] / 4):
            self.nodes_polled = now
            unknown = [task for task, _ in tasks(self._qstat("-f", "-qs", "u"))]
            self.silent_since = {task: self.silent_since.get(task, now) for task in unknown}

    def _qstat(self, *options: str) -> list[ElementTree.Element]:
        user = pwd.getpwuid(os.getuid()).pw_name
        code, answer, words = self.ask(["qstat", "-xml", "-g", "d", "-u", user, *options])
        try:
            if code == 0:
                return list(ElementTree.fromstring(answer).iter("job_list"))
        except ElementTree.ParseError as error:
            words = str(error)
        raise NoAnswer(f"qstat: {words}")

    def _error(self, job: str, index: int) -> str:
        answer = self.ask(["qstat", "-j", job])[1]
        found = re.search(rf"^error reason\s+{index}:\s*(.*)$", answer, re.MULTILINE)
        return f", {found[1].strip()}" if found else ""

    def cancel(self, submission: Submission, index: int | None = None) -> None:
        self.ask(["qdel", submission.id, *(("-t", str(index)) if index else ())])

    def last_words(self, submission: Submission, index: int) -> State:
        answer = self.ask(["qacct", "-j", submission.id, "-t", str(index)])[1]
        found = re.search(r"^failed\s+(\d+)\s*:\s*(.*)$", answer, re.MULTILINE)
        return State(FAILURES.get(found[1], Kind.ENDED), found[2].strip()) if found else State(Kind.ENDED)


def tasks(jobs: list[ElementTree.Element]) -> list[tuple[Task, ElementTree.Element]]:
    """Task and element of the jobs in a list of qstat that are one task each."""
    named = [(job.findtext("JB_name") or "", job.findtext("tasks") or "", job) for job in jobs]
    return [(Task(name, int(index)), job) for name, index, job in named if index.isdigit()]


def without_resources(command: list[str], names: set[str]) -> list[str]:
    """A command that does not request some resources."""
    words: list[str] = []
    for word in command:
        if words and words[-1] == "-l":
            word = ",".join(part for part in word.split(",") if part.partition("=")[0] not in names)
            if not word:
                words.pop()
                continue
        words.append(word)
    return words
