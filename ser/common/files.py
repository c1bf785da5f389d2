"""Atomic writing of files, locks, digests: a file is written under a temporary name and renamed into place."""

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

from ser.common.errors import InputError, as_input_error
from ser.common.kinds import of_kind

log = logging.getLogger(__name__)
VERSION = re.compile(r"\.(.+)\.[0-9a-f]{12}")  # folder that a shared folder is a link to, see `atomic_path`
LAUNCHERS = ("train_cmd", "cpu_cmd")  # variables of cmd.sh


@contextmanager
def atomic_path(path: Path, shared: bool = False) -> Iterator[Path]:
    """Give a temporary path next to `path`; rename it to `path` if the block succeeds, otherwise remove it.

    The block may make a file or a folder. A folder replaces an earlier one as a whole, atomically if the system can.

    Args:
        path: of the file or folder.
        shared: whether other processes may read the folder while it is replaced. Where names cannot be exchanged (NFS),
            `path` is then a link to a folder beside it, since a link can be replaced atomically everywhere.

    Raises:
        InputError: the disk is full or the folder is not writable.
        OSError: of another file, which the block reads.
    """
    path = Path(path)
    if path.is_symlink() and not path.is_file():  # to a folder on another disk, which stays a link
        path = Path(os.path.realpath(path))
        if version := VERSION.fullmatch(path.name):
            path = path.with_name(version[1])
    # Unique also among machines that share a disk; the suffix stays last because libraries rely on it.
    temporary = path.with_name(f".tmp.{secrets.token_hex(6)}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if temporary.is_dir():
            _place_folder(temporary, path, shared)
        else:
            os.replace(temporary, path)
        if not any(part.startswith(".tmp.") for part in path.parts):  # else part of a folder
            log.debug("wrote %s", path)
    except OSError as error:
        named = Path(os.path.realpath(error.filename if isinstance(error.filename, str) else temporary))
        ours = Path(os.path.realpath(path.parent))
        written = named.is_relative_to(ours / temporary.name) or named in (ours / path.name, ours, *ours.parents)
        if error.errno is None or not written:  # of a file that the block reads, such as a damaged gzip file
            raise
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            _remove(temporary)


def _place_folder(new: Path, path: Path, shared: bool) -> None:
    """Give a folder the name `path`, and remove the one that had it."""
    token = secrets.token_hex(6)
    old, link = path.with_name(f".old.{token}.{path.name}"), new.with_name(f"{new.name}.link")
    if path.is_dir() and exchange_names(new, path):
        old = Path(os.path.realpath(new))
    elif shared and not _can_exchange(path.parent):
        version = path.with_name(f".{path.name}.{token}")
        link.symlink_to(version.name)
        new.rename(version)
        if path.is_symlink():
            old = path.parent / os.readlink(path)
        elif path.is_dir():  # of before the folder was shared
            path.rename(old)
        os.replace(link, path)
    elif path.is_dir():
        path.rename(old)
        new.rename(path)
    else:
        os.replace(new, path)
    if old.exists():
        shutil.rmtree(old)


def _can_exchange(folder: Path) -> bool:
    with tempfile.TemporaryDirectory(prefix=".tmp.", dir=folder) as scratch:
        one, other = Path(scratch, "one"), Path(scratch, "other")
        one.mkdir()
        other.mkdir()
        return exchange_names(one, other)


def exchange_names(one: Path, other: Path) -> bool:
    """Exchange the names of two files or folders atomically, so that readers always find both names.

    Args:
        one: a path.
        other: a path on the same file system.

    Returns:
        False if nothing was done, because the system cannot do it (renameat2 of Linux, not on NFS).
    """
    import ctypes

    at_fdcwd, rename_exchange = -100, 2  # of fcntl.h and linux/fs.h
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    names = os.fsencode(one), os.fsencode(other)
    return rename is not None and rename(at_fdcwd, names[0], at_fdcwd, names[1], rename_exchange) == 0


def check_regular(path: Path, fix: str) -> None:
    """Refuse a path that is not a regular file, before it is opened: opening a named pipe would block.

    Args:
        path: to check.
        fix: what to do if it is absent.

    Raises:
        InputError: it is absent, a broken link, a folder, pipe, socket or device.
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
        fix = "name a file in it" if kind == "folder" else "save its output in a file, and give that"
        raise InputError(f"a {kind}, not a file", path, fix)


def refuse_folder(error: OSError) -> None:
    """Raise the error for a folder that cannot be listed, as `onerror` of os.walk."""
    raise InputError(f"cannot be read ({error.strerror})", error.filename, "fix that, or move it away") from None


def unwritable(path: Path, error: OSError) -> InputError:
    """Make the error for a file that could not be written.

    Args:
        path: of the file.
        error: that writing raised.
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
        wait: whether to wait for another process that holds the lock.
        shared: whether other processes may hold a shared lock at the same time.

    Returns:
        False if another process holds it and `wait` is false.

    Raises:
        InputError: the file system has no locks.
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
    """Test the locks of a file system: a second process must not get a lock that this process holds.

    Args:
        folder: to test; created if absent.

    Raises:
        InputError: there are no locks, both processes get the lock, or the folder is not writable.
    """
    program = (
        "import fcntl, sys\n"
        "try: fcntl.flock(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except BlockingIOError: print('held')"
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".lock.", dir=folder) as file:
            lock_file(file)
            command = [sys.executable, "-I", "-S", "-c", program, file.name]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:  # the test itself failed
                raise _no_locks(file.name, done.stderr.strip().rpartition("\n")[2])
            if "held" not in done.stdout:
                raise _no_locks(file.name, "two processes get one lock")
    except OSError as error:
        raise unwritable(folder, error) from error


def check_cluster_locks(*folders: Path) -> None:
    """Run `check_locks` on writable folders if jobs go to a cluster (train_cmd, cpu_cmd).

    Args:
        folders: to test; for a folder that does not exist yet, the nearest existing parent.

    Raises:
        InputError: see `check_locks`.
    """
    if all((os.environ.get(name) or "run.sh").split()[:1] in (["run.sh"], ["run.pl"]) for name in LAUNCHERS):
        return
    for folder in folders:
        existing = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
        if os.access(existing, os.W_OK):
            check_locks(existing)


@contextmanager
def hold(lock: Path, wait: bool = False) -> Iterator[IO[str] | None]:
    """Hold a lock file and remove it at the end; give None if another process holds it and `wait` is false.

    Args:
        lock: path of the lock file, in an existing folder.
        wait: whether to wait for another process that holds it.
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
            if current:  # otherwise the holder removed it between opening and locking
                try:
                    yield file
                finally:
                    lock.unlink(missing_ok=True)
                return


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock of a file or folder that is being made; a second process waits and prints a message.

    Args:
        path: of the file or folder; its lock file lies next to it.
        what: text for the message, such as "data/ravdess is being prepared".
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
    """The lock file of a file or folder, next to it."""
    return path.with_name(f".{path.name}.lock")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically.

    Args:
        path: of the file.
        text: its content, written as UTF-8.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def append_text(path: Path, text: str) -> None:
    """Append text to a file, such as a log.

    Args:
        path: of the file; created if absent.
        text: written as UTF-8.

    Raises:
        InputError: the disk is full or the file is not writable.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise unwritable(path, error) from error


def write_section(path: Path, text: str) -> None:
    """Append a section to a Markdown file; it replaces an earlier section with the same heading.

    Args:
        path: of the Markdown file; created if absent.
        text: the section, beginning with its `## ` line.
    """
    heading = text.partition("\n")[0]
    with as_input_error("not UTF-8 text", path, "give another file", ValueError):
        content = path.read_text(encoding="utf-8") if path.is_file() else ""
    sections = [section.strip() for section in re.split(r"(?m)^(?=## )", content)]
    others = [section for section in sections if section and section.partition("\n")[0] != heading]
    write_text(path, "\n\n".join([*others, text]))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, with keys in the given order.

    Args:
        path: of the file.
        value: as JSON allows; NaN is written as NaN.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path, fix: str = "remove it and run its stage again") -> Any:
    """Read a JSON file.

    Args:
        path: of the file.
        fix: what to do about one that is damaged.

    Raises:
        InputError: the file is absent or not JSON.
    """
    check_regular(Path(path), "run the stage that writes it")
    log.debug("reading %s", path)
    with as_input_error("not readable as JSON", path, fix, ValueError, RecursionError):
        return json.loads(Path(path).read_text(encoding="utf-8"))


def read_typed(path: Path, kind: Any, what: str, fix: str) -> Any:
    """Read a JSON file and check its type.

    Args:
        path: of the file.
        kind: the type, see `of_kind`.
        what: what is wrong with a file of another type.
        fix: what to do about that.

    Raises:
        InputError: the file is absent, not JSON or of another type.
    """
    value = read_json(path)
    with as_input_error(what, path, fix, ValueError):
        return of_kind(kind, value, "")


def digest(*parts: Any) -> str:
    """Digest of values in 16 hexadecimal digits: of a path by its content, of other values by their JSON text."""
    state = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else json.dumps(part, sort_keys=True).encode()
        state.update(len(data).to_bytes(8, "little") + data)
    return state.hexdigest()


def sha256(path: Path) -> str:
    """SHA-256 of the content of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
