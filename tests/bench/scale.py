#!/usr/bin/env python3
"""Growth of time and memory with the size of a corpus, from a recipe's first stage to the report.

    python tests/bench/scale.py [--json] [--n 500] [--only start,prepare]

Synthetic corpora of n, 4 n and 16 n utterances (0.1 s of noise at 8 kHz, 20 for each speaker, five folds) are processed
by the stages, each in a process of its own. For each stage it prints the CPU seconds of the process and its children,
its largest resident size in MB, and the exponent e of the growth between the two larger sizes (seconds ~ n^e; 1 is
linear). `speakers` prepares one fold of a corpus with a fold for each speaker: n / 16 speakers with four utterances
each. The networks are small, and the runs that pool, status, ledger, findings and report read are generated, since only
the work around training is measured.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from needs import ROOT, need, parser_of

need()

sys.path.insert(0, str(ROOT / "tests" / "findings"))

GRID = "corpora: [scale]\ncombinations: singles\ntask: [multi]\ntemporal: [lstm]\npooling: [mu, mean]\n"
SPLITS = {"scale": "{groups: 5, texts: disjoint}", "speakers": "{groups: speakers}"}
FOLDS = 5
SETTINGS = [
    *("corpora=[scale]", "augment.copies=0", "temporal=lstm", "pooling=mu", "training.device=cpu"),
    *("network.prep_size=16", "network.lstm.hidden_size=8", "training.precision=float32", "training.threads=1"),
    "batches.normalisation=speaker",
]


def write_table(folder: Path, corpus: str, speakers: int, each: int) -> None:
    """Write a table and its wav files."""
    import wave

    import numpy as np

    classes, rng = ("angry", "happy", "neutral", "sad"), np.random.default_rng(speakers)
    place = folder / "corpora" / corpus
    place.mkdir(parents=True)
    lines = ["path,speaker,emotion,text_id"]
    for speaker in range(speakers):
        samples = rng.integers(-9000, 9000, (each, 800), dtype=np.int16)
        for number in range(each):
            name = f"{speaker}_{number}.wav"
            with wave.open(str(place / name), "wb") as file:
                file.setparams((1, 2, 8000, 800, "NONE", ""))
                file.writeframes(samples[number].tobytes())
            lines.append(f"{name},s{speaker:05d},{classes[number % 4]},t{number // 4}")
    (place / "table.csv").write_text("\n".join(lines) + "\n")


def write_protocol(recipe: Path, corpus: str, split: str) -> None:
    """Write the protocol of a corpus whose preparer reads a table."""
    from made import PROTOCOL

    folder = recipe / "conf" / "corpora"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{corpus}.yaml").write_text(PROTOCOL.format(corpus=corpus, split=split) + "preparer: csv\n")


def make(folder: Path, n: int) -> None:
    """Write the recipe and the corpora."""
    for corpus, split in SPLITS.items():
        write_protocol(folder / "recipe", corpus, split)
    grids = folder / "recipe" / "conf" / "grids"
    grids.mkdir()
    (grids / "scale.yaml").write_text(GRID)
    write_table(folder, "scale", n // 20, 20)
    write_table(folder, "speakers", n // 16, 4)


def script(folder: Path, name: str, *words: str | Path) -> None:
    """Run a script of steps/ as a user does."""
    command = [sys.executable, str(ROOT / "steps" / name), *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)


def prepare(folder: Path, n: int, corpus: str = "scale", *options: str | Path) -> None:
    """Run stage 1."""
    table = folder / "corpora" / corpus / "table.csv"
    script(folder, "prepare.py", "--recipe", folder / "recipe", *options, corpus, table, folder / "data" / corpus)


def speakers(folder: Path, n: int) -> None:
    """Run stage 1 for an experiment with one of n / 16 folds."""
    from ser.config import load, write_experiment

    own = load("strict", folder / "recipe", ["corpora=[speakers]"])
    write_experiment(own, folder / "speakers.yaml")
    prepare(folder, n, "speakers", "--experiment", folder / "speakers.yaml")


def relabel(folder: Path, n: int) -> None:
    """Run stage 1 after one label has changed."""
    table = folder / "corpora" / "scale" / "table.csv"
    head, first, *lines = table.read_text().splitlines()
    table.write_text("\n".join([head, first.replace("angry", "sad"), *lines]) + "\n")
    prepare(folder, n)


def experiment(folder: Path):
    from ser.config import load

    return load("strict", folder / "recipe", SETTINGS)


def open_corpus(folder: Path):
    from ser.batches import open_data

    return open_data(experiment(folder), folder / "recipe", folder / "data", folder / "dump")


def open_store(folder: Path):
    from ser.features import FeatureStore
    from ser.frontends import build_frontend

    return FeatureStore(folder / "dump", folder / "data" / "scale", build_frontend(experiment(folder)))


def features(folder: Path, n: int) -> None:
    """Run stage 3."""
    store = open_store(folder)
    store.compute(1, 1)
    store.finish()
    store.link()


def index(folder: Path, n: int) -> None:
    """Read the index of the features."""
    store = open_store(folder)
    store.num_frames()
    store.reader()


def statistics(folder: Path, n: int) -> None:
    """Compute the levels and statistics of the features, the end of stage 3."""
    from ser.batches import compute_statistics

    assert compute_statistics(experiment(folder), folder / "recipe", folder / "data", folder / "dump") == 3


def start(folder: Path, n: int) -> None:
    """Run a training up to its first step, as a program like those of steps/."""
    from ser.common import guarded

    @guarded
    def train() -> int:
        from ser.training import Trainer

        data = open_corpus(folder)
        data.check_confounded("speaker")
        (folder / "run").mkdir(exist_ok=True)
        parts = data.parts("train"), data.parts("valid")
        trainer = Trainer(data.experiment, folder / "run", data.heads, *parts, data.hashes(), data.warnings())
        trainer.run_steps(1)
        return 0

    if train():
        sys.exit("error: no training")


def decode(folder: Path, n: int) -> None:
    """Write and read the files of the test part's posteriors."""
    import numpy as np

    from ser.scoring.posteriors import read_posteriors, write_posteriors
    from ser.scoring.result import score_part, write_result

    part = open_corpus(folder).parts("test")["scale"]
    posteriors = np.random.default_rng(0).dirichlet(np.ones(4), len(part)).astype(np.float32)
    entry = {"classes": part.classes, "utterances": len(part), "model": "m"}
    write_posteriors(folder / "decoded", "test", {"scale": (entry, zip(part.ids, posteriors, strict=True))})
    posteriors = read_posteriors(folder / "decoded", "test").array("scale", part.ids, part.classes)
    answers = posteriors.argmax(1)
    write_result(folder / "decoded" / "result.json", score_part(part, answers, posteriors), [(part, answers)])


