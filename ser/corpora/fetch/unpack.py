"""Unpack archives, which may be hostile or damaged."""

from __future__ import annotations

import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ser.common import InputError, atomic_path
from ser.common.progress import progress
from ser.corpora.fetch.http import check_free_space

ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
FACTOR = 20  # largest ratio of unpacked size to the archive's size
BLOCK = 1 << 18
# Exceptions of zipfile and tarfile on damaged data.
DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, NotImplementedError, RuntimeError, ValueError, OSError),
    MemoryError,  # the header of an LZMA stream asks for too large a dictionary
)


def unpack(archive: Path, folder: Path, limit: int | None = None) -> dict[str, int]:
    """Unpack a zip or tar archive into a folder, which replaces an earlier one when complete.

    Args:
        archive: file to unpack.
        folder: to write.
        limit: largest number of unpacked bytes; None: 20 times the archive's size.

    Returns:
        The files below the folder and their sizes.

    Raises:
        InputError: the archive is damaged, encrypted or unpacks to more than the limit, or a member is a link or a
            device, or lies outside the folder.
    """
    limit = archive.stat().st_size * FACTOR if limit is None else limit
    members = _zip_members if archive.name.lower().endswith(".zip") else _tar_members
    written: dict[str, int] = {}
    with archive_errors(archive), atomic_path(folder) as temporary:
        temporary.mkdir()
        with progress(text=f"unpacking {archive.name}", unit="B") as bar:
            bar.unit_scale = True
            for name, size, source in members(archive, limit):
                path = member_path(temporary, name, archive)
                if path.exists():
                    raise InputError(f"holds {name!r} twice", archive, "get the corpus by hand")
                path.parent.mkdir(parents=True, exist_ok=True)
                check_free_space(temporary, size)
                if _copy(source, path, bar) != size:
                    raise EOFError(f"{name} ends early")
                written[str(path.relative_to(temporary))] = size
        if not written:
            raise InputError("holds no files", archive, "remove it and fetch it again")
    return written


def member_path(folder: Path, name: str, where: Path | str) -> Path:
    """Return the path of an archive's member below a folder.

    Args:
        folder: where the member goes.
        name: of the member.
        where: archive or publisher, for messages.

    Raises:
        InputError: the path would lie outside the folder.
    """
    inner = PurePosixPath(name.replace("\\", "/"))
    if inner.is_absolute() or ".." in inner.parts or "\0" in name or not inner.parts:
        raise InputError(f"lists {name!r}, which would lie outside its folder", where, "get the corpus by hand")
    return folder / inner


@contextmanager
def archive_errors(archive: Path) -> Iterator[None]:
    """Convert exceptions of zipfile and tarfile on a damaged archive to an InputError."""
    try:
        yield
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk; bz2 sets no errno on damaged data
            raise
        reason = " ".join(str(error).split())
        raise InputError(f"no archive, or damaged ({reason})", archive, "remove it and fetch it again") from None


def _zip_members(archive: Path, limit: int) -> Iterator[tuple[str, int, IO[bytes]]]:
    with zipfile.ZipFile(archive) as file:
        infos = [info for info in file.infolist() if not info.is_dir()]
        check_limit(archive, sum(info.file_size for info in infos), limit)
        for info in infos:
            if info.flag_bits & 1:
                raise InputError(f"{info.filename!r} is encrypted", archive, "get the corpus by hand")
            _check_kind(archive, info.filename, stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG))
            yield info.filename, info.file_size, file.open(info)


def _tar_members(archive: Path, limit: int) -> Iterator[tuple[str, int, IO[bytes]]]:
    total = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            total += member.size
            check_limit(archive, total, limit)
            if member.isdir():
                continue
            _check_kind(archive, member.name, member.isfile())
            file = tar.extractfile(member)
            assert file is not None
            yield member.name, member.size, file
        assert tar.fileobj is not None
        while tar.fileobj.read(BLOCK):  # the checksum of the compressed data follows the end of the tar
            pass


def _check_kind(archive: Path, name: str, is_file: bool) -> None:
    if not is_file:
        raise InputError(f"{name!r} is a link or a device, not a file", archive, "get the corpus by hand")


def check_limit(archive: Path, size: int, limit: int) -> None:
    """Refuse an archive that unpacks to more bytes than a limit.

    Args:
        archive: for the message.
        size: unpacked bytes.
        limit: largest number of bytes.

    Raises:
        InputError: the size is above the limit.
    """
    if size > limit:
        what = f"would unpack to more than {limit} bytes, which no corpus does"
        raise InputError(what, archive, "get the corpus by hand")


def _copy(source: IO[bytes], path: Path, bar: Any) -> int:
    with source, path.open("xb") as file:
        while block := source.read(BLOCK):
            file.write(block)
            bar.update(len(block))
        return file.tell()
