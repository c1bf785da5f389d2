"""One call of a launcher: submit its jobs, poll them, restart those that can go on, and report the failed ones."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

from command_line import Call
from folders import make_folder, remove_leftovers, unwritable, working_folder, writing_fails
from schedulers.base import Kind, NoAnswer, Refused, Scheduler, State, Submission, Task
from schedulers.local import Local
from site_file import WrongCall

REQUEUE = 75  # EX_TEMPFAIL: the job saved its state and can go on
KILLED = 128 + signal.SIGKILL
# Signals that stop a launcher. Ignored ones stay ignored, as under nohup, or in the background of a script.
STOPS = [s for s in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) != signal.SIG_IGN]
SIGNALS = [*STOPS, signal.SIGCHLD]
SHOWN = 20  # failed jobs
LOG_MARKS = ("# command ", "# host ", "# started ", "# ended ")  # lines that job.sh adds to a log
SUBMIT_TIMEOUT = 600  # seconds for which a scheduler that does not answer is asked to take jobs


class Job:
    """One job of the call.

    Attributes:
        task: its name in the scheduler; None: not submitted.
        over: time since which the queue reports its end while its status file is not visible.
        verdict: why it failed, "" for success, None before its end.
    """

    def __init__(self, number: int, log: Path) -> None:
        self.number, self.log = number, log
        self.starts = 0
        self.task: Task | None = None
        self.over: float | None = None
        self.verdict: str | None = None


class Status(NamedTuple):
    """The status file of job.sh: the command's exit code, and a signal that came before its end."""

    code: int
    signal: str


