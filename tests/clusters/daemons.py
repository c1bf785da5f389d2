"""What the two clusters of the tests share: daemons in a folder of their own that never outlive the tests."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest


def need(apt: str, *programs: str) -> None:
    """Skip where programs are not installed, and name the line that does it."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin:/usr/lib/gridengine"
    missing = [program for program in programs if not shutil.which(program, path=path)]
    if missing:
        pytest.skip(f"no {', '.join(missing)} here; as root: apt-get update && apt-get install -y {apt}")


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Poll; the limit is there for a broken program only."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.1)
    pytest.fail(f"never happened: {what}")


class Daemons:
    """Processes that know a cluster by a variable of their environment, and so can be found and ended.

    Args:
        folder: of this cluster alone.
        environment: of its daemons, commands and jobs.
        mark: the variable, whose value no other process has.
    """

    def __init__(self, folder: Path, environment: dict[str, str], mark: str) -> None:
        self.folder, self.environment, self.mark = folder, environment, mark
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *command: str | Path) -> None:
        """Start a daemon, which dies with the tests. It and what it starts know its name."""
        with (self.folder / f"{name}.out").open("ab") as out:
            self.running[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                env={**self.environment, "TEST_DAEMON": name},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """End a daemon at once, by its pid."""
        self.running[name].kill()
        self.running.pop(name).wait()

    def ask(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run one of the cluster's commands."""
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)

    def ok(self, *command: str | Path) -> str:
        """Run a command that has to succeed; what it printed."""
        done = self.ask(*command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def last_lines(self) -> str:
        """The last lines of all daemons, for a test that fails."""
        return "\n".join(
            line
            for path in sorted(self.folder.glob("*.out"))
            for line in [f"== {path.name}", *path.read_text().splitlines()[-40:]]
        )

    def processes(self) -> list[int]:
        """Every process that has the mark: daemons, and jobs that one of them has left."""
        line = f"{self.mark}={self.environment[self.mark]}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if line in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:
                continue  # ended meanwhile, or another user's
        return [pid for pid in found if pid != os.getpid()]

    def lose(self, *marks: str) -> None:
        """End at once all processes that have one of these settings in their environment."""
        found = []
        for pid in self.processes():
            with suppress(OSError):
                settings = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                if any(mark.encode() in settings for mark in marks):
                    found.append(pid)
        for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped, none can report another's end
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def kill_named(self, name: str) -> int:
        """Kill this cluster's processes of a program; how many there were."""
        found = [pid for pid in self.processes() if name in Path(f"/proc/{pid}/stat").read_text().partition(")")[0]]
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        return len(found)

    def end(self) -> None:
        """End everything that was started here."""
        for name in list(self.running):
            self.kill(name)
        for _ in range(100):
            pids = self.processes()
            if not pids:
                return
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        raise RuntimeError(f"processes that cannot be ended: {pids}")
