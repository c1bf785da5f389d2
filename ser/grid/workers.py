"""Run several worker processes of one job, which share its device."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from ser.common.jobs import handling

DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


def run_workers(commands: Mapping[Path, Sequence[str]]) -> int:
    """Run commands in parallel and wait for all; signals are forwarded to all of them.

    A worker that dies does not stop the others. Each has its own session, so that a signal to a whole process group
    reaches it once, through this process. It gets SIGTERM if this process is killed.

    Args:
        commands: log, which is appended to -> command.

    Returns:
        75 (130 after Ctrl-C) if a signal ended a worker, else 1 if one failed or died, else 0.
    """
    received: list[int] = []
    workers: list[subprocess.Popen[bytes]] = []

    def forward(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for worker in workers:
            worker.send_signal(number)

    library = ctypes.CDLL(None)
    with handling(forward, *SIGNALS):
        for path, command in commands.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as log:
                worker = subprocess.Popen(
                    command,
                    stdout=log,
                    stderr=log,
                    close_fds=False,  # the first shows its progress on the terminal
                    start_new_session=True,
                    preexec_fn=lambda: library.prctl(DEATH_SIGNAL, signal.SIGTERM),
                )
            workers.append(worker)
            if received:
                worker.send_signal(received[-1])
        codes = [worker.wait() for worker in workers]
    if any(codes) and (received or os.EX_TEMPFAIL in codes):
        return 128 + signal.SIGINT if signal.SIGINT in received else os.EX_TEMPFAIL
    return int(any(codes))
