#!/usr/bin/env python3
"""Speed of features and augmented copies on real RAVDESS, as ratios within a run, each the median of five rounds.

    python tests/bench/features.py [--json] [--rounds 5] [--utterances 96]

The environment names the folder of RAVDESS, as in db.sh. All but two_jobs run in one thread. Figures:

- vs_lhotse: utterances per second from FLAC to ark, over those of lhotse's LogSpectrogram with its KaldiWriter, warm.
- vs_bare: the same over one loop of soundfile, soxr, torch.stft and kaldiio, without index and checksums.
- augmented_xrt: seconds of augmented copies, all kinds in equal parts, per second of one core.
- vs_plain_chain: copies per second, over one loop of librosa.load, audiomentations with its RoomSimulator (and VTLP,
  which it lacks, by librosa's STFT and numpy), librosa.stft and kaldiio. vs_plain_wav_rooms: the same with its
  ApplyImpulseResponse, on wav files of the impulse responses that our bank has simulated.
- two_jobs: rate of two parallel jobs over that of one, on six copies of every training utterance.
- peak_mb: largest resident size of a job of steps/extract_features.py with all utterances, and six copies of each
  training utterance.

--utterances: number of training utterances, each with six copies. Without --json, the share of each part in the time of
an utterance and of a copy is printed too.
"""

from __future__ import annotations

import multiprocessing
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from needs import ROOT, benchmark, need, ratio, seconds, timed

need("audiomentations", "librosa")

import kaldiio
import numpy as np
import soundfile
import soxr
import torch
from bench_corpora import prepare_corpus

from ser.audio import resample
from ser.augment import Augment
from ser.augment.copies import apply_transforms
from ser.augment.train_set import TrainSet
from ser.batches.load import open_train_sets
from ser.config import Experiment, load, write_experiment
from ser.corpora.cuts import Cut, read_cut, read_cuts
from ser.features import ArkWriter, FeatureStore
from ser.features.store import read_samples
from ser.frontends.log_stft import LogStft, log_stft

KINDS = ["vtlp", "room", "noise", "band_pass", "mp3", "volume"]
RATE, FRAME, SHIFT = 8000, 512, 128


def experiment_of() -> Experiment:
    """Make six copies of each utterance, one of each kind."""
    return load("strict", None, ["corpora=[ravdess]", "augment.copies=7"])