def runs(folder: Path, n: int) -> None:
    """Generate results of two cells, five folds each, with an answer for each utterance; not measured."""
    from made_ledgers import answered, write_run

    from ser.grid import open_grid
    from ser.grid.cells import Places

    places = Places(folder / "recipe", folder / "data", folder / "dump", folder / "exp")
    root = open_grid(places, "strict", [], "scale").root
    for pooling in ("mu", "mean"):
        for fold in range(1, FOLDS + 1):
            speakers = [f"{speaker:05d}" for speaker in range(fold - 1, n // 20, FOLDS)]
            answers = {"scale": answered("scale", speakers, wrong={f"scale_{s}-sad-0" for s in speakers}, per_class=5)}
            write_run(root, ["scale"], ("multi", "lstm", pooling), fold, 0, answers, {})


def status(folder: Path, n: int) -> None:
    """Run the status of the grid."""
    recipe = ["--grid", "scale", "--recipe", folder / "recipe", "--exp", folder / "exp"]
    script(folder, "grid.py", "status", "--complete", "true", *recipe, "--data", folder / "data")


def ledger(folder: Path, n: int) -> None:
    """Make the ledger."""
    script(folder, "ledger.py", folder / "exp", "--grid", "scale", "--recipe", folder / "recipe")


def findings(folder: Path, n: int) -> None:
    """Make the tables of the ledger."""
    where = [folder / "exp" / "ledger", "--grid", "scale", "--recipe", folder / "recipe"]
    script(folder, "findings.py", *where, "--resamples", "100")


def pool(folder: Path, n: int) -> None:
    """Make the table over all folds."""
    script(folder, "pool.py", *(folder / "exp").glob("strict_*"))


def report(folder: Path, n: int) -> None:
    """Make the report page."""
    script(folder, "report.py", folder / "exp" / "findings")


MEASURED: dict[str, Callable[[Path, int], None]] = {
    "prepare": prepare,
    "prepare again": prepare,
    "relabel": relabel,
    "speakers": speakers,
    "features": features,
    "index": index,
    "statistics": statistics,
    "start": start,
    "decode": decode,
    "pool": pool,
    "status": status,
    "ledger": ledger,
    "ledger again": ledger,
    "findings": findings,
    "report": report,
}
MADE: dict[str, Callable[[Path, int], None]] = {"make": make, "runs": runs}
# Stage -> stages that it needs before it, unless they are measured too.
BEFORE = {name: ["make"] for name in MEASURED}
BEFORE |= {name: ["make", "prepare"] for name in ("prepare again", "relabel", "features")}
BEFORE |= {name: ["make", "prepare", "features"] for name in ("index", "statistics", "decode")}
BEFORE |= {"start": ["make", "prepare", "features", "statistics"]}
BEFORE |= {name: ["make", "prepare", "runs"] for name in ("pool", "status", "ledger")}
BEFORE |= {
    "ledger again": ["make", "prepare", "runs", "ledger"],
    "findings": ["make", "prepare", "runs", "ledger"],
    "report": ["make", "prepare", "runs", "ledger", "findings"],
}


def measure(program: str, name: str, folder: Path, n: int) -> dict[str, float]:
    """Measure CPU seconds and peak MB of a stage and of the processes that it starts and waits for."""
    command = [sys.executable, program, "--alone", name, "--folder", str(folder), "--size", str(n)]
    process = subprocess.Popen(command)
    _, code, usage = os.wait4(process.pid, 0)
    process.returncode = code
    if code:
        sys.exit(f"error: {name} of size {n} ended with {os.waitstatus_to_exitcode(code)}")
    return {"seconds": round(usage.ru_utime + usage.ru_stime, 2), "mb": round(usage.ru_maxrss / 1024)}


def exponent(smaller: float, larger: float, times: int) -> float:
    """Compute the exponent of growth of a number between two sizes of the given ratio."""
    return round(math.log(larger / smaller) / math.log(times), 2)


def table(found: dict[str, dict[str, dict[str, float]]], sizes: list[int]) -> str:
    """Format the results as Markdown."""
    head = ["", *(f"s, {n:,}" for n in sizes), *(f"MB, {n:,}" for n in sizes), "exponent"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for name, rows in found.items():
        values = [rows[str(n)] for n in sizes]
        cells = [f"{v['seconds']:.1f}" for v in values] + [f"{v['mb']:.0f}" for v in values]
        lines.append([name, *cells, str(exponent(values[-2]["seconds"], values[-1]["seconds"], 4))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def growth(
    text: str | None,
    program: str,
    made: dict[str, Callable[[Path, int], None]],
    measured: dict[str, Callable[[Path, int], None]],
    before: dict[str, list[str]],
    unit: str,
    default: int,
    least: int,
) -> int:
    """Measure all stages at three sizes, or run a single stage if started by `measure`.

    Args:
        text: the help.
        program: the file of the benchmark.
        made, measured: name -> what gets a folder and a size.
        before: stage -> stages that it needs before it, unless they are measured too.
        unit: name of the option with the smallest size; default, least: its values.
    """
    parser = parser_of(text)
    parser.add_argument(f"--{unit}", type=int, default=default, help=f"smallest size, at least {least} (%(default)s)")
    parser.add_argument("--only", default=",".join(measured), help="what is measured (default: all)")
    parser.add_argument("--alone", choices=[*made, *measured], help="do this in --folder, measure nothing")
    parser.add_argument("--folder", type=Path, help="of --alone")
    parser.add_argument("--size", type=int, help="of --alone")
    options = parser.parse_args()
    if options.alone:
        (made | measured)[options.alone](options.folder, options.size)
        return 0
    wanted, smallest = options.only.split(","), getattr(options, unit)
    if odd := [name for name in wanted if name not in measured]:
        parser.error(f"--only {odd[0]}: one of {', '.join(measured)}")
    if smallest < least:
        parser.error(f"--{unit} {smallest}: at least {least}")
    sizes = [smallest, 4 * smallest, 16 * smallest]
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in wanted}
    with tempfile.TemporaryDirectory() as place:
        for n in sizes:
            folder, done = Path(place) / str(n), set()
            for name in wanted:
                for needed in before[name]:
                    if needed not in done and needed not in wanted[: wanted.index(name)]:
                        measure(program, needed, folder, n)
                    done.add(needed)
                found[name][str(n)] = values = measure(program, name, folder, n)
                print(f"{n} {unit}: {name}: {values}", file=sys.stderr)
            shutil.rmtree(folder)
    print(json.dumps(found) if options.json else table(found, sizes))
    return 0


if __name__ == "__main__":
    sys.exit(growth(__doc__, __file__, MADE, MEASURED, BEFORE, "n", 500, least=160))