class Launch:
    """The jobs of a call."""

    def __init__(self, call: Call, scheduler: Scheduler) -> None:
        self.call, self.scheduler = call, scheduler
        self.local = isinstance(scheduler, Local)
        self.jobs = [Job(number, self._log(number)) for number in call.numbers]
        self.submissions: dict[str, Submission] = {}
        self.largest = 0
        self.silent_since: float | None = None

    def run(self) -> int:
        """Run the jobs; 0 if all of them succeed, 128 + the signal's number after a signal.

        Raises:
            WrongCall: a log folder that cannot be written, or a full disk.
            Refused: the scheduler does not take the jobs; submitted ones are cancelled.
        """
        self.folder = self._make_folders()
        try:
            return self._run()
        except (Refused, OSError) as error:
            self._cancel(time.monotonic() + self.call.settings["kill_wait"])
            if isinstance(error, OSError):
                raise WrongCall(unwritable(self.folder.parent.resolve(), error)) from None
            raise
        finally:
            self._show_counts(False)
            shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self) -> int:
        start = time.monotonic()
        while True:
            self._submit()
            self._poll()
            if not self._unfinished():
                return self._report()
            self._show_counts()
            # every half second at first, every five seconds after some minutes
            if number := self._sleep(min(5.0, max(0.5, (time.monotonic() - start) / 60))):
                return self._stop(number)

    def _unfinished(self) -> list[Job]:
        return [job for job in self.jobs if job.verdict is None]

    def _sleep(self, seconds: float) -> int:
        """Wait for some seconds, or until a job on this machine ends; the signal to stop, or 0."""
        came = signal.sigtimedwait(SIGNALS if self.local else STOPS, seconds)
        return came.si_signo if came and came.si_signo in STOPS else 0

    # -- folders -------------------------------------------------------------------------------------------------------

    def _log(self, number: int) -> Path:
        name = self.call.words[0]
        return Path(name.replace(self.call.variable, str(number)) if self.call.variable else name)

    def _make_folders(self) -> Path:
        """Make the folders of the logs, move older logs into .backup, and make a new folder for this call."""
        folder = common = Path(os.path.commonpath([job.log.parent for job in self.jobs]))
        try:
            for folder in sorted({job.log.parent for job in self.jobs}):
                folder.mkdir(parents=True, exist_ok=True)
            for job in self.jobs:
                if job.log.is_file():
                    written = time.strftime("%Y%m%d-%H%M%S", time.localtime(job.log.stat().st_mtime))
                    backup = job.log.parent / ".backup"
                    backup.mkdir(exist_ok=True)
                    job.log.replace(backup / f"{job.log.name}.{written}")
            if self.local:  # jobs in a queue may still use theirs
                remove_leftovers(self.call.program, common)
            made, self.lock = make_folder(self.call.program, common)
        except OSError as error:
            raise WrongCall(unwritable(folder, error)) from None
        return working_folder() / made

    # -- submitting ----------------------------------------------------------------------------------------------------

    def _submit(self) -> None:
        """Submit waiting jobs in arrays as large as the scheduler allows; one array at a time with --max-jobs-run."""
        waiting = [job for job in self._unfinished() if job.task is None]
        one = self.call.max_jobs_run and not self.local
        if not waiting or (one and len(waiting) < len(self._unfinished())):
            return
        try:
            if len(waiting) > 1 and not self.largest:
                self.largest = self.scheduler.largest_array()
            size = max(1, self.largest)
            for begin in range(0, size if one else len(waiting), size):
                self._submit_array(waiting[begin : begin + size])
            self._note_answer()
        except NoAnswer as error:
            self._note_answer(error)
            if self.silent_since is not None and time.monotonic() - self.silent_since > SUBMIT_TIMEOUT:
                raise Refused(f"no answer for {SUBMIT_TIMEOUT} s: {error}") from None

    def _submit_array(self, jobs: list[Job]) -> None:
        folder = self.folder / str(len(self.submissions) + 1)
        folder.mkdir(exist_ok=True)
        threads = "" if self.local else str(self.call.threads)
        words = [str(working_folder()), threads, self.call.variable, *self.call.words]
        (folder / "job").write_bytes(b"".join(os.fsencode(word) + b"\0" for word in words))
        (folder / "numbers").write_text("".join(f"{job.number}\n" for job in jobs), encoding="utf-8")
        stem = Path(self.call.words[0]).stem.replace(self.call.variable or "JOB", "").strip(".")
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{stem}{self.folder.suffix}.{folder.name}")
        name = name if name[0].isalpha() else f"j{name}"
        submission = self.scheduler.submit(folder, name, len(jobs))
        self.submissions[name] = submission
        for index, job in enumerate(jobs, 1):
            job.task, job.over = Task(name, index), None
            job.starts += 1

    def _note_answer(self, error: NoAnswer | None = None) -> None:
        """Log once that the scheduler does not answer, and once that it answers again."""
        if error and self.silent_since is None:
            self.silent_since = time.monotonic()
            self._log_lines(f"{error}; waiting for it")
        elif not error and self.silent_since is not None:
            self.silent_since = None
            self._log_lines("the scheduler answers again")

    # -- polling -------------------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        live = {job.task: job for job in self._unfinished() if job.task}
        if not live:
            return
        states = self._states(list(dict.fromkeys(self.submissions[task.name] for task in live)))
        # after the states: a status is written before its task leaves the queue
        statuses = self._statuses(live)
        for task, job in live.items():
            state = State(Kind.RUNNING) if states is None else states.get(task)
            if task in statuses:
                self._judge(job, state, statuses[task])
            else:
                self._judge_without_status(job, state)

    def _states(self, submissions: list[Submission]) -> dict[Task, State] | None:
        """None: the scheduler does not answer."""
        try:
            states = self.scheduler.states(submissions)
        except NoAnswer as error:
            self._note_answer(error)
            return None
        self._note_answer()
        return states

    def _statuses(self, live: dict[Task, Job]) -> dict[Task, Status]:
        statuses = {}
        for name in {task.name for task in live}:
            folder = self.submissions[name].folder
            with contextlib.suppress(OSError):  # a file system that fails now may work at the next poll
                if any(task.name == name and job.over is not None for task, job in live.items()):
                    (folder / "refresh").touch()  # makes an NFS client read the folder again
                    (folder / "refresh").unlink()
                for file in folder.glob("status.*"):
                    index = file.suffix[1:]
                    if index.isdigit() and Task(name, int(index)) in live:
                        code, _, sent = file.read_text(encoding="utf-8").strip().partition(" ")
                        statuses[Task(name, int(index))] = Status(int(code), sent)
        return statuses

    def _judge(self, job: Job, state: State | None, status: Status) -> None:
        """Judge a command that ended, by its status and, if it was stopped, by the state that the queue reports."""
        code, sent = status
        kind, words = (state.kind, state.reason) if state else (None, "")
        reason = f"exit code {code}" + (": killed, perhaps for want of memory" if code == KILLED else "")
        if kind in (Kind.DELETED, Kind.LIMITED):
            reason = f"{words}, {reason}"
        stopped = sent not in ("", "USR1")
        if code == 0 and not stopped:
            job.verdict = ""
        elif stopped and sent == self.scheduler.deletes_with:
            self._fail(job, f"deleted, {reason}")
        elif stopped and kind in (Kind.WAITING, Kind.RUNNING):
            return  # the queue will report the reason
        elif kind == Kind.DISTURBED:
            self._restart(job, words)
        elif code == 0 and kind not in (Kind.DELETED, Kind.LIMITED):
            job.verdict = ""
        elif code == REQUEUE and kind != Kind.DELETED:
            self._restart(job, reason)
        else:
            self._fail(job, reason)

    def _judge_without_status(self, job: Job, state: State | None) -> None:
        """Judge a task without a status: it may run, can never run, or has ended, and its status may come late."""
        submission, index = self._find(job)
        if state and state.kind in (Kind.WAITING, Kind.RUNNING):
            job.over = None
        elif state and state.kind == Kind.HOPELESS:
            with contextlib.suppress(NoAnswer):
                self.scheduler.cancel(submission, index)
                self._fail(job, state.reason)
        else:
            job.over = time.monotonic() if job.over is None else job.over
            if time.monotonic() - job.over < (self.scheduler.patience if state else self.scheduler.memory):
                return
            state = state or self.scheduler.last_words(submission, index)
            if state.kind == Kind.DISTURBED:
                with contextlib.suppress(NoAnswer):  # a silent node may still run it
                    self.scheduler.cancel(submission, index)
                self._restart(job, state.reason)
            else:
                self._fail(job, state.reason or self._explain_missing_status(submission.folder))

    def _explain_missing_status(self, folder: Path) -> str:
        if error := writing_fails(folder):
            return unwritable(self.folder.parent.resolve(), error)
        return "killed, perhaps for want of memory" if self.local else "not in the queue, and without a status"

    def _restart(self, job: Job, reason: str) -> None:
        most = self.call.settings["restarts"]
        if job.starts > most:
            self._fail(job, f"{reason}, after {most} restarts")
        else:
            self._log_lines(f"job {job.number} is started again ({reason}; {job.starts} of at most {most})")
            job.task = None

    def _fail(self, job: Job, reason: str) -> None:
        submission, index = self._find(job)
        output = submission.folder / f"output.{index}"
        lines = output.read_text(errors="replace").splitlines() if output.is_file() else []
        job.verdict = f"{reason}: {lines[-1]}" if lines else reason

    def _find(self, job: Job) -> tuple[Submission, int]:
        """The submission of a job, and its index there."""
        assert job.task is not None
        return self.submissions[job.task.name], job.task.array_index

    # -- the end -------------------------------------------------------------------------------------------------------

    def _report(self) -> int:
        """Log the failed jobs, and the end of the first failed log."""
        failed = [job for job in self.jobs if job.verdict]
        if not failed:
            return 0
        first, *others = failed
        self._log_lines(
            f"{len(failed)} of {len(self.jobs)} jobs failed; the first log: {first.log} ({first.verdict})",
            *(f"also job {job.number}: {job.log} ({job.verdict})" for job in others[: SHOWN - 1]),
            *([f"and {len(failed) - SHOWN} more"] if len(failed) > SHOWN else []),
        )
        if first.log.is_file():
            lines = first.log.read_text(encoding="utf-8", errors="replace").splitlines()
            begin = max((i for i, line in enumerate(lines) if line.startswith(LOG_MARKS[0])), default=0)
            lines = [line for line in lines[begin:] if not line.startswith(LOG_MARKS)]
            errors = [line for line in lines if line.startswith("error:")]
            print(*(errors or lines[-5:]), sep="\n", file=sys.stderr)
        else:
            print("(it wrote none)", file=sys.stderr)
        return 1

    def _stop(self, number: int) -> int:
        """End the jobs after a signal, and wait until they have ended."""
        end = time.monotonic() + self.call.settings["kill_wait"]
        live = [job for job in self._unfinished() if job.task]
        self._log_lines(f"stopped; ending {len(live)} jobs")
        self._cancel(end)
        if isinstance(self.scheduler, Local):
            self.scheduler.finish(end)
        queued = {Kind.WAITING, Kind.RUNNING, Kind.HOPELESS}
        while not self.local and time.monotonic() < end:
            states = self._states(list(dict.fromkeys(self._find(job)[0] for job in live)))
            if states is not None and not any(state.kind in queued for state in states.values()):
                break
            time.sleep(0.5)
        return 128 + number

    def _cancel(self, end: float) -> None:
        """Cancel submitted jobs that have not ended; a scheduler that does not answer is asked again until `end`."""
        for name in dict.fromkeys(job.task.name for job in self._unfinished() if job.task):
            while True:
                try:
                    self.scheduler.cancel(self.submissions[name])
                    break
                except NoAnswer as error:
                    if time.monotonic() > end:
                        self._log_lines(f"{error}; job {self.submissions[name].id} may still run")
                        break
                    time.sleep(0.5)

    # -- output --------------------------------------------------------------------------------------------------------

    def _log_lines(self, *lines: str) -> None:
        self._show_counts(False)
        for line in lines:
            print(f"{self.call.program}: {line}", file=sys.stderr)

    def _show_counts(self, counts: bool = True) -> None:
        """A line with the number of ended jobs on a terminal; jobs on this machine show their own progress there."""
        if self.local or not sys.stderr.isatty():
            return
        ended = len(self.jobs) - len(self._unfinished())
        text = f"{self.call.program}: {ended} of {len(self.jobs)} jobs have ended" if counts else ""
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
