#!/usr/bin/env python3
"""Attempts to make training faster, each compared with the code that it replaces: ratios within a run, medians.

    python tests/bench/tried.py [--json] [--rounds 5] [--threads 1]

Every ratio is the time of the plain form over that of the other, forward and backward, on a batch of 32 x 220 frames,
in bfloat16 if the processor has it in hardware and else in float32. The last ratio is of two trainings: one after the
other on all cores, over both in parallel on half of the cores each.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from needs import benchmark, need, seconds

need()

import torch
from torch import Tensor, nn

from ser.common.cores import available_cores
from ser.nets.fast import Dropout, ReLUWithin
from ser.nets.pooling import AttentionPooling
from ser.nets.temporal import BLSTM, TDNN
from ser.training.device import has_bfloat16, keep_freed_memory

BATCH, FRAMES, SIZE = 32, 220, 512
KEPT_MEMORY = "TDNN of six layers: freed memory kept, for given back to the system"
STEPS = 40  # for each of two trainings; a process takes two seconds to start


def pairs(kind: torch.dtype) -> dict[str, tuple[Callable[[], Tensor], Callable[[], Tensor]]]:
    """Make name -> (plain form, other form); each form returns a tensor for the backward pass."""
    lengths = torch.randint(FRAMES * 9 // 10, FRAMES + 1, (BATCH,))
    mask = torch.arange(FRAMES) < lengths[:, None]
    x = torch.randn(BATCH, FRAMES, SIZE, requires_grad=True)
    low = x.detach().to(kind).requires_grad_()
    flat = nn.Conv1d(SIZE, SIZE, 3, padding=1)
    last = nn.Conv2d(SIZE, SIZE, (1, 3), padding=(0, 1)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    both = nn.LSTM(SIZE, 128, batch_first=True, bidirectional=True)
    turned = BLSTM(SIZE, 128)
    projected = ProjectedOnce(SIZE, 128)
    tdnn, pooling = TDNN(SIZE, SIZE, 6, "none"), AttentionPooling(SIZE, variance=True)
    longer = torch.randn(BATCH, 264, SIZE, dtype=kind).transpose(1, 2)[:, :, None, :].requires_grad_()
    image = low.detach().transpose(1, 2)[:, :, None, :].requires_grad_()
    padding = (~mask).flatten().nonzero().squeeze(1)

    def packed() -> Tensor:
        rows = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(both(rows)[0], batch_first=True, total_length=FRAMES)[0]

    return {
        "BLSTM: each utterance turned round within its length, for packed sequences": (
            packed,
            lambda: turned(x, lengths),
        ),
        "TDNN layer: Conv2d with channels last, for Conv1d": (
            lambda: flat(low.transpose(1, 2)),
            lambda: last(low.transpose(1, 2)[:, :, None, :]),
        ),
        "BLSTM: projecting once for both directions, for two fused LSTMs": (
            lambda: turned(x, lengths),
            lambda: projected(x),
        ),
        "TDNN layer: 264 frames, for 263": (
            lambda: last(longer[..., :263]),
            lambda: last(longer),
        ),
        "dropout: 16 random bits a value, for nn.Dropout": (
            lambda: nn.functional.dropout(low, 0.5),
            lambda: Dropout(0.5)(low),
        ),
        "ReLU in place with zeros in padded rows, for ReLU and mask": (
            lambda: torch.relu(image * 1) * mask[:, None, None, :].to(kind),
            lambda: ReLUWithin.apply(image * 1, padding),
        ),
        "attention pooling: a backward pass of its own, for that of its parts": (
            lambda: pooled(low, pooling.attention.weight, mask),
            lambda: pooling(low, lengths),
        ),
        KEPT_MEMORY: (lambda: tdnn(low, lengths), lambda: tdnn(low, lengths)),
    }


def pooled(x: Tensor, attention: Tensor, mask: Tensor) -> Tensor:
    """Attention pooling of mean and variance, differentiated by autograd."""
    x = x.float()
    scores = nn.functional.linear(x, attention).squeeze(2).masked_fill(~mask, float("-inf"))
    weights = torch.softmax(scores, dim=1)[:, None, :]
    mean = torch.bmm(weights, x).squeeze(1)
    square = torch.bmm(weights, x.square()).squeeze(1)
    return torch.cat([mean, (square - mean.square()).clamp(min=0)], dim=1)


def adam(fused: bool) -> Callable[[], None]:
    parameters = [torch.randn(SIZE, 3 * SIZE, requires_grad=True) for _ in range(6)]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    optimizer = torch.optim.Adam(parameters, weight_decay=2e-5, fused=fused)
    return lambda: optimizer.step()


class ProjectedOnce(nn.Module):
    """A BLSTM whose products with the input are one product for both directions; then its recurrence, step by step."""

    def __init__(self, in_size: int, hidden_size: int) -> None:
        super().__init__()
        self.project = nn.Linear(in_size, 8 * hidden_size)
        self.recur = nn.Parameter(torch.randn(2, hidden_size, 4 * hidden_size) / hidden_size**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, frames, in) to (batch, frames, 2 hidden), for utterances of equal length."""
        size = self.recur.shape[1]
        gates = self.project(x).unflatten(2, (2, 4 * size)).permute(1, 2, 0, 3)  # frames, directions, batch, gates
        gates = torch.stack([gates[:, 0], gates[:, 1].flip(0)], dim=1)
        state = cell = x.new_zeros(2, x.shape[0], size).to(gates.dtype)
        states = []
        for row in gates:
            i, f, g, o = (row + torch.bmm(state, self.recur.to(row.dtype))).chunk(4, dim=2)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            state = o.sigmoid() * cell.tanh()
            states.append(state)
        found = torch.stack(states)
        return torch.cat([found[:, 0], found[:, 1].flip(0)], dim=2).transpose(0, 1)


