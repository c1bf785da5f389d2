"""The fault matrix: some cells, and the agreement of docs/reliability.md with the command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import faults
import pytest

DOC = faults.ROOT / "docs" / "reliability.md"
FEW = "train:kill -9,features:kill -9,decode:corrupt output,score:two at once"


def table(text: str) -> list[list[str]]:
    """List the cells of the rows between the markers."""
    part = text.partition(faults.BEGIN)[2].partition(faults.END)[0]
    rows = [line for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[1:]]


def test_the_table_of_the_document_is_that_of_the_command() -> None:
    rows = table(DOC.read_text(encoding="utf-8"))
    assert [tuple(row[:2]) for row in rows] == faults.CELLS
    expected = [faults.EXPECTED.get(cell, faults.FAULTS[cell[1]][1]) for cell in faults.CELLS]
    assert [row[2] for row in rows] == expected
    assert {row[-1] for row in rows} == {"yes"}


@pytest.mark.slow
def test_disturbed_stages_end_as_if_they_had_not_been(tmp_path: Path) -> None:
    out = tmp_path / "table.md"
    out.write_text(f"before\n{faults.BEGIN}\nold\n{faults.END}\nafter\n")
    command = [sys.executable, faults.__file__, "--only", FEW, "--out", out]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = table(out.read_text())
    assert [":".join(row[:2]) for row in rows] == [":".join(c) for c in faults.CELLS if ":".join(c) in FEW.split(",")]
    assert {row[-1] for row in rows} == {"yes"}
    assert out.read_text().startswith("before\n")
    assert out.read_text().endswith("\nafter\n")


def test_a_cell_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SystemExit, match="trian"):
        faults.chosen("trian:kill -9")