class Bench:
    """A subset of RAVDESS in a folder, its copies, and the timed functions."""

    def __init__(self, folder: Path, utterances: int) -> None:
        self.folder, self.experiment = folder, experiment_of()
        self.features = self.experiment.features
        prepare_corpus("ravdess", folder / "data")
        sets = open_train_sets(self.experiment, None, folder / "data", folder / "dump")
        self.whole: TrainSet = sets["ravdess"]
        self.augment: Augment = self.whole.augment
        self.whole.write()
        self.pool = self.whole.babble_pool()
        chosen = set(self.pool.ids[:: max(1, len(self.pool.ids) // utterances)][:utterances])
        self.clean = self._subset(lambda cut: cut.id in chosen)
        self.copied = self._subset(lambda cut: cut.original in chosen)
        self.all_copies = self._subset(lambda cut: cut.original is not None)
        self.rooms = self._rooms()
        torch.set_num_threads(1)

    def _subset(self, wanted: Callable[[Cut], bool]) -> list[Cut]:
        return [cut for cut in read_cuts(self.whole.folder / "cuts.jsonl.gz") if wanted(cut)]

    def _rooms(self) -> Path:
        """Write the simulated impulse responses as wav files."""
        place = self.folder / "responses"
        place.mkdir()
        room: Any = self.augment.kinds["room"]
        for number in range(room.count):
            response = room.response(RATE, {"bank": room.bank.stem, "response": number})
            soundfile.write(place / f"{number}.wav", response, RATE, subtype="FLOAT")
        return place

    # -- ours ---------------------------------------------------------------------------------------------------------

    def store(self, cuts: list[Cut]) -> FeatureStore:
        """Make an empty store for some cuts."""
        place = self.folder / "ours"
        shutil.rmtree(place, ignore_errors=True)
        store = FeatureStore(place, self.whole.folder, LogStft(self.features), self.augment)
        store.cuts = cuts
        return store

    def ours(self, cuts: list[Cut]) -> float:
        store = self.store(cuts)
        return seconds(lambda: store.compute(1, 1))

    # -- others -------------------------------------------------------------------------------------------------------

    def bare(self) -> float:
        window = torch.hann_window(FRAME)

        def run() -> None:
            with (self.folder / "bare.ark").open("wb") as file:
                for cut in self.clean:
                    samples, rate = soundfile.read(cut.path, dtype="float32", always_2d=True)
                    mono = soxr.resample(samples.mean(axis=1), rate, RATE)
                    spectrum = torch.stft(
                        torch.from_numpy(mono), FRAME, SHIFT, window=window, center=False, return_complex=True
                    )
                    values = torch.view_as_real(spectrum).square().sum(-1).clamp_(min=1e-10).log_().T
                    kaldiio.save_ark(file, {cut.id: values.contiguous().numpy()}, compression_method=3)

        return seconds(run)

    def lhotse(self) -> float:
        from lhotse import CutSet
        from lhotse.features import LogSpectrogram, LogSpectrogramConfig
        from lhotse.features.io import KaldiWriter

        config = LogSpectrogramConfig(
            sampling_rate=RATE, frame_length=FRAME / RATE, frame_shift=SHIFT / RATE, window_type="hanning"
        )
        chosen = {cut.id for cut in self.clean}
        cuts = CutSet.from_file(self.folder / "data" / "ravdess" / "cuts.jsonl.gz")
        cuts = CutSet.from_cuts(cut.resample(RATE) for cut in cuts if cut.id in chosen)
        place = self.folder / "lhotse"
        shutil.rmtree(place, ignore_errors=True)
        return seconds(
            lambda: cuts.compute_and_store_features(
                LogSpectrogram(config), place, storage_type=KaldiWriter, progress_bar=False
            ).to_eager()
        )

    def plain_chain(self, wav_rooms: bool) -> float:
        import audiomentations as am
        import librosa

        changes: dict[str, Callable[..., np.ndarray]] = {
            "vtlp": plain_warp,
            "room": am.ApplyImpulseResponse(self.rooms, p=1) if wav_rooms else am.RoomSimulator(p=1),
            "noise": am.AddColorNoise(min_snr_db=0, max_snr_db=15, min_f_decay=-6, max_f_decay=0, p=1),
            "band_pass": am.BandPassFilter(zero_phase=True, p=1),
            "mp3": am.Mp3Compression(p=1),
            "volume": am.Gain(min_gain_db=-18, max_gain_db=6, p=1),
        }

        def run() -> None:
            with (self.folder / "plain.ark").open("wb") as file:
                for cut in self.copied:
                    samples, _ = librosa.load(cut.path, sr=RATE)
                    changed = changes[cut.steps[0]["kind"]](samples, sample_rate=RATE)
                    spectrum = librosa.stft(changed, n_fft=FRAME, hop_length=SHIFT, center=False)
                    values = np.log(np.maximum(np.abs(spectrum) ** 2, 1e-10)).T
                    kaldiio.save_ark(file, {cut.id: np.ascontiguousarray(values)}, compression_method=3)

        return seconds(run)

    # -- parts --------------------------------------------------------------------------------------------------------

    def shares(self, cuts: list[Cut]) -> dict[str, float]:
        """Measure the milliseconds per utterance of each part, in one pass."""
        spent = dict.fromkeys(("read", "resample", "perturb", "STFT", "write"), 0.0)
        samples: dict[str, list[Any]] = {name: [] for name in spent}
        spent["read"] = seconds(lambda: samples["read"].extend(read_cut(cut) for cut in cuts))
        spent["resample"] = seconds(
            lambda: samples["resample"].extend(resample(x, rate, RATE) for x, rate in samples["read"])
        )
        spent["perturb"] = seconds(
            lambda: samples["perturb"].extend(
                apply_transforms(x, RATE, cut.steps, self.augment, self.pool)
                for x, cut in zip(samples["resample"], cuts, strict=True)
            )
        )
        spent["STFT"] = seconds(lambda: samples["STFT"].extend(log_stft(x, self.features) for x in samples["perturb"]))
        with ArkWriter(self.folder / "shares.ark", self.features.storage) as writer:
            spent["write"] = seconds(
                lambda: [writer.write(cut.id, x) for x, cut in zip(samples["STFT"], cuts, strict=True)]
            )
        return {name: 1000 * value / len(cuts) for name, value in spent.items()}

    def peak_mb(self) -> float:
        """Measure the peak memory for the whole set in a process of its own, as stage 3 runs it."""
        write_experiment(self.experiment, self.folder / "config.yaml")
        program = "import runpy, sys; sys.argv = sys.argv[1:]\n"
        program += "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        program += "except SystemExit as end: assert not end.code, end\n"
        program += "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
        step = ROOT / "steps" / "extract_features.py"
        words = [step, "--job", "1", "--nj", "1", self.folder / "config.yaml", self.whole.folder, self.folder / "dump"]
        done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
        return int(done.stdout.split()[-1]) / 1024


def plain_warp(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Warp the spectrum as VTLP does, frame by frame."""
    import librosa

    alpha, top = np.random.uniform(0.9, 1.1), FRAME // 2
    bins = np.arange(top + 1)
    edge = 0.6 * top * min(alpha, 1) / alpha
    source = np.where(bins <= edge * alpha, bins / alpha, top - (top - edge) / (top - edge * alpha) * (top - bins))
    spectrum = librosa.stft(samples, n_fft=FRAME, hop_length=SHIFT)
    for column in spectrum.T:
        column[:] = np.interp(source, bins, column.real) + 1j * np.interp(source, bins, column.imag)
    return librosa.istft(spectrum, hop_length=SHIFT, length=len(samples))


def job_of(bench: Bench, store: FeatureStore, job: int, jobs: int, barrier: Any) -> None:
    torch.set_num_threads(1)
    for cut in bench.copied[:12]:  # warm
        read_samples(cut, bench.features.sampling_rate, bench.augment, bench.pool)
    barrier.wait()
    store.compute(job, jobs)
    barrier.wait()


def jobs_seconds(bench: Bench, jobs: int) -> float:
    """Measure the seconds from the start of warm jobs to the end of the last one."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(jobs + 1)
    store = bench.store(bench.all_copies)
    processes = [context.Process(target=job_of, args=(bench, store, job, jobs, barrier)) for job in range(1, jobs + 1)]
    for process in processes:
        process.start()
    barrier.wait()
    spent = seconds(barrier.wait)
    for process in processes:
        process.join()
    return spent


def measure(folder: Path, rounds: int, utterances: int) -> tuple[dict[str, Any], str]:
    bench = Bench(folder, utterances)
    runs: dict[str, Callable[[], float]] = {
        "ours": partial(bench.ours, bench.clean),
        "bare": bench.bare,
        "lhotse": bench.lhotse,
        "copies": partial(bench.ours, bench.copied),
        "plain": partial(bench.plain_chain, False),
        "plain_wav_rooms": partial(bench.plain_chain, True),
        "one_job": partial(jobs_seconds, bench, 1),
        "two_jobs": partial(jobs_seconds, bench, 2),
    }
    times = timed(runs, rounds)
    audio = sum(cut.duration for cut in bench.copied)
    found = {
        "vs_lhotse": ratio(times["lhotse"], times["ours"]),
        "vs_bare": ratio(times["bare"], times["ours"]),
        "augmented_xrt": round(audio / median(times["copies"])),
        "vs_plain_chain": ratio(times["plain"], times["copies"]),
        "vs_plain_wav_rooms": ratio(times["plain_wav_rooms"], times["copies"]),
        "two_jobs": ratio(times["one_job"], times["two_jobs"]),
        "peak_mb": round(bench.peak_mb()),
    }
    return found, table(bench, times)


def table(bench: Bench, times: dict[str, list[float]]) -> str:
    """Format milliseconds and shares of the parts of an utterance and of a copy, for each kind and for all."""
    from tabulate import tabulate

    rows = []
    for name, cuts in (
        ("clean", bench.clean),
        *((kind, [cut for cut in bench.copied if cut.steps[0]["kind"] == kind]) for kind in KINDS),
        ("all kinds", bench.copied),
    ):
        parts = bench.shares(cuts)
        total = sum(parts.values())
        rows.append([name, *(f"{ms:.2f} ({100 * ms / total:.0f} %)" for ms in parts.values()), f"{total:.2f}"])
    text = tabulate(rows, ["ms an utterance", *parts, "sum"], tablefmt="github", disable_numparse=True)
    clean, copy = (1000 * median(times[n]) / len(c) for n, c in (("ours", bench.clean), ("copies", bench.copied)))
    return f"{text}\n\nIn the store, with index and checksum: clean {clean:.2f} ms, copies {copy:.2f} ms"


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # from the compared libraries
    sys.exit(benchmark(__doc__, measure, rounds=5, utterances=96))
