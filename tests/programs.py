"""Python programs in processes of their own, forked from one that has already imported what takes seconds.

`run` is for tests of what a program does; `subprocess` stays for tests of how Python itself is started.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class Server:
    """The process that is forked, and the folder through which it is asked."""

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

    def ask(self, words: list[str], cwd: str, environment: dict[str, str]) -> Path:
        """Start a program; the folder in which its output and exit code will lie."""
        self.asked += 1
        folder = self.folder / str(self.asked)
        folder.mkdir()
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([str(folder), words, cwd, environment]) + "\n")
        self.process.stdin.flush()
        return folder


server = functools.cache(Server)


def run(
    *words: object, cwd: object = None, text: bool = True, timeout: float = 300, **environment: str
) -> subprocess.CompletedProcess:
    """Run a program to its end, as `subprocess.run([sys.executable, *words], capture_output=True)` does.

    Args:
        words: a script, or -m and a module, and arguments.
        cwd: the working folder.
        text: decode what the program printed.
        timeout: seconds; the limit is there for a broken program only.
        environment: more variables.
    """
    given = [os.fspath(word) if isinstance(word, os.PathLike) else str(word) for word in words]
    found = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    folder = server().ask(given, str(cwd or os.getcwd()), found)
    end = time.monotonic() + timeout
    while not (folder / "code").exists():
        assert time.monotonic() < end, f"{given} does not end"
        assert server().process.poll() is None, "the server of programs has died"
        time.sleep(0.005)
    output = [(folder / name).read_bytes() for name in ("1", "2")]
    return subprocess.CompletedProcess(
        given, int((folder / "code").read_text()), *(each.decode() if text else each for each in output)
    )
