"""Run Python programs in processes forked from one that has already imported the slow modules.

`run` and `start` are for tests of what a program does, and `environment` for those of shell scripts that run many;
`subprocess` stays for tests of how Python itself is started.
"""

from __future__ import annotations

import atexit
import functools
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from forked_python import connect

ROOT = Path(__file__).resolve().parents[1]
# A script is run by the server; what else Python is asked for, by Python.
PYTHON = """#!/bin/sh
case $1 in
  *.py) exec {python} -IS {client} {address} "$@" ;;
  *) exec {python} "$@" ;;
esac
"""


class Server:
    """The process that forks, and a folder for the output of programs."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="programs"))
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("")  # to an address that is free
            listening.listen(64)
            self.address = listening.getsockname()[1:].decode()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "program_server", str(listening.fileno())],
                stdin=subprocess.PIPE,
                pass_fds=[listening.fileno()],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
            )
        atexit.register(self.close)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        shutil.rmtree(self.folder)


server = functools.cache(Server)


@functools.cache
def environment() -> str:
    """An environment for SER_ENV whose Python lets the server run scripts."""
    python = server().folder / "environment" / "bin" / "python"
    python.parent.mkdir(parents=True)
    words = {"python": sys.executable, "client": str(ROOT / "tests" / "forked_python.py"), "address": server().address}
    python.write_text(PYTHON.format(**{name: shlex.quote(word) for name, word in words.items()}))
    python.chmod(0o755)
    return str(python.parents[1])


class Program:
    """A running program, with the part of subprocess.Popen's interface that tests need."""

    def __init__(self, words: list[str], cwd: str, variables: dict[str, str], text: bool, file_size: int) -> None:
        self.args, self.text = words, text
        self.returncode: int | None = None
        self.output = [tempfile.TemporaryFile("ab+", dir=server().folder) for _ in range(2)]  # noqa: SIM115
        with open(os.devnull, "rb") as nothing:
            streams = [nothing.fileno(), *(file.fileno() for file in self.output)]
            self.connection = connect(server().address, words, cwd, variables, streams, file_size)
        self.pid = int.from_bytes(self._receive(60), "big")

    def _receive(self, timeout: float | None) -> bytes:
        """Receive a number; the limit matters only for a broken program."""
        self.connection.settimeout(timeout)
        found = self.connection.recv(4)
        assert found, "the server of programs has ended"
        return found

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except BlockingIOError:
            return None

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float = 300) -> int:
        if self.returncode is None:
            self.returncode = int.from_bytes(self._receive(timeout), "big", signed=True)
        return self.returncode

    def printed(self) -> Any:
        """Standard output and errors until now."""
        found = [os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0) for file in self.output]
        return [each.decode() for each in found] if self.text else found

    def communicate(self, timeout: float = 300) -> Any:
        self.wait(timeout)
        return self.printed()


def start(*words: object, cwd: object = None, text: bool = True, file_size: int = 0, **environment: str) -> Program:
    """Start a program, as `subprocess.Popen([sys.executable, *words])` does, with its output kept.

    Args:
        words: a script, or -m and a module, or -c and code, and arguments.
        cwd: the working folder.
        text: decode what the program prints.
        file_size: bytes that it may write into a file; 0 for no limit.
        environment: more variables.
    """
    given = [os.fspath(word) if isinstance(word, os.PathLike) else str(word) for word in words]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return Program(given, str(cwd or os.getcwd()), variables, text, file_size)


def run(*words: object, **options: Any) -> subprocess.CompletedProcess:
    """Run a program to its end, as `subprocess.run([sys.executable, *words], capture_output=True)` does."""
    program = start(*words, **options)
    code = program.wait()
    return subprocess.CompletedProcess(program.args, code, *program.printed())
