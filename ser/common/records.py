"""Files that a step wrote, checked where they are read next.

The JSON file that a step writes last records a digest of its own values and of the files beside it that go with it,
under the key `recorded`. A reader compares them, so that what was changed or damaged since is refused and not used.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ser.common.errors import InputError
from ser.common.files import digest, read_json, sha256, write_json
from ser.common.kinds import of_kind
from ser.common.output import line

RECORDED = "recorded"
# Files without a record, as older versions wrote them: read, and reported at the end of the command.
unchecked: dict[Path, None] = {}


def write_record(path: Path, value: Mapping[str, Any], files: Iterable[Path] | Mapping[str, str] = ()) -> None:
    """Write a JSON file that records itself and other files.

    Args:
        files: files below its folder, or their names and SHA-256 where they are yet to be written.
    """
    plain = json.loads(json.dumps(value))
    if not isinstance(files, Mapping):
        files = {file.relative_to(path.parent).as_posix(): sha256(file) for file in files}
    write_json(path, {**plain, RECORDED: {"values": digest(plain), "files": dict(files)}})


def read_record(path: Path, kind: Any, again: str, files: Iterable[str] | None = ()) -> dict[str, Any]:
    """Read what `write_record` wrote, without the record.

    Args:
        kind: the type of its values, see `of_kind`.
        again: what to do about a file that is not as it was written.
        files: names of files below its folder that are about to be read, which must be as recorded; None: all that it
            records.

    Raises:
        InputError: it, or one of these files, is absent, of another kind or not as it was written.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"expected an object, found {type(value).__name__}", path, again)
    recorded = value.pop(RECORDED, None)
    if recorded is not None:
        try:
            recorded = of_kind(dict[str, Any], recorded, RECORDED)
            intact = recorded["values"] == digest(value)
            sums = of_kind(dict[str, str], recorded["files"], f"{RECORDED}.files")
        except (LookupError, ValueError):
            intact, sums = False, {}
        if not intact:
            raise InputError("changed since it was written", path, again)
    else:
        unchecked[path], sums = None, {}
    for name in sums if files is None else files:
        check_file(path.parent / name, sums.get(name), again)
    try:
        return dict(of_kind(kind, value, ""))
    except ValueError as error:
        raise InputError(str(error), path, again) from None


def check_file(path: Path, recorded: str | None, again: str) -> None:
    """Compare a file with the SHA-256 that was recorded of it.

    Args:
        path: of the file.
        recorded: SHA-256 in hexadecimal digits; None: none was recorded, and the file counts as unchecked.
        again: what to do, for the message of an error.

    Raises:
        InputError: it is absent, or not the file that was recorded.
    """
    if not path.is_file():
        raise InputError("no such file", path, again)
    if recorded is None:
        unchecked[path] = None
    elif sha256(path) != recorded:
        raise InputError("changed since it was written", path, again)


def unchecked_note() -> str:
    """One line on the files that were read without a record, which are forgotten; "" for none."""
    paths = [str(path) for path in unchecked]
    unchecked.clear()
    if not paths:
        return ""
    return (
        f"{len(paths)} files were written by an older version, without a checksum, and are used unchecked; the first: "
        f"{line(paths[0])}"
    )
