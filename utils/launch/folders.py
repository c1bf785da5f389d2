"""The hidden folder next to the logs with the files of a launcher and its jobs."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

LOCK = "lock"


def make_folder(program: str, logs: Path) -> tuple[Path, IO[bytes] | None]:
    """Make a folder for one call, <logs>/.<program>.<host>.<random>.

    Returns:
        The folder, and its lock, which is held as long as it is open; None: the file system has no locks.

    Raises:
        OSError: it cannot be made.
    """
    folder = Path(tempfile.mkdtemp(prefix=_prefix(program), dir=logs))
    new = folder / f".{LOCK}"
    lock = new.open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return folder, None
    new.rename(folder / LOCK)
    return folder, lock


def remove_leftovers(program: str, logs: Path) -> None:
    """Remove the folders of killed calls on this machine: those whose lock is free."""
    for folder in logs.glob(f"{_prefix(program)}*"):
        with contextlib.suppress(OSError), (folder / LOCK).open("rb+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)


def _prefix(program: str) -> str:
    return f".{program}.{os.uname().nodename}."


def unwritable(path: Path, error: OSError) -> str:
    """The message for a file or folder that cannot be written."""
    fix = "Make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Make it writable or choose another place"
    return f"{path}: cannot be written: {error.strerror or error}. {fix}, then run the same command again"


def writing_fails(folder: Path) -> OSError | None:
    """The error of writing a small file into a folder, if there is one."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            file.write(bytes(1 << 13))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None


def working_folder() -> Path:
    """The working folder as the shell names it; its real path may be an automount of this machine alone."""
    named = os.environ.get("PWD", "")
    return Path(named) if named and os.path.isdir(named) and os.path.samefile(named, ".") else Path.cwd()
