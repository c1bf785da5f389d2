#!/usr/bin/env python3
"""Peak memory of a training on real TESS + RAVDESS, with the utterances once and eight times.

    python tests/bench/memory.py [--json] [--times 8] [--steps 300]

The archives are copied, so the features take eight times the disk too; a passage over all of them and a validation are
part of each run. `peak_mb` is the process's greatest resident size, less what stands before any data is read;
`peak_ratio` is that of the two runs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from needs import need, parser_of, peak_mb, show

need()

import numpy as np
from bench_corpora import prepared

from ser.batches import Part, open_data
from ser.config import load
from ser.training import Trainer


def repeated(part: Part, times: int, folder: Path) -> Part:
    """The part with every utterance so many times, each time from a copy of the archives."""
    places = {key: part.reader.places[key] for key in part.ids}
    for number in range(times):
        copies: dict[str, str] = {}
        for key, (path, offset) in list(places.items())[: len(part)]:
            if path not in copies:
                copies[path] = str(folder / f"{part.corpus}.{part.name}.{number}.{Path(path).name}")
                shutil.copyfile(path, copies[path])
            part.reader.places[f"{key}-{number}"] = (copies[path], offset)
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


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--times", type=int, default=8)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        folder = options.folder
        print(json.dumps(run(folder / "data", folder / "dump", folder, options.alone, options.steps)))
        return 0
    found = {}
    with tempfile.TemporaryDirectory() as name:
        prepared(Path(name), ("tess", "ravdess"))
        for times in (1, options.times):
            command = [sys.executable, __file__, "--alone", str(times), "--folder", name, "--steps", str(options.steps)]
            result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found |= {f"{key}_{times}x": value for key, value in json.loads(result.stdout).items()}
    found["peak_ratio"] = round(found[f"peak_mb_{options.times}x"] / found["peak_mb_1x"], 3)
    show(found, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
