"""One training in several processes, one a GPU, by torch's DistributedDataParallel.

A process embeds its share of the rows of a batch. What is pooled is gathered, so that batch normalisation, heads and
loss are those of the whole batch in every process, and a training is that of one process up to rounding. What draws an
example at a time before the pooling (dropout there, augmentation on the fly, mixup) draws for itself in each.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn

from ser.common import InputError
from ser.common.cores import available_cores
from ser.config import Training

# Processes wait for the first while it waits for a lock, say; one that has ended is noticed at once.
TIMEOUT = timedelta(days=1)
PATIENCE = 30  # seconds that the other processes get to end after the first


@dataclass(frozen=True)
class Processes:
    """The processes of a training: which this is of how many. What they do together, alone is nothing."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this one writes what there is to write."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """The rows of this process, of so many in all: sizes differ by one at most, the first ones have more."""
        return _shares(count, self.size)[self.rank]

    def wrapped(self, module: nn.Module, some_idle: bool) -> nn.Module:
        """The module with gradients that are summed over the processes' shares.

        Args:
            some_idle: whether a batch may leave parameters without a gradient.
        """
        if self.size == 1:
            return module
        return nn.parallel.DistributedDataParallel(module, find_unused_parameters=some_idle)

    def gather(self, rows: Tensor, count: int) -> Tensor:
        """The rows of all processes, (count, ...), from those of this one, (share, ...); gradients go back to these.

        Every process has to compute the same of the result.
        """
        if self.size == 1:
            return rows
        gathered: Tensor = _Gather.apply(rows, self, count)
        return gathered

    def largest(self, value: int) -> int:
        """The largest value of a process."""
        if self.size == 1:
            return value
        found = torch.tensor(value)
        distributed.all_reduce(found, distributed.ReduceOp.MAX)
        return int(found)

    def joined(self, rows: np.ndarray) -> np.ndarray:
        """The rows of all processes in their order, (all, ...)."""
        if self.size == 1:
            return rows
        found: list[Any] = [None] * self.size
        distributed.all_gather_object(found, rows)
        return np.concatenate(found)


ALONE = Processes()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, processes: Processes, count: int) -> Tensor:
        shares = _shares(count, processes.size)
        ctx.share, ctx.size = shares[processes.rank], processes.size
        most = shares[0].stop
        padded = rows.new_zeros((most, *rows.shape[1:]))
        padded[: len(rows)] = rows
        found = [torch.empty_like(padded) for _ in shares]
        distributed.all_gather(found, padded)
        return torch.cat([part[: share.stop - share.start] for part, share in zip(found, shares, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        # DistributedDataParallel takes the mean over the processes, and the gradient of the rows is spread over them.
        return gradients[0][ctx.share] * ctx.size, None, None


def _shares(count: int, size: int) -> list[slice]:
    ends = np.cumsum([len(part) for part in np.array_split(np.arange(count), size)]).tolist()
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


@contextmanager
def training_processes(config: Training) -> Iterator[tuple[Processes, Training]]:
    """The processes of this training, and its settings with the device and the threads of this one.

    The first starts the others by its own command line. Under torchrun, or whatever else sets RANK, WORLD_SIZE,
    MASTER_ADDR and MASTER_PORT, all are there already.

    Raises:
        InputError: fewer GPUs than processes; another process has ended.
    """
    size = int(os.environ.get("WORLD_SIZE", config.ngpu))
    if size == 1:
        yield Processes(), config
        return
    on_gpu = config.device.startswith("cuda") or (config.device == "auto" and torch.cuda.is_available())
    local = int(os.environ.get("LOCAL_RANK", 0))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    if on_gpu and torch.cuda.device_count() < here:
        raise InputError(
            f"{here} processes, and {torch.cuda.device_count()} GPUs",
            "training.ngpu",
            "ask the scheduler for as many GPUs, or lower training.ngpu",
        )
    others, place = ([], "env://") if "RANK" in os.environ else _start_others(size)
    rank = int(os.environ.get("RANK", 0))
    if on_gpu:
        torch.cuda.set_device(local)
    own = replace(
        config,
        device=f"cuda:{local}" if on_gpu else config.device,
        threads=config.threads or max(1, available_cores() // here),
    )
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    try:
        distributed.init_process_group(backend, place, TIMEOUT, size, rank)
        yield Processes(rank, size), own
    except RuntimeError as error:
        for number, process in enumerate(others, 1):
            if code := _ended(process):
                raise InputError(
                    f"process {number} of 0 to {size - 1} ended with {code}",
                    "training.ngpu",
                    "see its message above, and rerun the same command to resume",
                ) from error
        raise
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
        for process in others:
            if _ended(process) is None:
                process.kill()
                process.wait()


def _ended(process: subprocess.Popen[bytes]) -> int | None:
    """The exit code of another process; None where it has not ended in time."""
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        return None


def _start_others(size: int) -> tuple[list[subprocess.Popen[bytes]], str]:
    """Processes 1 to size - 1, and where they meet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}
    command = [sys.executable, *sys.argv]
    others = [
        subprocess.Popen(command, env={**own, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(1, size)
    ]
    return others, f"tcp://127.0.0.1:{port}"
