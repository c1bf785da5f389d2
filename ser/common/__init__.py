"""Shared by all packages: errors that a user can fix, atomic writing of files, derived seeds."""

from ser.common.errors import InputError, as_input_error, did_you_mean, guarded
from ser.common.files import (
    atomic_path,
    check_regular,
    digest,
    locked,
    read_json,
    read_typed,
    sha256,
    write_json,
    write_section,
    write_text,
)
from ser.common.seeding import derive_seed

__all__ = [
    "InputError",
    "as_input_error",
    "atomic_path",
    "check_regular",
    "derive_seed",
    "did_you_mean",
    "digest",
    "guarded",
    "locked",
    "read_json",
    "read_typed",
    "sha256",
    "write_json",
    "write_section",
    "write_text",
]
