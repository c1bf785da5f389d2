"""One case: a sample, mutated as its number says, is read; the reader returns valid values or raises InputError."""

from __future__ import annotations

import math
import resource
import shutil
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from conftest import ROOT
from made import Made
from mutate import Mutator, mutator_of

from ser.common import InputError

SECONDS = 30  # for one case
MEMORY = 2 << 30  # bytes more than the process has


@dataclass(frozen=True)
class Material:
    """What samples are made of.

    Attributes:
        made: two small prepared corpora with features.
        experiment: folder of a finished experiment on them.
        package: its model package.
    """

    made: Made
    experiment: Path
    package: Path


@dataclass(frozen=True)
class Case:
    """What a reader is to read.

    Attributes:
        chosen: files that were changed, relative to the folder.
        extra: of the reader.
    """

    folder: Path
    chosen: list[str]
    material: Material
    extra: Mapping[str, Any]


@dataclass(frozen=True)
class Reader:
    """A reader of foreign files.

    Attributes:
        make: write a valid sample into a folder, which is there and empty.
        files: patterns of the files of the sample that are mutated.
        read: the files that were changed, and what belongs to them, to a value.
        mutate: of a file; by default the one for its name.
        seal: to be called when a file has been changed, so that not the checksums alone are tested; half of the cases.
        extra: arguments for `read`.
        weight: its share of the cases, less than 1 for a reader that takes long.
    """

    make: Callable[[Path, Material], object]
    files: tuple[str, ...]
    read: Callable[[Case], Any]
    mutate: Mutator | None = None
    seal: Callable[[Path], object] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    weight: float = 1.0


class Wrong(AssertionError):
    """What a reader did that it must not do, and the case."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{what} [{where}]")
        self.what = what


class _Hang(BaseException):
    pass


@contextmanager
def _bounded() -> Iterator[None]:
    """Little time and little memory."""

    def stop(*_: object) -> None:
        raise _Hang

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _names(reader: Reader, folder: Path) -> list[str]:
    found = {path for pattern in reader.files for path in folder.glob(pattern) if path.is_file()}
    return sorted(str(path.relative_to(folder)) for path in found)


def mutated(reader: Reader, sample: Path, folder: Path, seed: str) -> list[str]:
    """Copy a sample and change one file of it, seldom two; their names."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sample, folder)
    rng = Random(seed)
    names = _names(reader, folder)
    chosen = rng.sample(names, min(len(names), rng.choice((1, 1, 1, 1, 2))))
    for name in chosen:
        mutate = reader.mutate or mutator_of(name)
        (folder / name).write_bytes(mutate((folder / name).read_bytes(), rng))
    if reader.seal and rng.random() < 0.5:
        reader.seal(folder)
    return chosen


def unchanged(reader: Reader, sample: Path, folder: Path, material: Material) -> None:
    """Read every file of a sample as it is, which must go well."""
    shutil.copytree(sample, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = reader.read(Case(folder, _names(reader, folder), material, reader.extra))
    assert not not_finite(value)


def run(reader: Reader, sample: Path, folder: Path, material: Material, seed: str) -> InputError | None:
    """Run one case.

    Raises:
        Wrong: another exception, a hang, too much memory, or a number that is not finite.
    """
    chosen = mutated(reader, sample, folder, seed)
    where = f"{seed} ({', '.join(Path(name).name for name in chosen)})"
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"), _bounded():
            warnings.simplefilter("ignore")
            value = reader.read(Case(folder, chosen, material, reader.extra))
        odd = not_finite(value)
    except _Hang:
        raise Wrong(f"not done after {SECONDS} s", where) from None
    except InputError as error:
        if not str(error).strip():
            raise Wrong(f"{place_of(error)}: an error without a word", where) from None
        return error
    except Exception as error:
        raise Wrong(f"{place_of(error)}: {type(error).__name__}: {str(error)[:120]}", where) from error
    if odd:
        raise Wrong(f"{odd} is not finite", where)
    return None


def place_of(error: BaseException) -> str:
    """The innermost line of the toolkit, or of these tests, that an exception passed."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(str(ROOT))]
    own = [f for f in frames if "/tests/" not in f.filename] or frames
    return f"{Path(own[-1].filename).relative_to(ROOT)}:{own[-1].lineno}" if own else "?"


def not_finite(value: Any, place: str = "value") -> str:
    """Where below a value NaN or infinity stands; "" for nowhere."""
    if isinstance(value, float | np.floating):
        return "" if math.isfinite(value) else place
    if isinstance(value, np.ndarray):
        return place if value.dtype.kind == "f" and not np.isfinite(value).all() else ""
    if is_dataclass(value) and not isinstance(value, type):
        return not_finite({field.name: getattr(value, field.name) for field in fields(value)}, place)
    if isinstance(value, Mapping):
        return next((odd for key, item in value.items() if (odd := not_finite(item, f"{place}.{str(key)[:40]}"))), "")
    if isinstance(value, list | tuple):
        return next((odd for n, item in enumerate(value) if (odd := not_finite(item, f"{place}[{n}]"))), "")
    return ""
