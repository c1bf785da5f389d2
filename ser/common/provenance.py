"""What a result was made with."""

from __future__ import annotations

import ast
import platform
import subprocess
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ser
from ser.common.files import digest

PACKAGES = ("torch", "numpy", "lhotse", "kaldiio", "soundfile", "soxr")

# What makes a result of settings and data; the hash of the data names features, labels and splits.
DECIDING = (
    *("augment/spectral.py", "frontends/preprocess.py", "frontends/trainable.py"),
    *("batches/*.py", "nets/*.py", "training/*.py", "scoring/decode.py"),
)


def provenance() -> dict[str, Any]:
    """code_hash, git_revision, and the versions that decide numbers."""
    return {"code_hash": code_hash(), "git_revision": _git_revision(), "versions": _versions()}


@cache
def code_hash() -> str:
    """Digest of the source files that make a result of settings and data, without docstrings and lines of comments."""
    root = Path(ser.__file__).parent
    files = {path.relative_to(root).as_posix(): path for name in DECIDING for path in root.glob(name)}
    return digest({name: _meaning(path) for name, path in files.items()})


def _meaning(path: Path) -> list[str]:
    """The lines of a source file without those of docstrings, comments and blank ones."""
    text = path.read_text(encoding="utf-8")
    documented = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, False) is not None:
            documented |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = enumerate(text.splitlines(), 1)
    return [line for n, line in lines if n not in documented and line.strip() and not line.lstrip().startswith("#")]


def _git_revision() -> str:
    """The commit of the toolkit, with "+" where files differ from it, or the release where there is no git."""
    root = Path(__file__).resolve().parents[2]

    def git(*words: str) -> str:  # without a lock, which a killed process would leave in the checkout
        command = ["git", "--no-optional-locks", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    with suppress(OSError, subprocess.CalledProcessError):
        if Path(git("rev-parse", "--show-toplevel")) == root:  # no copy within somebody else's repository
            changed = git("status", "--porcelain", "--", "ser", "steps", "local")
            return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    return f"release {ser.__version__}"


def _versions() -> dict[str, str]:
    """Versions of the interpreter, the toolkit and the libraries that decide numbers."""
    found = {"python": platform.python_version(), "ser": ser.__version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found
