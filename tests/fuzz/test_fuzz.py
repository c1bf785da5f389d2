"""Every reader of foreign files on mutated samples: a valid value or an InputError, and nothing else.

    python -m pytest tests/fuzz                              # 1,500 cases
    SER_FUZZ_CASES=20000 python -m pytest tests/fuzz
    SER_FUZZ_CASE="csv:17" python -m pytest tests/fuzz       # a case that failed

A new reader of foreign files is an entry of READERS in one of the modules beside this one.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import audio_readers
import pytest
import result_readers
import table_readers
from lane import Material, Wrong, run, unchanged

pytestmark = pytest.mark.slow

READERS = {**table_readers.READERS, **audio_readers.READERS, **result_readers.READERS}
CASES = int(os.environ.get("SER_FUZZ_CASES", 1500))
ONE, _, NUMBER = os.environ.get("SER_FUZZ_CASE", "").rpartition(":")
SHOWN = 20
ENOUGH = 100  # cases, of which any reader refuses one


@pytest.fixture(scope="session")
def material(made, packed_with) -> Material:
    return Material(made, *packed_with())


@pytest.mark.parametrize("name", [ONE] if ONE else list(READERS))
def test_a_mutated_file_is_read_or_refused(name: str, material: Material, tmp_path: Path) -> None:
    reader, sample = READERS[name], tmp_path / "sample"
    sample.mkdir()
    reader.make(sample, material)
    unchanged(reader, sample, tmp_path / "work" / "case", material)
    numbers = [int(NUMBER)] if ONE else range(round(CASES * reader.weight / sum(r.weight for r in READERS.values())))
    wrong: dict[str, list[str]] = {}
    refused = 0
    for number in numbers:
        try:
            error = run(reader, sample, tmp_path / "work" / "case", material, f"{name}:{number}")
            refused += error is not None
        except Wrong as error:
            kept = tmp_path / "failed" / str(number)
            shutil.copytree(tmp_path / "work" / "case", kept, symlinks=True)
            wrong.setdefault(error.what.partition(": ")[0], []).append(f"{error} input: {kept}")
    found = [f"{len(texts)} x {texts[0]}" for texts in wrong.values()]
    assert not wrong, "\n".join([f"{name}: {sum(map(len, wrong.values()))} of {len(numbers)} cases", *found[:SHOWN]])
    assert refused or len(numbers) < ENOUGH, "no mutation was noticed"
