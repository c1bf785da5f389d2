#!/usr/bin/env python3
"""Speed of training on real TESS + RAVDESS, as ratios within a run, each the median of five rounds.

    python tests/bench/training.py [--json] [--rounds 5] [--steps 8]

The environment names the folders of RAVDESS and TESS, as in db.sh. Figures:

- vs_plain_<block>: utterances per second of our loop over those of a plain loop: float32, batches of 32 in random order
  padded to their longest, kaldiio in a DataLoader of two workers, the same network, the same utterances.
- loop_share: rate of our loop over the rate of forward, backward and update alone, on tensors in memory, before and
  after the loop; the lowest of the three blocks.
- gemm_share: for the TDNN, time of its matrix products alone, with the same shapes and precision, over that of a step.
- padding_share: padded frames over all frames in one pass of the batches.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from needs import benchmark, need, ratio, seconds

need()

import kaldiio
import torch
from bench_corpora import prepared

from ser.batches import Batch, Part, open_data
from ser.batches.batch import MULTIPLE
from ser.config import load
from ser.training import Trainer

BLOCKS = ("lstm", "blstm", "tdnn")


class KaldiioDataset(torch.utils.data.Dataset[tuple[torch.Tensor, int, str]]):
    """A plain reader: one complete matrix for each utterance."""

    def __init__(self, parts: dict[str, Part]) -> None:
        self.rows = [
            (p.reader.positions[key], int(t), p.corpus)
            for p in parts.values()
            for key, t in zip(p.ids, p.targets, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, str]:
        (path, offset), target, corpus = self.rows[index]
        return torch.from_numpy(kaldiio.load_mat(f"{path}:{offset}").copy()), target, corpus


def pad(rows: list[tuple[torch.Tensor, int, str]]) -> Batch:
    features = torch.nn.utils.rnn.pad_sequence([row[0] for row in rows], batch_first=True)
    lengths = torch.tensor([len(row[0]) for row in rows])
    return Batch(rows[0][2], features, lengths, torch.tensor([row[1] for row in rows]), [], *unknown(len(rows)))


def unknown(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Genders and votes, which the benchmark does not use."""
    return torch.full((size,), -1), torch.zeros(size, 4)


def endless(parts: dict[str, Part]) -> Iterator[Batch]:
    """Yield random batches of one corpus each, in turn, from a DataLoader for each corpus, two workers in total."""
    loaders = [
        torch.utils.data.DataLoader(
            KaldiioDataset({c: p}),
            32,
            shuffle=True,
            num_workers=2 // len(parts) or 1,
            collate_fn=pad,
            persistent_workers=True,
            drop_last=True,
        )
        for c, p in parts.items()
    ]
    iterators: list[Any] = [iter(loader) for loader in loaders]
    while True:
        for i, loader in enumerate(loaders):
            batch = next(iterators[i], None)
            if batch is None:
                iterators[i] = iter(loader)
                batch = next(iterators[i])
            yield batch


def our_loop(trainer: Trainer, steps: int) -> None:
    """Run the training loop without validation."""
    trainer.checkpoint_time = time.monotonic()
    trainer.run_steps(trainer.step + steps)


def update_only(trainer: Trainer, batches: list[Batch]) -> None:
    """Run forward, backward and update on tensors in memory."""
    trainer.network.train()
    for batch in batches:
        trainer.optimizer.zero_grad(set_to_none=True)
        with trainer.device_config.autocast():
            logits = trainer.network(batch.features, batch.lengths, trainer.network.head_of(batch.corpus), batch.corpus)
        loss = torch.nn.functional.cross_entropy(logits, batch.targets, trainer.device_weights[batch.corpus])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainer.network.parameters(), trainer.config.gradient_clip)
        trainer.optimizer.step()


