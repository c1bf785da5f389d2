"""Files that are whole or absent: everything is written beside its name and renamed into place."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ser.common.errors import InputError

log = logging.getLogger(__name__)
LAUNCHERS = ("train_cmd", "cpu_cmd")  # of cmd.sh


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it into place when the block ends well, remove it otherwise.

    The block may make a file or a folder; a folder replaces an earlier one whole, in one step where the system can.

    Raises:
        InputError: the disk is full or the place cannot be written.
    """
    path = Path(path)
    # Unlike any other, also among machines that share a disk; the suffix stays last, since libraries go by it.
    temporary = path.with_name(f".tmp.{secrets.token_hex(6)}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if temporary.is_dir() and path.is_dir():
            old = temporary
            if not exchange_names(temporary, path):
                old = path.with_name(f".old.{secrets.token_hex(6)}.{path.name}")
                path.rename(old)
                temporary.rename(path)
            shutil.rmtree(old)
        else:
            os.replace(temporary, path)
        if not any(part.startswith(".tmp.") for part in path.parts):  # else it is a part of what is being written
            log.debug("wrote %s", path)
    except OSError as error:
        if error.errno is None:  # no error of the system: of a damaged file that is read, such as gzip's
            raise
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            _remove(temporary)


def exchange_names(one: Path, other: Path) -> bool:
    """Have two files or folders change names in one step, so that a reader always finds one of them under each name.

    Args:
        one: a path.
        other: a path on the same file system.

    Returns:
        False where nothing was done, for the system or the file system cannot (Linux's renameat2, not on NFS).
    """
    import ctypes

    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    return rename is not None and rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


def check_regular(path: Path, fix: str) -> None:
    """Refuse what is no file, before it is opened: a named pipe keeps its reader waiting for ever.

    Args:
        fix: what to do where there is nothing.

    Raises:
        InputError: absent, a link to nothing, a folder, pipe, socket or device.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        link = ", but a link to none" if os.path.islink(path) else ""
        raise InputError(f"no such file{link}", path, fix) from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read ({getattr(error, 'strerror', None) or error})", path, fix) from None
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
        kind = kinds.get(stat.S_IFMT(mode), "device")
        fix = "name a file in it" if kind == "folder" else "save in a file what it gives, and name that"
        raise InputError(f"a {kind}, not a file", path, fix)


def unwritable(path: Path, error: OSError) -> InputError:
    """The error of a file that could not be written.

    Args:
        path: of the file.
        error: what writing it raised.
    """
    return InputError(
        f"cannot be written ({error.strerror or error})",
        path,
        "make room or choose another place, then run the same command again",
    )


def lock_file(file: IO[Any], wait: bool = False, shared: bool = False) -> bool:
    """Lock an open file until it is closed.

    Args:
        file: open.
        wait: for another process that holds it.
        shared: whether others may hold such a lock at the same time.

    Returns:
        False where another process holds it and `wait` is false.

    Raises:
        InputError: its file system has no locks.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:  # ENOLCK, ENOSYS, EOPNOTSUPP
        raise _no_locks(file.name, error.strerror) from error
    return True


def _no_locks(name: str, reason: str | None) -> InputError:
    return InputError(
        f"cannot be locked ({reason}), so that jobs would do the same work twice",
        name,
        (
            "mount its file system with locks (NFS: without nolock; Lustre: with flock), or choose "
            "another place (--exp, --dump)"
        ),
    )


def check_locks(folder: Path) -> None:
    """Have another process ask for a lock that this one holds, before jobs rely on locks there.

    Args:
        folder: made where it is not there.

    Raises:
        InputError: it has no locks or gives both of them one, or cannot be written.
    """
    ask = (
        "import fcntl, sys\n"
        "try: fcntl.flock(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except BlockingIOError: print('held')"
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".lock.", dir=folder) as file:
            lock_file(file)
            command = [sys.executable, "-I", "-S", "-c", ask, file.name]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:  # so that nothing is known of the lock
                raise _no_locks(file.name, done.stderr.strip().rpartition("\n")[2])
            if "held" not in done.stdout:
                raise _no_locks(file.name, "two processes get one lock")
    except OSError as error:
        raise unwritable(folder, error) from error


def check_cluster_locks(*folders: Path) -> None:
    """`check_locks`, where jobs go to a cluster (train_cmd, cpu_cmd); not in a folder of which jobs can only read.

    Args:
        folders: of one that is not there yet, the nearest above it is checked.

    Raises:
        InputError: as `check_locks`.
    """
    if all((os.environ.get(name) or "run.sh").split()[:1] in (["run.sh"], ["run.pl"]) for name in LAUNCHERS):
        return
    for folder in folders:
        there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
        if os.access(there, os.W_OK):
            check_locks(there)


@contextmanager
def hold(lock: Path, wait: bool = False) -> Iterator[IO[str] | None]:
    """Hold a lock file, which is removed at the end; None where another process holds it and `wait` is false.

    Args:
        lock: of the lock file, in a folder that is there.
        wait: for another process that holds it.
    """
    while True:
        with lock.open("a+", encoding="utf-8") as file:
            if not lock_file(file, wait):
                yield None
                return
            try:
                current = os.path.samestat(os.fstat(file.fileno()), os.stat(lock))
            except FileNotFoundError:
                current = False
            if current:  # otherwise its holder removed it between the opening and the locking
                try:
                    yield file
                finally:
                    lock.unlink(missing_ok=True)
                return


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock of a file or folder, so that two processes do not make it at once; the second waits and reports it.

    Args:
        path: what is being made; the lock lies beside it.
        what: for the message, such as "data/ravdess is being prepared".
    """
    lock = lock_of(path)
    with ExitStack() as stack:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            if stack.enter_context(hold(lock)) is None:
                print(f"{what} by another process; waiting for it", file=sys.stderr)
                stack.enter_context(hold(lock, wait=True))
        except OSError as error:
            raise unwritable(path, error) from error
        yield


def lock_of(path: Path) -> Path:
    """The lock file of a file or folder, beside it."""
    return path.with_name(f".{path.name}.lock")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Args:
        path: of the file.
        text: its content, written as UTF-8.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def append_text(path: Path, text: str) -> None:
    """Add text to the end of a file, such as a log.

    Args:
        path: of the file, which is made where it is not there.
        text: written as UTF-8.

    Raises:
        InputError: the disk is full or the place cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise unwritable(path, error) from error


def write_section(path: Path, text: str) -> None:
    """Put a section of Markdown, which begins with its `## ` line, at the end of a file; one of that name goes.

    Args:
        path: of the Markdown file, which is made where it is not there.
        text: the section, from its `## ` line on.
    """
    title = text.partition("\n")[0]
    there = path.read_text(encoding="utf-8") if path.is_file() else ""
    sections = [part.strip() for part in re.split(r"(?m)^(?=## )", there)]
    kept = [part for part in sections if part and part.partition("\n")[0] != title]
    write_text(path, "\n\n".join([*kept, text]))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all, keys in the order given.

    Args:
        path: of the file.
        value: what JSON can hold; NaN is written as NaN.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: it is absent or is not JSON.
    """
    check_regular(Path(path), "run the stage that writes it")
    log.debug("reading %s", path)
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"not readable as JSON ({error})", path, "remove it and run its stage again") from None


def digest(*parts: Any) -> str:
    """Sixteen hexadecimal digits that name a value: paths by content, anything else by its JSON form."""
    state = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else json.dumps(part, sort_keys=True).encode()
        state.update(len(data).to_bytes(8, "little") + data)
    return state.hexdigest()


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
