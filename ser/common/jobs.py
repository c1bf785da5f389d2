"""Jobs of a stage: their numbers, and the signals that end them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ser.common.errors import InputError


@contextmanager
def handling(handler: Callable[[int, FrameType | None], object], *numbers: int) -> Iterator[None]:
    """Handle signals in the block; the handlers of before are set again after it.

    Args:
        handler: called with the number of the signal.
        numbers: of the signals.
    """
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def check_job(job: int, jobs: int) -> None:
    """Check the number of a job.

    Args:
        job: from 1.
        jobs: number of jobs.

    Raises:
        InputError: there is no such job.
    """
    if not 1 <= job <= jobs:
        raise InputError("a job from 1 to their number", f"--job {job} --nj {jobs}")


def start_job(job: int, jobs: int) -> None:
    """Use one core, for the jobs of a stage share them, and remove unfinished files on SIGTERM.

    Args:
        job: number of this job, from 1.
        jobs: number of jobs.

    Raises:
        InputError: there is no such job.
    """
    check_job(job, jobs)
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