def measure(folder: Path, rounds: int, threads: int) -> dict[str, float]:
    torch.set_num_threads(threads)
    bf16 = has_bfloat16(torch.device("cpu"))
    kind = torch.bfloat16 if bf16 else torch.float32

    def both_ways(function: Callable[[], Tensor]) -> Callable[[], None]:
        def run() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                y = function()
            y.float().sum().backward()

        return run

    calls: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        name: (both_ways(plain), both_ways(other)) for name, (plain, other) in pairs(kind).items()
    }
    calls["Adam: fused, for a loop over parameters"] = (adam(False), adam(True))
    calls["two trainings of a BLSTM: side by side on half of the cores each, for one after the other on all"] = (
        partial(trainings, [available_cores()], 2 * STEPS),
        partial(trainings, [max(1, available_cores() // 2)] * 2, STEPS),
    )
    found = {}
    for name, (plain, other) in calls.items():
        plain(), other()
        if name != KEPT_MEMORY:
            found[name] = round(median([seconds(plain) / seconds(other) for _ in range(rounds)]), 2)
    tdnn = calls[KEPT_MEMORY][0]
    given_back = median([seconds(tdnn) for _ in range(3 * rounds)])
    keep_freed_memory()  # cannot be undone, so it comes last
    tdnn()
    found[KEPT_MEMORY] = round(given_back / median([seconds(tdnn) for _ in range(3 * rounds)]), 2)
    return found


def trainings(threads: list[int], steps: int) -> None:
    """Time parallel processes with some threads each, each of which makes some steps of a BLSTM."""
    processes = [multiprocessing.get_context("spawn").Process(target=make_steps, args=(n, steps)) for n in threads]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def make_steps(threads: int, steps: int) -> None:
    torch.set_num_threads(threads)
    bf16 = has_bfloat16(torch.device("cpu"))
    x, lengths = torch.randn(BATCH, FRAMES, SIZE), torch.full((BATCH,), FRAMES)
    prep = nn.Sequential(nn.Linear(SIZE, SIZE), nn.ReLU(), nn.Linear(SIZE, SIZE), nn.ReLU())
    block = BLSTM(SIZE, 128)
    optimizer = torch.optim.Adam([*prep.parameters(), *block.parameters()], fused=True)
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            y = block(prep(x), lengths)
        y.float().mean().backward()
        optimizer.step()


if __name__ == "__main__":
    sys.exit(benchmark(__doc__, measure, rounds=5, threads=1))
