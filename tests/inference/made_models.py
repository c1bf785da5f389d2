"""Models with weights from a seed, whose answers differ from utterance to utterance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ser.config import load
from ser.inference.model import Model
from ser.inference.predictor import Predictor
from ser.nets import build

HEADS = {"one": ("angry", "happy", "neutral", "sad"), "two": ("sad", "calm", "angry")}
SMALL = [
    *("network.prep_size=16", "network.lstm.hidden_size=8", "network.tdnn.size=16", "network.tdnn.layers=2"),
    *("network.attention.size=16", "network.attention.layers=2", "network.attention.heads=2"),
    *("network.nin.size=16", "network.nin.hidden=32", "network.nin.blocks=4", "network.nin.layers=2"),
]


def swelling(*lengths: int, seed: int = 0) -> list[np.ndarray]:
    """Noise between silent ends, float32, of so many samples."""
    rng = np.random.default_rng(seed)
    found = []
    for number, n in enumerate(lengths):
        noise = np.convolve(rng.normal(0, 0.2, n), np.ones(1 + number % 4) / 2, "same")
        found.append((noise * np.clip(np.sin(np.linspace(-0.5, 3.6, n)), 1e-3, None)).astype(np.float32))
    return found


def made_model(samples: list[np.ndarray], *overrides: str, preset: str = "strong", heads=HEADS) -> Model:
    """A model whose normalisation fits to some utterances and whose heads tell them apart."""
    experiment = load(preset, None, ["corpora=[one,two]", *overrides])
    torch.manual_seed(0)
    network = build(experiment, heads).eval().requires_grad_(False)
    model = Model(Path("made"), experiment, network, torch.device("cpu"), {}, dict(heads))
    predictor = Predictor(model)
    preprocessed = [predictor.preprocessed(predictor.spectrum(x)) for x in samples]
    frames = np.concatenate(preprocessed)
    if experiment.batches.normalisation in ("speaker", "corpus"):
        found = {"mean": frames.mean(0).tolist(), "deviation": frames.std(0).clip(1e-3).tolist()}
        model.description["group_statistics"] = found
    elif experiment.batches.normalisation == "global":
        network.mean.copy_(torch.from_numpy(frames.mean(0)))
        network.deviation.copy_(torch.from_numpy(frames.std(0).clip(1e-3)))
    predictor = Predictor(model)
    prepared = [torch.from_numpy(predictor.normalised(x))[None] for x in preprocessed]
    pooled = torch.cat([network.embed(x, torch.tensor([x.shape[1]])) for x in prepared])
    for layer in network.heads.values():
        logits = layer(pooled)
        scale = 2 / (logits - logits.mean(0)).std()
        layer.bias.sub_(logits.mean(0)).mul_(scale)
        layer.weight.mul_(scale)
    return model
