#!/usr/bin/env python3
"""Speed and memory of `ser predict` on real RAVDESS and one core, medians of five rounds; ratios within a run.

    python tests/bench/predict.py [--json] [--rounds 5] [--files 192] [--peer PYTHON | --peer none]

The environment names the folder of RAVDESS, as in db.sh; its files are converted to FLAC first. The model is a BLSTM at
8 kHz of the preset `strict` with random weights. Figures:

- xrt, xrt_bare: seconds of audio per second: of `load_model(...).predict(files)` from FLAC to labels, and of the
  network alone, on the same batches in memory.
- vs_bare: ratio of these rates, measured in turns.
- bound: largest possible vs_bare on one core, if only reading, resampling and STFT are added to the network.
- first_answer_s: seconds from the start of `ser predict MODEL FILE` to the line of the answer.
- peak_mb_1h: largest resident size of the process `ser predict` on one hour of audio.
- vs_peer: rate over that of SpeechBrain's EncoderClassifier with its x-vector on the same files, also with random
  weights (peer_speechbrain.py), in an environment made for it, or that of --peer; null if it cannot be made.
- xrt_onnx, xrt_int8: as xrt, by onnxruntime, including reading: a graph of waveforms, batches sorted by length.

Without --json, the milliseconds of each part are printed too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, get_type_hints

from needs import ROOT, benchmark, need, ratio, seconds, timed

need("onnx", "onnxruntime")

import numpy as np
import soundfile
import torch
from bench_corpora import place_of

from ser import load_model
from ser.audio import read_audio, resample
from ser.config import load
from ser.frontends.preprocess import RunningStats
from ser.inference.model import CARD, DESCRIPTION, FORMAT, SEEN, WEIGHTS, Provenance, write_sums
from ser.inference.onnx.export import ExportedGraph, export, quantise
from ser.inference.pack import CORPUS_FIELDS
from ser.inference.predictor import Predictor
from ser.nets import build
from ser.training.checkpoint import save_tensors

HEADS = {"ravdess": ("angry", "happy", "neutral", "sad")}
GRAPH_BATCH = 16
HOUR = 3600
TURNS = 3  # of predict and the bare network in a round, since the load of the machine changes within seconds
# `ser`, with its largest resident size in KiB as the last line; getrusage would include that of the parent process.
WITH_PEAK = """
import sys
from ser.cli import main
code = main(sys.argv[1:])
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(code)
"""


def flac_files(count: int, folder: Path) -> list[str]:
    """Write an even selection of the files of RAVDESS as FLAC at their own rate."""
    paths = sorted(path for path in place_of("ravdess").rglob("03-01-*") if path.suffix in (".wav", ".flac"))
    chosen = paths[:: max(1, len(paths) // count)][:count]
    for path in chosen:
        audio = read_audio(path)
        soundfile.write(folder / f"{path.stem}.flac", audio.mono, audio.sampling_rate, subtype="PCM_16")
    return [str(folder / f"{path.stem}.flac") for path in chosen]


def write_model(folder: Path, files: list[str]) -> None:
    """Write a model package with random weights, and normalisation by the statistics of the files."""
    from ser.frontends.log_stft import log_stft

    torch.manual_seed(0)
    experiment = load("strict", None, ["corpora=[ravdess]", "temporal=blstm"])
    network, rate = build(experiment, HEADS), experiment.features.sampling_rate
    moments = RunningStats(experiment.features.bins)
    audio = [read_audio(Path(file)) for file in files]
    for one in audio:
        moments.add(log_stft(resample(one.mono, one.sampling_rate, rate), experiment.features))
    for buffer, values in zip((network.mean, network.deviation), moments.finish(), strict=True):
        buffer.copy_(torch.from_numpy(values))
    seconds = [one.samples.shape[1] / one.sampling_rate for one in audio]
    description = {
        "format": FORMAT,
        "settings": asdict(experiment),
        "heads": HEADS,
        "corpora": {"ravdess": dict.fromkeys(CORPUS_FIELDS, "none")},
        "trained": {
            "seconds": [min(seconds), max(seconds)],
            "sampling_rates": {str(audio[0].sampling_rate): len(files)},
            "corpora": {"ravdess": {"utterances": len(files), "speakers": 1}},
        },
        "metrics": {"part": "test", "split": "none", "test": {}, "valid": {}},
        "calibration": {},
        "provenance": dict.fromkeys(get_type_hints(Provenance), "none"),
    }
    folder.mkdir()
    save_tensors(folder / WEIGHTS, network.state_dict(), {"classes": HEADS})
    (folder / DESCRIPTION).write_text(json.dumps(description))
    for name in (SEEN, CARD):
        (folder / name).write_text("")
    write_sums(folder)


class Bench:
    """Files, a model package, and the timed functions."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.files = folder, flac_files(count, folder)
        self.model_folder = folder / "model"
        write_model(self.model_folder, self.files)
        self.audio_seconds = sum(soundfile.info(file).duration for file in self.files)
        self.model = load_model(self.model_folder)
        self.predictor = Predictor(self.model.model)
        self.frontend = self.predictor.frontend
        self.batches = self._batches()

    def _batches(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Collect the batches that predict gives to the network."""
        found: list[tuple[torch.Tensor, torch.Tensor]] = []
        own = Predictor._predict_batch

        def keep(predictor: Predictor, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            found.append((features, lengths))
            return own(predictor, features, lengths)

        Predictor._predict_batch = keep
        self.ours()
        Predictor._predict_batch = own
        return found

    def ours(self) -> float:
        return seconds(lambda: self.model.predict(self.files))

    @torch.inference_mode()
    def bare(self) -> float:
        return seconds(lambda: [self.predictor._predict_batch(*batch) for batch in self.batches])

    def both(self) -> tuple[float, float]:
        """Measure the seconds of the network alone and of predict, in turns, the network before and after."""
        bare, ours = self.bare() / 2, 0.0
        for turn in range(1, TURNS + 1):
            ours += self.ours()
            bare += self.bare() / (2 if turn == TURNS else 1)
        return bare / TURNS, ours / TURNS

    def parts(self) -> dict[str, float]:
        """Measure the seconds of each part on all files, one after the other."""
        spent: dict[str, float] = {}
        read: list[tuple[np.ndarray, int]] = []
        samples: list[np.ndarray] = []
        spectra: list[np.ndarray] = []
        rate = self.frontend.sampling_rate
        spent["read"] = seconds(
            lambda: read.extend((a.mono, a.sampling_rate) for a in map(read_audio, map(Path, self.files)))
        )
        spent["resample"] = seconds(lambda: samples.extend(resample(x, own, rate) for x, own in read))
        spent["STFT"] = seconds(lambda: spectra.extend(map(self.predictor.spectrum, samples)))
        spent["network"] = self.bare()
        return spent

    def graph(self, path: Path) -> Callable[[], float]:
        """Measure the seconds that onnxruntime takes, including reading the files."""
        exported, rate = ExportedGraph(self.predictor, path), self.frontend.sampling_rate

        def run() -> None:
            read = map(read_audio, map(Path, self.files))
            samples = sorted((resample(a.mono, a.sampling_rate, rate) for a in read), key=len)
            for start in range(0, len(samples), GRAPH_BATCH):
                exported.posteriors(samples[start : start + GRAPH_BATCH])

        return partial(seconds, run)

    def first_answer(self) -> float:
        """Measure the seconds to the second line of the table, the first answer."""
        started = time.perf_counter()
        command = [sys.executable, "-m", "ser", "predict", self.model_folder, self.files[0]]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
            assert process.stdout
            process.stdout.readline()
            line = process.stdout.readline()
            spent = time.perf_counter() - started
        assert line.startswith(self.files[0]), line
        return spent

    def peak_mb(self) -> float:
        """Measure the peak memory on one FLAC file of an hour, made of the files."""
        path, rate = self.folder / "hour.flac", soundfile.info(self.files[0]).samplerate
        left = HOUR * rate
        with soundfile.SoundFile(path, "w", rate, 1) as out:
            while left:
                for file in self.files:
                    samples = read_audio(Path(file)).mono[:left]
                    out.write(samples)
                    left -= len(samples)
        command = [sys.executable, "-c", WITH_PEAK, "predict", self.model_folder, path]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
        return int(done.stdout.split()[-1]) / 1024


class Peer:
    """SpeechBrain in a process of its own, which waits for requests.

    Attributes:
        reason: why it is not there.
        weights: how many it has.
    """

    def __init__(self, python: str, folder: Path, files: list[str]) -> None:
        self.reason, self.weights = "", 0
        if python == "none":
            self.reason = "not asked for"
            return
        try:
            python = python or environment_of_speechbrain(folder)
            command = [python, str(ROOT / "tests" / "bench" / "peer_speechbrain.py"), *files]
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment(), cwd=folder)
            self.weights = int(self.process.stdout.readline())  # type: ignore[union-attr]
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self.reason = f"{error} {getattr(error, 'stderr', None) or ''}".strip()
            print(f"no peer: {self.reason}", file=sys.stderr)

    def run(self) -> float:
        assert self.process.stdin
        assert self.process.stdout
        print(file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def end(self) -> None:
        if not self.reason:
            self.process.communicate()


def environment_of_speechbrain(folder: Path) -> str:
    """Make a virtual environment with SpeechBrain on top of the installed packages; returns its python.

    torchaudio from PyPI is built for CUDA, and cannot be imported without; nothing here calls what is compiled in it.
    """
    place = folder / "speechbrain"
    venv.create(place, with_pip=True)
    packages = next((place / "lib").glob("python3*")) / "site-packages"
    (packages / "here.pth").write_text(str(Path(torch.__file__).parents[1]))
    python = str(place / "bin" / "python")
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "speechbrain"], check=True, capture_output=True, text=True, timeout=900
    )
    for library in (packages / "torchaudio" / "lib").glob("*.so"):
        library.unlink()
    return python


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def measure(folder: Path, rounds: int, files: int, peer: str) -> tuple[dict[str, Any], str]:
    peer_folder, flac = folder / "peer", folder / "flac"
    peer_folder.mkdir()
    flac.mkdir()
    bench = Bench(flac, files)
    other = Peer(peer, peer_folder, bench.files)
    graphs = [folder / "model.onnx", folder / "model.int8.onnx"]
    export(bench.predictor, "waveform", graphs[0])
    quantise(*graphs)
    runs: dict[str, Callable[[], Any]] = {
        "both": bench.both,
        "onnx": bench.graph(graphs[0]),
        "int8": bench.graph(graphs[1]),
    }
    if not other.reason:
        runs["peer"] = other.run
    runs["parts"] = bench.parts
    times = timed(runs, rounds)
    other.end()
    parts = times.pop("parts")
    times["bare"], times["ours"] = ([both[i] for both in times["both"]] for i in range(2))

    def xrt(name: str) -> int:
        return round(bench.audio_seconds / median(times[name]))

    found = {
        "xrt": xrt("ours"),
        "xrt_bare": xrt("bare"),
        "vs_bare": ratio(times["bare"], times["ours"]),
        "bound": ratio([p["network"] for p in parts], [sum(p.values()) for p in parts]),
        "first_answer_s": round(median(bench.first_answer() for _ in range(rounds)), 2),
        "peak_mb_1h": round(bench.peak_mb()),
        "vs_peer": None if other.reason else ratio(times["peer"], times["ours"]),
        "xrt_onnx": xrt("onnx"),
        "xrt_int8": xrt("int8"),
    }
    own = sum(weight.numel() for weight in bench.model.model.network.parameters())
    lines = [f"{len(bench.files)} files, {bench.audio_seconds:.0f} s of audio; {own:,} weights"]
    lines.append(f"peer: {other.reason or f'{other.weights:,} weights'}")
    means = {name: 1000 * median(p[name] for p in parts) / len(bench.files) for name in parts[0]}
    lines.append("ms a file: " + ", ".join(f"{name} {value:.2f}" for name, value in means.items()))
    lines.append(f"together {sum(means.values()):.2f}; predict {1000 * median(times['ours']) / len(bench.files):.2f}")
    return found, "\n".join(lines)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # from the compared libraries
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    sys.exit(benchmark(__doc__, measure, rounds=5, files=192, peer=""))
