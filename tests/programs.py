"""Run Python programs in processes forked from one that has already imported the slow modules.

`run` and `start` are for tests of what a program does; `subprocess` stays for tests of how Python itself is started.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


class Server:
    """The process that forks, and the folder of its requests."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="programs"))
        command = [sys.executable, "-m", "program_server"]
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, text=True, cwd=self.folder, env={**os.environ, "PYTHONPATH": path}
        )
        self.asked = 0
        atexit.register(self.close)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        shutil.rmtree(self.folder)

    def ask(self, *request: object) -> Path:
        """Start a program; returns the folder for its output and exit code."""
        self.asked += 1
        folder = self.folder / str(self.asked)
        folder.mkdir()
        for name in ("1", "2"):
            (folder / name).touch()
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([str(folder), *request]) + "\n")
        self.process.stdin.flush()
        return folder


server = functools.cache(Server)


class Program:
    """A running program, with the part of subprocess.Popen's interface that tests need."""

    def __init__(self, words: list[str], folder: Path, text: bool) -> None:
        self.args, self.folder, self.text = words, folder, text
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and (self.folder / "code").exists():
            self.returncode = int((self.folder / "code").read_text())
        return self.returncode

    def send_signal(self, number: int) -> None:
        self._wait_for("pid", 60)
        os.kill(int((self.folder / "pid").read_text()), number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float = 300) -> int | None:
        self._wait_for("code", timeout)
        return self.poll()

    def printed(self) -> Any:
        """Standard output and errors until now."""
        output = [(self.folder / name).read_bytes() for name in ("1", "2")]
        return [each.decode() for each in output] if self.text else output

    def communicate(self, timeout: float = 300) -> Any:
        self.wait(timeout)
        return self.printed()

    def _wait_for(self, name: str, seconds: float) -> None:
        """Wait for a file; the limit matters only for a broken program."""
        end = time.monotonic() + seconds
        while not (self.folder / name).exists():
            assert time.monotonic() < end, f"{self.args} does not end"
            assert server().process.poll() is None, "the server of programs has ended"
            time.sleep(0.005)


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
    return Program(given, server().ask(given, str(cwd or os.getcwd()), variables, file_size), text)


def run(*words: object, **options: Any) -> subprocess.CompletedProcess:
    """Run a program to its end, as `subprocess.run([sys.executable, *words], capture_output=True)` does."""
    program = start(*words, **options)
    output = program.communicate()
    return subprocess.CompletedProcess(program.args, program.wait() or 0, *output)
