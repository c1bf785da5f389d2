#!/usr/bin/env python3
"""Training on a GPU: steps per second of one training and of several that share the GPU, on real RAVDESS.

    python tests/bench/gpu.py [--json] [--device cuda] [--processes 1,2,4,8] [--seconds 4] [--rounds 3]

The environment names the folder of RAVDESS, as in db.sh. --processes: numbers of parallel trainings; --seconds:
duration of a round. For each temporal block, with variance pooling and preset strict:

- steps: steps per second of all processes together, {number of processes: rate}, median of rounds.
- apart: largest difference of a posterior between the CPU and the device, on the validation part, after training.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from needs import benchmark, need

need()

import numpy as np
import torch
from bench_corpora import prepared
from training import BLOCKS, our_loop, trainer_of

from ser.nets.evaluate import log_posteriors
from ser.training import Trainer

WARM_UP = 30
STEPS = 5  # between two readings of the clock; their first batch is not prefetched, so rates are a little low
# This corpus alone, one CPU thread for each process.
SETTINGS = ("corpora=[ravdess]", "pooling=mu_sigma2", "training.threads=1")


def work(connection: Connection, device: str, roots: tuple[Path, Path], folder: Path, seconds: float) -> None:
    """Run one of the processes: builds the training of a block on request, then makes steps for some seconds."""
    trainer: Trainer | None = None
    while (message := connection.recv()) is not None:
        if message in BLOCKS:
            trainer = trainer_of(*roots, folder, f"temporal={message}", f"training.device={device}", *SETTINGS)
            trainer.run_steps(WARM_UP)
            connection.send(str(trainer.device_config.precision))
        elif message == "apart":
            assert trainer is not None
            connection.send(apart(trainer))
        else:
            assert trainer is not None
            started, first = time.perf_counter(), trainer.step
            while time.perf_counter() - started < seconds:
                our_loop(trainer, STEPS)
            connection.send((trainer.step - first) / (time.perf_counter() - started))


def apart(trainer: Trainer) -> float:
    """Return the largest difference of a posterior between the CPU and the device of a training."""
    view = trainer.valid["ravdess"]
    found = []
    for device in (trainer.device_config.device, torch.device("cpu")):
        network = trainer.network.to(device)
        found.append(np.exp(log_posteriors(network, view, network.head_of("ravdess"), device)))
    return float(np.abs(found[0] - found[1]).max())


def measure(folder: Path, device: str, processes: str, seconds: float, rounds: int) -> dict[str, Any]:
    counts = [int(word) for word in processes.split(",")]
    roots = prepared(folder, ("ravdess",))
    context = multiprocessing.get_context("spawn")
    connections: list[Any] = []
    for number in range(max(counts)):
        mine, theirs = context.Pipe()
        arguments = (theirs, device, roots, folder / str(number), seconds)
        context.Process(target=work, args=arguments, daemon=True).start()
        connections.append(mine)
    blocks: dict[str, Any] = {}
    for block in BLOCKS:
        for connection in connections:
            connection.send(block)
        precision = [connection.recv() for connection in connections].pop()
        rates = {}
        for count in counts:
            found = []
            for _ in range(rounds):
                for connection in connections[:count]:
                    connection.send("go")
                found.append(sum(connection.recv() for connection in connections[:count]))
            rates[str(count)] = round(median(found), 1)
        connections[0].send("apart")
        blocks[block] = {"precision": precision, "steps": rates, "apart": connections[0].recv()}
    for connection in connections:
        connection.send(None)
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    return {"device": name, "torch": torch.__version__, **blocks}


if __name__ == "__main__":
    sys.exit(benchmark(__doc__, measure, device="cuda", processes="1,2,4,8", seconds=4.0, rounds=3))
