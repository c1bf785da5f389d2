"""Versions of code and libraries that made a result."""

from __future__ import annotations

import ast
import platform
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ser
from ser.common.files import digest

PACKAGES = ("torch", "numpy", "lhotse", "kaldiio", "soundfile", "soxr")

# Source files that affect a result, given settings and data; the hash of the data covers features, labels and splits.
RESULT_AFFECTING = (
    *("augment/spectral.py", "common/batching.py", "common/seeding.py", "common/tensors.py", "scoring/decode.py"),
    *("batches/*.py", "frontends/*.py", "nets/*.py", "training/*.py"),
)


def provenance(more: Sequence[str] = ()) -> dict[str, Any]:
    """code_hash, git_revision, and versions of the libraries that affect results, and of `more`."""
    return {"code_hash": code_hash(), "git_revision": _git_revision(), "versions": _versions(more)}


@cache
def code_hash() -> str:
    """Digest of the source files that affect a result, without docstrings and comment lines."""
    root = Path(ser.__file__).parent
    files = {path.relative_to(root).as_posix(): path for name in RESULT_AFFECTING for path in root.glob(name)}
    return digest({name: _code_lines(path) for name, path in files.items()})


def _code_lines(path: Path) -> list[str]:
    """The lines of a source file without docstrings, comment lines and blank lines."""
    text = path.read_text(encoding="utf-8")
    docstring_lines = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, False) is not None:
            docstring_lines |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = [line for number, line in enumerate(text.splitlines(), 1) if number not in docstring_lines]
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _git_revision() -> str:
    """The commit of the toolkit, with "+" if files differ from it; the release without git."""
    root = Path(__file__).resolve().parents[2]

    def git(*words: str) -> str:  # no lock: a killed process would leave it in the checkout
        command = ["git", "--no-optional-locks", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    with suppress(OSError, subprocess.CalledProcessError):
        if Path(git("rev-parse", "--show-toplevel")) == root:  # not a copy inside another repository
            changed = git("status", "--porcelain", "--", "ser", "steps", "local")
            return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    return f"release {ser.__version__}"


def _versions(more: Sequence[str]) -> dict[str, str]:
    """Versions of the interpreter, the toolkit, the libraries that affect results, and others."""
    versions = {"python": platform.python_version(), "ser": ser.__version__}
    for name in (*PACKAGES, *more):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    return versions
