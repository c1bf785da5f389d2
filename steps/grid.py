#!/usr/bin/env python3
"""The experiments of a grid (conf/grids/): list them, show their status, and run them."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # launchers of clusters pass PATH alone

from ser.common import InputError, guarded, write_json
from ser.common.cli import Parser
from ser.common.files import check_cluster_locks
from ser.common.jobs import check_job, start_job
from ser.common.progress import VARIABLE
from ser.grid import Grid, Places, open_grid

COMMANDS = """commands:
  list       print the folder of each cell, a line a cell
  root       print the folder of the experiments, which the settings name; where jobs go to a cluster (train_cmd,
             cpu_cmd), check before that locks work in --exp, --data and --dump
  corpora    print the available corpora, and the variable that holds its folder
  fetch      stage 0 of the front end: a pretrained model
  status     print what is done, running, failed and missing, and draw a picture of it
  features   stages 2 and 3 of all experiments: before the jobs (no option), a job (--job), after them (--finish true)
  statistics stage 3, after the features: what trainings read of them, such as mean and deviation of each speaker
  run        stages 4 to 6 and zero-shot scoring of all that is missing; any number of these may run at once"""


@guarded
def main() -> int:
    """Run a command."""
    parser = Parser(description=__doc__, epilog=COMMANDS, formatter_class=argparse.RawDescriptionHelpFormatter)
    functions = {"fetch": fetch, "status": status, "features": features, "statistics": statistics, "run": run}
    names = ["list", "root", "corpora", *functions]
    parser.add_argument("command", choices=names, metavar="command", help="see below")
    parser.add_argument("overrides", nargs="*", help="settings, such as training.patience=3")
    parser.add_argument("--grid", default="paper", help="conf/grids/<grid>.yaml (default: %(default)s)")
    parser.add_argument("--preset", default="strict", help="conf/presets/<preset>.yaml (default: %(default)s)")
    parser.add_argument("--only", default="", help="available corpora, such as tess,ravdess (default: all)")
    parser.add_argument("--folds", default="", help='such as "1 2" (default: all)')
    parser.add_argument("--seeds", default="0", help='such as "0 1 2" (default: %(default)s)')
    parser.add_argument("--recipe", type=Path, help="recipe folder whose conf/ comes first")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where stage 1 wrote")
    parser.add_argument("--dump", type=Path, default=Path("dump"), help="root of the feature store")
    parser.add_argument("--exp", type=Path, default=Path("exp"), help="where the experiments of all settings lie")
    parser.add_argument("--kept", type=Path, help="ledgers that are kept: what they hold is done")
    parser.add_argument("--kept-code", choices=["same", "any"], default="same", help="code of kept runs that count")
    parser.add_argument("--out", type=Path, help="status: the picture (default: status.png in the root)")
    parser.add_switch("--complete", help="status: 1 unless all is done")
    parser.add_argument("--job", type=int, default=0, help="features, statistics, run: this job, from 1")
    parser.add_argument("--nj", type=int, default=1, help="features, statistics, run: number of jobs")
    parser.add_argument("--pack", type=int, default=1, help="run: so many processes, which share the job's device")
    parser.add_switch("--finish", help="features: join what jobs made")
    parser.add_argument("--run", default="", help="run: a name that all its jobs have: none tries again what failed")
    options = parser.parse_intermixed_args()
    kept = options.kept, options.kept_code == "any"
    places = Places(options.recipe, options.data, options.dump, options.exp, *kept)
    only = options.only.replace(",", " ").split()
    folds, seeds = _numbers("--folds", options.folds), _numbers("--seeds", options.seeds)
    grid = open_grid(places, options.preset, options.overrides, options.grid, only, folds, seeds)
    if len(grid.cells) < grid.size and options.command in ("list", "corpora", "status"):
        print(grid.summary, file=sys.stderr)
    if options.command in functions:
        return functions[options.command](grid, options) or 0
    if options.command == "list":
        from ser.grid.status import estimated_time

        print(grid.arithmetic, file=sys.stderr)
        with suppress(InputError):  # of a split by rule, whose folds are unknown before stage 1
            print(estimated_time(grid), file=sys.stderr)
        print(*(cell.name for cell in grid.cells), sep="\n")
    elif options.command == "root":
        check_cluster_locks(places.exp, places.data, places.dump)
        print(grid.root)
    else:
        print(*(f"{corpus}\t{variable}" for corpus, variable in grid.variables().items()), sep="\n")
    return 0


def _numbers(option: str, text: str) -> list[int]:
    words = text.replace(",", " ").split()
    if not all(word.isdecimal() for word in words):
        raise InputError('whole numbers, such as "0 1 2"', f"{option} {text}")
    return [int(word) for word in words]


def status(grid: Grid, options: argparse.Namespace) -> int:
    """Print the table, and draw it."""
    from ser.grid.status import draw_status, read_grid_status, text_of

    grid_status = read_grid_status(grid)
    out = options.out or grid.root / "status.png"
    draw_status(grid_status, out)
    keys = ("combination", "task", "temporal", "pooling", "fold", "seed")
    rows = [
        {**{key: getattr(e, key) for key in keys}, "state": f.state.value, "reason": f.reason, "log": str(f.log or "")}
        for e, f in grid_status.experiments
    ]
    write_json(out.with_suffix(".json"), {"experiments": rows})
    print(text_of(grid_status), f"picture: {out}", sep="\n")
    return 1 if options.complete and not grid_status.complete else 0


def fetch(grid: Grid, options: argparse.Namespace) -> None:
    """Fetch the pretrained model of the front end."""
    from ser.frontends.pretrained import fetch_model

    fetch_model(grid.settings.frontend)


def features(grid: Grid, options: argparse.Namespace) -> None:
    """Copies and features; in jobs with one core each."""
    from ser.grid.features import compute, finish, prepare_grid

    if options.job:
        start_job(options.job, options.nj)
        computed, existing = compute(grid, options.job, options.nj)
        print(f"{computed} utterances computed, {existing} found done")
    elif options.finish:
        print(f"features of {finish(grid)} data dirs")
    else:
        print(prepare_grid(grid))


def statistics(grid: Grid, options: argparse.Namespace) -> None:
    """CMVN statistics of the features."""
    from ser.grid.features import grid_statistics

    job = options.job or 1
    start_job(job, options.nj)
    count, failed = grid_statistics(grid, job, options.nj)
    print(f"statistics of {count - failed} of {count} sets of data")


def run(grid: Grid, options: argparse.Namespace) -> int:
    """Run the missing experiments; exit code 1 if one failed, 75 after a signal, for a restart."""
    from ser.grid.run import Runner
    from ser.training.engine import Interrupted

    job = options.job or 1
    check_job(job, options.nj)
    if options.pack < 1:
        raise InputError("a number of processes from 1", f"--pack {options.pack}")
    if options.pack > 1:
        return run_packed(grid, options, job)
    if job > 1:
        os.environ.pop(VARIABLE, None)  # the first shows its progress
    try:
        failures = Runner(grid, options.run or secrets.token_hex(4), job).shard(options.nj)
    except Interrupted as signal:
        print(f"error: {signal}. What is done is saved. Rerun the same command to resume.", file=sys.stderr)
        return signal.exit_code
    return 1 if failures else 0


def run_packed(grid: Grid, options: argparse.Namespace, job: int) -> int:
    """Run the processes of a job. Each acts as a job of its own, with the log log/grid.<job>.<process>.log."""
    from ser.common.cores import default_threads
    from ser.grid.workers import run_workers

    threads = grid.settings.training.threads or max(1, default_threads() // options.pack)
    arguments = ["--pack", "1", "--nj", str(options.nj * options.pack), "--run", options.run or secrets.token_hex(4)]
    command = [sys.executable, *sys.argv, *arguments, f"training.threads={threads}"]
    first = (job - 1) * options.pack
    logs = [grid.root / "log" / f"grid.{job}.{number}.log" for number in range(1, options.pack + 1)]
    print("logs:", *logs, flush=True)
    return run_workers({log: [*command, "--job", str(first + n)] for n, log in enumerate(logs, 1)})


if __name__ == "__main__":
    sys.exit(main())
