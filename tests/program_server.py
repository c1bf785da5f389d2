"""Import the modules that take long, and fork a process for each line of input; used by programs.py."""

import atexit
import json
import os
import resource
import runpy
import signal
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path

import lhotse  # noqa: F401
import matplotlib.backends.backend_agg  # noqa: F401
import sklearn.svm  # noqa: F401
import torch._dynamo  # noqa: F401  # which optimizers import


def child(folder: Path, words: list[str], cwd: str, environment: dict[str, str], file_size: int) -> int:
    """Run a program as if Python had been started for it; returns its exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as on a terminal
    for number in (1, 2):
        os.dup2(os.open(folder / str(number), os.O_WRONLY | os.O_APPEND), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    new = folder / "pid.new"
    new.write_text(str(os.getpid()))
    new.rename(folder / "pid")
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
    if file_size:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    try:
        if words[0] == "-c":
            sys.argv = ["-c", *words[2:]]
            exec(words[1], {"__name__": "__main__"})
        elif words[0] == "-m":
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = words
            sys.path.insert(0, str(Path(words[0]).resolve().parent))
            runpy.run_path(words[0], run_name="__main__")
        return 0
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()


def main() -> None:
    for line in sys.stdin:
        if os.fork():
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            continue
        place, *given = json.loads(line)
        pid = os.fork()
        if not pid:
            os._exit(child(Path(place), *given))
        _, status = os.waitpid(pid, 0)
        new = Path(place, "code.new")
        new.write_text(str(os.waitstatus_to_exitcode(status)))
        new.rename(Path(place, "code"))
        os._exit(0)
    with suppress(ChildProcessError):
        while True:
            os.wait()


if __name__ == "__main__":
    main()
