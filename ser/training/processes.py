"""Train in several processes, one per GPU, with DistributedDataParallel of torch.

Each process embeds its share of the rows of a batch. The pooled vectors are gathered, so that every process computes
batch normalisation, heads and loss of the whole batch, and the training equals that of one process up to rounding.
Random operations before the pooling (dropout, augmentation on the fly, mixup) have a seed of their own in each process.
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

# Long, since processes wait while the main process waits for a lock; a process that ends is noticed at once.
TIMEOUT = timedelta(days=1)
EXIT_SECONDS = 30  # that the other processes get to end after the main process


@dataclass(frozen=True)
class Processes:
    """The processes of a training; with one process, every collective operation returns its input.

    Attributes:
        rank: of this process, from 0.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files and the log."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """The rows of this process among `count` rows; sizes differ by at most one, lower ranks have more."""
        return _shares(count, self.size)[self.rank]

    def wrap(self, module: nn.Module, some_idle: bool) -> nn.Module:
        """Wrap a module so that gradients are summed over the shares of the processes.

        Args:
            module: to wrap.
            some_idle: whether a batch may leave parameters without a gradient.
        """
        if self.size == 1:
            return module
        return nn.parallel.DistributedDataParallel(module, find_unused_parameters=some_idle)

    def gather(self, rows: Tensor, count: int) -> Tensor:
        """Gather the rows of all processes; gradients flow back to the rows of this process.

        Every process must compute the same from the result.

        Args:
            rows: of this process, (share, ...).
            count: rows of all processes.

        Returns:
            (count, ...).
        """
        if self.size == 1:
            return rows
        gathered: Tensor = _Gather.apply(rows, self, count)
        return gathered

    def maximum(self, value: int) -> int:
        """The maximum of a value over all processes."""
        if self.size == 1:
            return value
        reduced = torch.tensor(value)
        distributed.all_reduce(reduced, distributed.ReduceOp.MAX)
        return int(reduced)

    def concatenate(self, rows: np.ndarray) -> np.ndarray:
        """Concatenate the rows of all processes in the order of their ranks, (all rows, ...)."""
        if self.size == 1:
            return rows
        parts: list[Any] = [None] * self.size
        distributed.all_gather_object(parts, rows)
        return np.concatenate(parts)


SINGLE_PROCESS = Processes()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, processes: Processes, count: int) -> Tensor:
        shares = _shares(count, processes.size)
        ctx.share, ctx.size = shares[processes.rank], processes.size
        padded = rows.new_zeros((shares[0].stop, *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in shares]
        distributed.all_gather(parts, padded)
        return torch.cat([part[: share.stop - share.start] for part, share in zip(parts, shares, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        # DistributedDataParallel averages over the processes, but each holds only the gradient of its own rows.
        return gradients[0][ctx.share] * ctx.size, None, None


def _shares(count: int, size: int) -> list[slice]:
    ends = np.cumsum([len(part) for part in np.array_split(np.arange(count), size)]).tolist()
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


@contextmanager
def training_processes(config: Training) -> Iterator[tuple[Processes, Training]]:
    """Start the processes of a training; give them, and the settings with device and threads of this process.

    The main process starts the others with its own command line. Under torchrun, or another launcher that sets RANK,
    WORLD_SIZE, MASTER_ADDR and MASTER_PORT, all processes run already.

    Raises:
        InputError: there are fewer GPUs than processes, or another process has ended.
    """
    size = int(os.environ.get("WORLD_SIZE", config.ngpu))
    if size == 1:
        yield Processes(), config
        return
    on_gpu = config.device.startswith("cuda") or (config.device == "auto" and torch.cuda.is_available())
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    if on_gpu and torch.cuda.device_count() < local_size:
        raise InputError(
            f"{local_size} processes, and {torch.cuda.device_count()} GPUs",
            "training.ngpu",
            "ask the scheduler for as many GPUs, or lower training.ngpu",
        )
    others, init_method = ([], "env://") if "RANK" in os.environ else _start_others(size)
    rank = int(os.environ.get("RANK", 0))
    if on_gpu:
        torch.cuda.set_device(local_rank)
    settings = replace(
        config,
        device=f"cuda:{local_rank}" if on_gpu else config.device,
        threads=config.threads or max(1, available_cores() // local_size),
    )
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    try:
        distributed.init_process_group(backend, init_method, TIMEOUT, size, rank)
        yield Processes(rank, size), settings
    except RuntimeError as error:
        for number, process in enumerate(others, 1):
            if code := _exit_code(process):
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
            if _exit_code(process) is None:
                process.kill()
                process.wait()


def _exit_code(process: subprocess.Popen[bytes]) -> int | None:
    """Wait for the exit code of another process; None if it does not end in time."""
    try:
        return process.wait(EXIT_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _start_others(size: int) -> tuple[list[subprocess.Popen[bytes]], str]:
    """Start processes 1 to size - 1; return them and the init_method of the process group."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}
    command = [sys.executable, *sys.argv]
    ranks = map(str, range(1, size))
    others = [subprocess.Popen(command, env={**environment, "RANK": rank, "LOCAL_RANK": rank}) for rank in ranks]
    return others, f"tcp://127.0.0.1:{port}"
