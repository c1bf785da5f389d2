#!/usr/bin/env python3
"""Training on a GPU: steps a second of one training and of several that share the GPU, on real RAVDESS.

    python tests/bench/gpu.py [--json] [--device cuda] [--processes 1,2,4,8] [--seconds 4] [--rounds 3]

RAVDESS is looked for in the environment, as in db.sh. For each temporal block, with variance, preset strict:

- steps: steps a second of all processes together, for each number of processes: {processes: rate}, median of rounds.
- apart: largest difference of a posterior between the CPU and the device, of the validation part, after training.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from needs import need, parser_of, show

need()

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "bench")]

from bench_corpora import prepared
from training import BLOCKS, our_loop, trainer_of

from ser.nets.evaluate import log_posteriors
from ser.training import Trainer

WARM_UP = 30
STEPS = 5  # between two looks at the clock; the first batch of them is not read ahead, so rates are a little low
# Of this corpus alone, one CPU thread a process.
SETTINGS = ("corpora=[ravdess]", "pooling=mu_sigma2", "training.threads=1")


def work(connection: Connection, device: str, roots: tuple[Path, Path], folder: Path, seconds: float) -> None:
    """One of the processes: builds a training when told a block, makes steps when told to go, for so many seconds."""
    trainer: Trainer | None = None
    while (message := connection.recv()) is not None:
        if message in BLOCKS:
            trainer = trainer_of(*roots, folder, f"temporal={message}", f"training.device={device}", *SETTINGS)
            trainer.run_steps(WARM_UP)
            connection.send(str(trainer.machine.precision))
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
    """Largest difference of a posterior between the CPU and the device of a training."""
    view = trainer.valid["ravdess"]
    found = []
    for device in (trainer.machine.device, torch.device("cpu")):
        network = trainer.network.to(device)
        found.append(np.exp(log_posteriors(network, view, network.head_of("ravdess"), device)))
    return float(np.abs(found[0] - found[1]).max())


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    roots = prepared(folder, ("ravdess",))
    context = multiprocessing.get_context("spawn")
    connections: list[Any] = []
    for number in range(max(options.processes)):
        mine, theirs = context.Pipe()
        arguments = (theirs, options.device, roots, folder / str(number), options.seconds)
        context.Process(target=work, args=arguments, daemon=True).start()
        connections.append(mine)
    blocks: dict[str, Any] = {}
    for block in BLOCKS:
        for connection in connections:
            connection.send(block)
        precision = [connection.recv() for connection in connections].pop()
        rates = {}
        for count in options.processes:
            rounds = []
            for _ in range(options.rounds):
                for connection in connections[:count]:
                    connection.send("go")
                rounds.append(sum(connection.recv() for connection in connections[:count]))
            rates[str(count)] = round(median(rounds), 1)
        connections[0].send("apart")
        blocks[block] = {"precision": precision, "steps": rates, "apart": connections[0].recv()}
    for connection in connections:
        connection.send(None)
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return {"device": name, "torch": torch.__version__, **blocks}


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--processes", default="1,2,4,8", help="numbers of trainings side by side")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    options.processes = [int(word) for word in options.processes.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    show(found, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
