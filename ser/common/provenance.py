"""What a result was made with."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ser
from ser.common.files import digest

PACKAGES = ("torch", "numpy", "lhotse", "kaldiio", "soundfile", "soxr")


def provenance() -> dict[str, Any]:
    """code_hash (the library's source files by content), git_revision, and the versions that decide numbers."""
    files = sorted(Path(ser.__file__).parent.rglob("*.py"))
    return {"code_hash": digest(*files), "git_revision": _git_revision(), "versions": _versions()}


def _git_revision() -> str:
    """The commit of the toolkit, with "+" where files differ from it, or the release where there is no git."""
    root = Path(__file__).resolve().parents[2]
    try:
        top = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=True
        ).stdout.strip()
        if Path(top) != root:  # a copy within somebody else's repository
            return f"release {ser.__version__}"
        revision = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "-C", str(root), "status", "--porcelain", "--", "ser", "steps", "local"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return f"release {ser.__version__}"
    return revision + ("+" if changed else "")


def _versions() -> dict[str, str]:
    """Versions of the interpreter, the toolkit and the libraries that decide numbers."""
    found = {"python": platform.python_version(), "ser": ser.__version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found