def products(trainer: Trainer, batches: list[Batch]) -> list[Callable[[], object]]:
    """Run the matrix products of a TDNN's forward and backward pass for each batch, at the training's precision."""
    kind = torch.bfloat16 if trainer.device_config.precision == "bfloat16" else torch.float32
    calls: list[Callable[[], object]] = []
    for batch in batches:
        rows = batch.features.shape[0] * batch.features.shape[1]
        for number, layer in enumerate(trainer.network.temporal.layers):
            size_in, size_out = layer.in_channels * 3, layer.out_channels
            x, w, y = (
                torch.randn(shape, dtype=kind) for shape in ((rows, size_in), (size_in, size_out), (rows, size_out))
            )
            calls += [lambda x=x, w=w: x @ w, lambda x=x, y=y: x.T @ y]
            if number:  # the gradient of the features is not needed
                calls.append(lambda w=w, y=y: y @ w.T)
    return calls


def trainer_of(data_root: Path, dump: Path, folder: Path, *overrides: str) -> Trainer:
    experiment = load("strict", None, ["corpora=[tess,ravdess]", "augment.copies=0", "training.device=cpu", *overrides])
    data = open_data(experiment, None, data_root, dump)
    return Trainer(experiment, folder, data.heads, data.parts("train"), data.parts("valid"), "")


def measure_block(ours: Trainer, plain: Trainer, rounds: int, steps: int) -> dict[str, float]:
    """Return the medians over rounds of the three ratios of one block (gemm_share: 0 unless TDNN)."""
    plain_batches = endless({corpus: source.part for corpus, source in ours.train.items()})
    our_loop(ours, 2)
    plain._update(next(plain_batches))
    times: dict[str, list[float]] = {"plain": [], "bare": [], "loop": [], "gemm": []}
    for _ in range(rounds):
        times["plain"].append(seconds(lambda: [plain._update(next(plain_batches)) for _ in range(steps)]))
        time.sleep(1)  # until the workers of the DataLoader have prefetched and are idle
        start = ours.step
        batches = [ours._batch(step) for step in range(start, start + steps)]
        update_only(ours, batches)
        before = seconds(partial(update_only, ours, batches))
        times["loop"].append(seconds(lambda: our_loop(ours, steps)))
        times["bare"].append((before + seconds(partial(update_only, ours, batches))) / 2)
        if ours.experiment.temporal == "tdnn":
            times["gemm"].append(seconds(partial(run_all, products(ours, batches))))
    return {
        "vs_plain": ratio(times["plain"], times["loop"]),
        "loop_share": ratio(times["bare"], times["loop"]),
        "gemm_share": ratio(times["gemm"], times["bare"]) if times["gemm"] else 0.0,
    }


def run_all(calls: list[Callable[[], object]]) -> None:
    for call in calls:
        call()


def padding_share(trainer: Trainer) -> float:
    real = padded = 0
    for sampler in trainer.samplers.values():
        for number in range(sampler.batches_per_pass):
            rows = [rows for _, _, rows in sampler.batch(number)]
            real, padded = real + sum(rows), padded + len(rows) * -(-max(rows) // MULTIPLE) * MULTIPLE
    return 1 - real / padded


def measure(folder: Path, rounds: int, steps: int) -> dict[str, Any]:
    data_root, dump = prepared(folder, ("tess", "ravdess"))
    blocks: dict[str, dict[str, float]] = {}
    for block in BLOCKS:
        ours = trainer_of(data_root, dump, folder, f"temporal={block}")
        plain = trainer_of(data_root, dump, folder, f"temporal={block}", "training.precision=float32")
        blocks[block] = measure_block(ours, plain, rounds, steps)
    return {
        "bf16": ours.device_config.precision == "bfloat16",
        **{f"vs_plain_{block}": found["vs_plain"] for block, found in blocks.items()},
        "loop_share": min(found["loop_share"] for found in blocks.values()),
        "gemm_share": blocks["tdnn"]["gemm_share"],
        "padding_share": round(padding_share(ours), 4),
        "threads": ours.device_config.threads,
    }


if __name__ == "__main__":
    sys.exit(benchmark(__doc__, measure, rounds=5, steps=8))
