"""Shared functions of the benchmarks; importing this module makes the toolkit and tests/ importable."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


def need(*packages: str) -> None:
    """Exit with a message of one line unless these packages, and the toolkit's core packages, can be imported."""
    core = ("torch", "lhotse", "kaldiio", "soundfile", "soxr")
    missing = [name for name in (*core, *packages) if find_spec(name) is None]
    if missing:
        sys.exit(
            f"error: {sys.argv[0]}: this Python lacks {', '.join(missing)}. Fix: run `. path.sh && ser_environment "
            "dev` in the toolkit's folder, then the same command in that shell"
        )


def parser_of(text: str | None) -> argparse.ArgumentParser:
    """Make a parser with the docstring of a benchmark as its help, and --json."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    return parser


def show(found: Mapping[str, object], as_json: bool, text: str = "") -> None:
    """Print figures, one on each line, and a text after them; or only the figures as JSON."""
    lines = "".join(f"{name:18} {value}\n" for name, value in found.items())
    print(json.dumps(found) if as_json else f"{lines}\n{text}".rstrip())


def benchmark(text: str | None, measure: Callable[..., Any], **options: Any) -> int:
    """Run a program that measures and prints.

    Args:
        measure: gets a temporary folder and the options; gives figures, or figures and a text.
        options: name -> default.
    """
    parser = parser_of(text)
    for name, default in options.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    given = vars(parser.parse_args())
    as_json = given.pop("json")
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), **given)
    show(*((found[0], as_json, found[1]) if isinstance(found, tuple) else (found, as_json)))
    return 0


def seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def timed(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[Any]]:
    """Call each function once in each round, after a warm-up round; returns the results of all rounds."""
    found: dict[str, list[Any]] = {name: [] for name in runs}
    for _ in range(1 + rounds):
        for name, run in runs.items():
            found[name].append(run())
    return {name: own[1:] for name, own in found.items()}


def peak_mb() -> float:
    """Return the largest resident size of this process; ru_maxrss would include that of the parent."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def ratio(one: list[float], other: list[float]) -> float:
    """Return the median over rounds of a ratio."""
    return round(median(a / b for a, b in zip(one, other, strict=True)), 3)
