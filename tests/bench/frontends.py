#!/usr/bin/env python3
"""Speed of Whisper tiny.en as a front end, on one core and RAVDESS; each round measures all forms in turn.

- xrt_whisper_tiny: speed of stage 3, from audio files to the store: seconds of audio, with silent ends, per second.
- vs_bare: its rate over that of the encoder alone, on log-mel tensors in memory in batches of similar length.
- vs_transformers: its rate over that of transformers' feature extractor and encoder, as in their documentation: one
  utterance at a time, padded to 30 s (measured on a sixth of the utterances).
- peak_mb: largest resident size of a process that runs stage 3.
"""

from __future__ import annotations

import multiprocessing
import shutil
import sys
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from needs import benchmark, need, peak_mb, seconds, timed

need("transformers")

import numpy as np
import torch
from bench_corpora import prepare_corpus
from tiny import of_transformers
from transformers import WhisperFeatureExtractor

from ser.audio import resample
from ser.config import load
from ser.corpora.cuts import Cut, read_cut
from ser.features import FeatureStore
from ser.frontends import build_frontend
from ser.frontends.published import fetch_published
from ser.frontends.whisper import log_mel, read_ctranslate2

BATCH = 8
SIXTH = 6


class Bench:
    """The prepared utterances, and the encoder in three implementations."""

    def __init__(self, folder: Path, utterances: int) -> None:
        torch.set_num_threads(1)
        self.folder = folder
        model = fetch_published("whisper_tiny.en")
        experiment = load("pretrained", None, ["corpora=[ravdess]"])
        self.frontend: Any = build_frontend(experiment)
        self.data_dir = prepare_corpus("ravdess", folder / "data")
        cuts = FeatureStore(folder / "ours", self.data_dir, self.frontend).cuts
        self.cuts: list[Cut] = cuts[:: max(1, len(cuts) // utterances)][:utterances]
        self.seconds = sum(cut.duration for cut in self.cuts)
        samples = [resample(*read_cut(cut), self.frontend.sampling_rate) for cut in self.cuts]
        self.whole = samples[::SIXTH]
        trimmed = [x[slice(*self.frontend.span(x))] for x in samples]
        mels = sorted((log_mel(torch.from_numpy(x), 80) for x in trimmed), key=lambda mel: mel.shape[1])
        self.batches = [_padded(mels[i : i + BATCH]) for i in range(0, len(mels), BATCH)]
        self.encoder = self.frontend._whisper  # type: ignore[attr-defined]
        self.extractor = WhisperFeatureExtractor(feature_size=80)
        self.theirs = of_transformers(*read_ctranslate2(model / "model.bin"))

    def ours(self) -> None:
        shutil.rmtree(self.folder / "ours", ignore_errors=True)
        store = FeatureStore(self.folder / "ours", self.data_dir, self.frontend)
        store.cuts = self.cuts
        store.compute(1, 1)

    @torch.inference_mode()
    def bare(self) -> None:
        for batch in self.batches:
            self.encoder(batch)

    @torch.inference_mode()
    def transformers(self) -> None:
        for x in self.whole:
            mel = self.extractor(x, sampling_rate=16_000, return_tensors="pt").input_features
            self.theirs(mel, output_hidden_states=True)


def _padded(mels: list[torch.Tensor]) -> torch.Tensor:
    longest = max(mel.shape[1] for mel in mels)
    return torch.stack([torch.nn.functional.pad(mel, (0, longest - mel.shape[1])) for mel in mels])


def peak_of(folder: Path, data_dir: Path, cuts: list[Cut]) -> float:
    """Measure the peak memory of a fresh process that does the work of `Bench.ours`."""
    torch.set_num_threads(1)
    store = FeatureStore(folder / "peak", data_dir, build_frontend(load("pretrained", None, ["corpora=[ravdess]"])))
    store.cuts = list(cuts)
    store.compute(1, 1)
    return peak_mb()


def measure(folder: Path, rounds: int, utterances: int) -> dict[str, Any]:
    bench = Bench(folder, utterances)
    runs = {"ours": bench.ours, "bare": bench.bare, "theirs": bench.transformers}
    times = timed({name: partial(seconds, run) for name, run in runs.items()}, rounds)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        peak = pool.apply(peak_of, (folder, bench.data_dir, bench.cuts))
    share = sum(map(len, bench.whole)) / 16_000 / bench.seconds
    ours = np.array(times["ours"])
    return {
        "xrt_whisper_tiny": round(bench.seconds / median(times["ours"]), 1),
        "vs_bare": round(float(np.median(np.array(times["bare"]) / ours)), 3),
        "vs_transformers": round(float(np.median(np.array(times["theirs"]) / share / ours)), 2),
        "peak_mb": round(peak),
    }


if __name__ == "__main__":
    sys.exit(benchmark(__doc__, measure, rounds=5, utterances=96))
