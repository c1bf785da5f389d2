"""egs/public/RESULTS.md: its commands print each block from the stored predictions, and blocks hold all figures."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import programs
import pytest
from conftest import ROOT

PAGE = (ROOT / "egs" / "public" / "RESULTS.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)
FIGURE = re.compile(r"[+-]?\d+\.\d+")


def printed(commands: str, folder: Path) -> str:
    """Run the commands of a block with their exp/ in another folder; returns the tables that they write."""
    for line in commands.replace("\\\n", " ").splitlines():
        words = shlex.split(line.replace("exp/", f"{folder}/"))
        done = programs.run(*words, cwd=ROOT)
        assert done.returncode == 0, done.stderr
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("findings/*.md")))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_each_block_is_what_its_command_prints(number: int, tmp_path: Path) -> None:
    commands, text = BLOCKS[number]
    lines = [line for line in text.splitlines() if line and not line.startswith("|-")]
    assert lines
    printed_lines = {" ".join(line.split()) for line in printed(commands, tmp_path).splitlines()}  # widths differ
    assert [line for line in lines if " ".join(line.split()) not in printed_lines] == []


def test_all_figures_are_in_blocks() -> None:
    assert len(BLOCKS) >= 2
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    assert FIGURE.findall(prose) == []
