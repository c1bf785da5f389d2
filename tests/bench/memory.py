#!/usr/bin/env python3
"""Peak memory of a training on real TESS + RAVDESS, with the utterances once and eight times.

    python tests/bench/memory.py [--json] [--times 8] [--steps 300]

The archives are copied, so the features also take eight times the disk space. Each run has a pass over all of them and
a validation. `peak_mb` is the largest resident size of the process, less its size before any data is read; `peak_ratio`
is the ratio of the two runs.
"""

from __future__ import annotations

import multiprocessing
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from needs import benchmark, need, peak_mb

need()

import numpy as np
from bench_corpora import prepared

from ser.batches import Part, open_data
from ser.config import load
from ser.training import Trainer


def repeated(part: Part, times: int, folder: Path) -> Part:
    """Repeat every utterance of a part, each time from a copy of the archives."""
    places = {key: part.reader.positions[key] for key in part.ids}
    for number in range(times):
        copies: dict[str, str] = {}
        for key, (path, offset) in list(places.items())[: len(part)]:
            if path not in copies:
                copies[path] = str(folder / f"{part.corpus}.{part.name}.{number}.{Path(path).name}")
                shutil.copyfile(path, copies[path])
            part.reader.positions[f"{key}-{number}"] = (copies[path], offset)
    return replace(
        part,
        ids=[f"{key}-{number}" for number in range(times) for key in part.ids],
        speakers=part.speakers * times,
        targets=np.tile(part.targets, times),
        frames=np.tile(part.frames, times),
        original=np.tile(part.original, times),
        genders=np.tile(part.genders, times),
        votes=np.tile(part.votes, (times, 1)),
    )


def run(data_root: Path, dump: Path, folder: Path, times: int, steps: int) -> dict[str, float]:
    experiment = load(
        "strict", None, ["corpora=[tess,ravdess]", "augment.copies=0", "training.device=cpu", "temporal=lstm"]
    )
    data = open_data(experiment, None, data_root, dump)
    train, valid = ({c: repeated(p, times, folder) for c, p in data.parts(name).items()} for name in ("train", "valid"))
    before = peak_mb()
    trainer = Trainer(experiment, folder, data.heads, train, valid, {})
    trainer._validate(1)
    trainer.run_steps(steps)
    trainer._validate(2)
    return {"utterances": sum(map(len, (*train.values(), *valid.values()))), "peak_mb": round(peak_mb() - before, 1)}


def measure(folder: Path, times: int, steps: int) -> dict[str, float]:
    roots = prepared(folder, ("tess", "ravdess"))
    found: dict[str, float] = {}
    for number in (1, times):
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # a process of its own
            own = pool.apply(run, (*roots, folder, number, steps))
        found |= {f"{key}_{number}x": value for key, value in own.items()}
    return found | {"peak_ratio": round(found[f"peak_mb_{times}x"] / found["peak_mb_1x"], 3)}


if __name__ == "__main__":
    sys.exit(benchmark(__doc__, measure, times=8, steps=300))
