"""Checksums of the files of a step, checked when they are read.

The JSON file that a step writes last records, under the key `recorded`, a digest of its own values and the checksums of
the files that belong to it. A reader compares them and refuses files that were changed or damaged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ser.common.errors import InputError
from ser.common.files import check_regular, digest, read_json, sha256, write_json
from ser.common.kinds import of_kind
from ser.common.output import line

RECORDED = "recorded"
# Files of older versions, without a checksum: they are read, and reported at the end of the command.
unchecked: dict[Path, None] = {}


def write_record(path: Path, value: Mapping[str, Any], files: Iterable[Path] | Mapping[str, str] = ()) -> None:
    """Write a JSON file with checksums of itself and of other files.

    Args:
        path: of the file.
        value: as JSON allows.
        files: files below its folder; or names and SHA-256 of files that are not written yet.
    """
    values = json.loads(json.dumps(value))
    if not isinstance(files, Mapping):
        files = {file.relative_to(path.parent).as_posix(): sha256(file) for file in files}
    write_json(path, {**values, RECORDED: {"values": digest(values), "files": dict(files)}})


def read_record(path: Path, kind: Any, fix: str, files: Iterable[str] | None = ()) -> dict[str, Any]:
    """Read the values of a file of `write_record`, and check the checksums.

    Args:
        path: of the file.
        kind: the type of its values, see `of_kind`.
        fix: what to do about a file that was changed.
        files: names of files below its folder to check as well; None: all files that it records.

    Raises:
        InputError: the file or one of the others is absent, of another kind, or was changed.
    """
    check_regular(path, fix)
    value = read_json(path, fix)
    if not isinstance(value, dict):
        raise InputError(f"expected an object, found {type(value).__name__}", path, fix)
    recorded = value.pop(RECORDED, None)
    if recorded is not None:
        try:
            recorded = of_kind(dict[str, Any], recorded, RECORDED)
            intact = recorded["values"] == digest(value)
            sums = of_kind(dict[str, str], recorded["files"], f"{RECORDED}.files")
        except (LookupError, ValueError):
            intact, sums = False, {}
        if not intact:
            raise InputError("changed since it was written", path, fix)
    else:
        unchecked[path], sums = None, {}
    for name in sums if files is None else files:
        check_file(path.parent / name, sums.get(name), fix)
    try:
        return dict(of_kind(kind, value, ""))
    except ValueError as error:
        raise InputError(str(error), path, fix) from None


def check_file(path: Path, recorded: str | None, fix: str) -> None:
    """Compare a file with its recorded SHA-256.

    Args:
        path: of the file.
        recorded: SHA-256 in hexadecimal digits; None: there is none, and the file counts as unchecked.
        fix: what to do, for the message of an error.

    Raises:
        InputError: the file is absent or was changed.
    """
    if not path.is_file():
        raise InputError("no such file", path, fix)
    if recorded is None:
        unchecked[path] = None
    elif sha256(path) != recorded:
        raise InputError("changed since it was written", path, fix)


def unchecked_note() -> str:
    """Report files that were read without a checksum in one line, and clear the list; "" if there are none."""
    paths = [str(path) for path in unchecked]
    unchecked.clear()
    if not paths:
        return ""
    return (
        f"{len(paths)} files were written by an older version, without a checksum, and are used unchecked; the first: "
        f"{line(paths[0])}"
    )
