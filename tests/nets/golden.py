#!/usr/bin/env python3
"""Reference posteriors of small log-STFT models: `python tests/nets/golden.py` recomputes and writes golden.npz.

Weights are a function of their names alone, so that the order in which a network is built decides nothing.
"""

from __future__ import annotations

import sys
import tempfile
import zlib
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from made import Made, make

from ser.batches import UtteranceDataset, fit_statistics
from ser.nets import build
from ser.nets.evaluate import log_posteriors

PATH = Path(__file__).with_name("golden.npz")
ENCODERS = ("lstm", "blstm", "tdnn")
POOLINGS = ("mu", "mu_sigma2")
NORMALISATIONS = ("global", "none", "utterance", "speaker", "corpus")
LEVELS = {"plain": (), "trimmed": ("batches.trim_decibels=20", "batches.floor_decibels=30", "batches.frame_step=2")}
SHOWN = 3  # utterances a model


def posteriors(made: Made) -> Iterator[tuple[str, np.ndarray]]:
    """Name of a model, and its posteriors of the first test utterances, float32, (utterances, classes)."""
    for encoder, pooling, normalisation, level in product(ENCODERS, POOLINGS, NORMALISATIONS, LEVELS):
        settings = [f"temporal={encoder}", f"pooling={pooling}", f"batches.normalisation={normalisation}"]
        experiment = made.experiment(*settings, *LEVELS[level], corpora="one")
        data = made.open(experiment)
        network = build(experiment, data.heads)
        for name, tensor in network.named_parameters():
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            values = rng.normal(0, 1 / np.sqrt(max(1, tensor[0].numel())), tuple(tensor.shape))
            tensor.data.copy_(torch.from_numpy(values.astype(np.float32)))
        view = UtteranceDataset(data.parts("train")["one"], experiment.batches)
        for buffer, value in zip((network.mean, network.deviation), fit_statistics([view]), strict=True):
            buffer.copy_(torch.from_numpy(value))
        part = data.parts("test")["one"]
        found = log_posteriors(network, UtteranceDataset(part, experiment.batches), "one", torch.device("cpu"))
        yield f"{encoder} {pooling} {normalisation} {level}", np.exp(found[:: len(part) // SHOWN][:SHOWN])


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = dict(posteriors(make(Path(folder))))
    np.savez_compressed(PATH, names=list(found), posteriors=np.stack(list(found.values())))
    print(f"{PATH}: {len(found)} models, {PATH.stat().st_size} bytes")


if __name__ == "__main__":
    main()
