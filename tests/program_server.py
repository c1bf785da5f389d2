"""Import the modules that take long, and fork a process for each connection; used by programs.py."""

import atexit
import json
import os
import resource
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path

import lhotse  # noqa: F401
import matplotlib.backends.backend_agg  # noqa: F401
import sklearn.svm  # noqa: F401
import torch._dynamo  # noqa: F401  # which optimizers import


def child(words: list[str], cwd: str, environment: dict[str, str], file_size: int) -> int:
    """Run a program as if Python had been started for it; returns its exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as on a terminal
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
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


def serve(connection: socket.socket) -> None:
    """Run a program on the streams that are sent with it; it is killed when the connection is closed."""
    size = int.from_bytes(connection.recv(4), "big")
    data, streams, _, _ = socket.recv_fds(connection, size, 3)
    while len(data) < size:
        data += connection.recv(size - len(data))
    pid = os.fork()
    if not pid:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os._exit(child(*json.loads(data)))
    for stream in streams:
        os.close(stream)
    connection.sendall(pid.to_bytes(4, "big"))
    ended = os.pidfd_open(pid)
    if ended not in select.select([ended, connection], [], [])[0]:
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(BrokenPipeError):
        connection.sendall(code.to_bytes(4, "big", signed=True))


def main() -> None:
    """Serve until standard input is closed."""
    own = [os.getcwd(), "", *os.environ["PYTHONPATH"].split(os.pathsep)]
    sys.path[:] = [folder for folder in sys.path if folder not in own]
    listening = socket.socket(fileno=int(sys.argv[1]))
    while listening in select.select([listening, sys.stdin], [], [])[0]:
        connection, _ = listening.accept()
        if not os.fork():
            listening.close()
            serve(connection)
            os._exit(0)
        connection.close()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    with suppress(ChildProcessError):
        while True:
            os.wait()


if __name__ == "__main__":
    main()
