#!/usr/bin/env python3
"""SpeechBrain's EncoderClassifier on files, run by predict.py in an environment of its own.

    python tests/bench/peer_speechbrain.py FILE...

The model is an x-vector (Snyder et al. 2018) of SpeechBrain's own classes at their default sizes, its smallest encoder,
on 24 filterbanks at 16 kHz, with random weights. The program prints its number of weights. Then, for each line of
input, it classifies all files in batches of 16 sorted by length, and prints the seconds that this took.
"""

from __future__ import annotations

import sys
import time

import torch
from speechbrain.dataio.encoder import CategoricalEncoder
from speechbrain.inference.classifiers import EncoderClassifier
from speechbrain.lobes.features import Fbank
from speechbrain.lobes.models.Xvector import Classifier, Xvector
from speechbrain.processing.features import InputNormalization

LABELS = ["angry", "happy", "neutral", "sad"]
BATCH = 16


def classifier() -> EncoderClassifier:
    torch.manual_seed(0)
    labels = CategoricalEncoder()
    labels.expect_len(len(LABELS))
    labels.update_from_iterable(LABELS, sequence_input=False)
    modules = {
        "compute_features": Fbank(n_mels=24),
        "mean_var_norm": InputNormalization(norm_type="sentence", std_norm=False),
        "embedding_model": Xvector(in_channels=24),
        "classifier": Classifier(input_shape=[None, None, 512], out_neurons=len(LABELS)),
    }
    return EncoderClassifier(modules, {"label_encoder": labels, "sample_rate": 16000})


@torch.inference_mode()
def answer(model: EncoderClassifier, files: list[str]) -> list[str]:
    signals = [model.load_audio(file) for file in files]
    order = sorted(range(len(files)), key=lambda i: len(signals[i]))
    found: dict[int, str] = {}
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        wavs = torch.nn.utils.rnn.pad_sequence([signals[i] for i in rows], batch_first=True)
        lengths = torch.tensor([len(signals[i]) / wavs.shape[1] for i in rows])
        found.update(zip(rows, model.classify_batch(wavs, lengths)[3], strict=True))
    return [found[i] for i in range(len(files))]


def main() -> None:
    torch.set_num_threads(1)
    model, files = classifier(), sys.argv[1:]
    print(sum(p.numel() for p in model.mods.parameters()), flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        answer(model, files)
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
