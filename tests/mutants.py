#!/usr/bin/env python3
"""Mutation testing of the code that computes results: make one change at a time, and list those that no test detects.

./tests/mutants.py [--number 10] [--seed 0] [group ...]

A change swaps an operator or a comparison, takes away a `not`, or moves a number by one, in a copy of the repository.
Some change nothing that can be seen (a tolerance, the size of a block): each survivor has to be looked at.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
# Group -> files to change, and tests that should detect it.
GROUPS = {
    "scoring": (
        ["ser/common/metrics.py", "ser/scoring/pooled.py"],
        ["tests/common/test_metrics.py", "tests/scoring/test_pooled.py"],
    ),
    "splits": (["ser/corpora/splits.py"], ["tests/corpora/test_splits.py", "tests/corpora/test_csv.py"]),
    "class_weights": (["ser/training/class_weights.py"], ["tests/training/test_schedule.py"]),
    "pooling": (
        ["ser/nets/pooling.py", "ser/nets/statistics.py"],
        ["tests/nets/test_pooling.py", "tests/nets/test_statistics.py"],
    ),
    "statistics": (
        [f"ser/findings/stats/{name}.py" for name in ("bootstrap", "effects", "tests", "variance")],
        [
            f"tests/findings/test_{name}.py"
            for name in ("effects", "resampling", "findings", "calibration", "sampled_shapley", "grid_tables")
        ],
    ),
}
SWAPPED: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


def changes(tree: ast.AST) -> Iterator[tuple[int, Callable[[], None]]]:
    """Yield (line, function that makes the change) for every possible change of a tree; each needs a fresh tree."""
    skipped = {node for part in ast.walk(tree) for node in _annotations(part)}
    node: Any
    for node in ast.walk(tree):
        if node in skipped:
            continue
        for name, value in ast.iter_fields(node):
            if type(value) in SWAPPED:
                yield node.lineno, partial(setattr, node, name, SWAPPED[type(value)]())
        if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPPED:
            yield node.lineno, partial(node.ops.__setitem__, 0, SWAPPED[type(node.ops[0])]())
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            yield node.lineno, partial(setattr, node, "value", 1 + node.value)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node.lineno, partial(setattr, node, "operand", ast.UnaryOp(ast.Not(), node.operand))


def _annotations(node: ast.AST) -> Iterator[ast.AST]:
    for name in ("annotation", "returns"):
        if isinstance(found := getattr(node, name, None), ast.AST):
            yield from ast.walk(found)


def mutants(path: Path) -> list[tuple[int, str]]:
    """List (line, full text) of each changed version of a file."""
    text = path.read_text(encoding="utf-8")
    found = []
    for number in range(len(list(changes(ast.parse(text))))):
        tree = ast.parse(text)
        line, change = list(changes(tree))[number]
        change()
        found.append((line, ast.unparse(tree)))
    return found


def survivors(group: str, number: int, seed: int, copy: Path) -> list[str]:
    """List the changes of a group that its tests do not detect, as "file:line: code"."""
    files, tests = GROUPS[group]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy), "SER_ROOT": str(copy)}  # also after `. path.sh`

    def passes() -> bool:
        try:
            return not subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=600).returncode
        except subprocess.TimeoutExpired:
            return False

    if not passes():
        raise SystemExit(f"error: {' '.join(tests)} fail before anything is changed")
    chosen = [(name, line, text) for name in files for line, text in mutants(ROOT / name)]
    random.Random(seed).shuffle(chosen)
    found = []
    for name, line, text in tqdm(chosen[:number], group):
        path = copy / name
        original = path.read_text(encoding="utf-8")
        path.write_text(text, encoding="utf-8")
        if passes():
            found.append(f"{name}:{line}: {original.splitlines()[line - 1].strip()}")
        path.write_text(original, encoding="utf-8")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="group", help=f"of {', '.join(GROUPS)}; none: all")
    parser.add_argument("--number", type=int, default=10, help="changes of each group")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of changes")
    options = parser.parse_args()
    if unknown := [name for name in options.groups if name not in GROUPS]:
        parser.error(f"{unknown[0]}: no group; there is {', '.join(GROUPS)}")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "ser"
        tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in tracked.split("\0")[:-1]:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
        for group in options.groups or GROUPS:
            found = survivors(group, options.number, options.seed, copy)
            print(f"{group}: {len(found)} of {options.number} changes survive", *found, sep="\n  ", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
