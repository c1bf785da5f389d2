"""The steps of docs/add-a-corpus.md, as written."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import programs
import pytest
import soundfile
from conftest import ROOT

TEXT = (ROOT / "docs" / "add-a-corpus.md").read_text(encoding="utf-8")
FENCE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


@pytest.fixture
def toolkit(tmp_path: Path) -> Path:
    """A folder with the complete toolkit and a writable egs/."""
    folder = tmp_path / "toolkit"
    (folder / "egs").mkdir(parents=True)
    for name in ("run.sh", "path.sh", "cmd.sh", "db.sh", "conf", "steps", "ser", "utils", "local"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def write_files(toolkit: Path) -> None:
    """Write every file of egs/mine that the page shows; its name precedes the code block."""
    for name, kind in (("run.sh", "bash"), ("local/prepare_mine.py", "python"), ("conf/corpora/mine.yaml", "yaml")):
        _, _, after = TEXT.partition(f"`egs/mine/{name}`")
        fence = FENCE.search(after)
        assert fence is not None
        assert fence[1] == kind
        path = toolkit / "egs" / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(fence[2], encoding="utf-8")
    (toolkit / "egs/mine/run.sh").chmod(0o755)


def write_corpus(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("anna", "ben", "eva", "tom"):
        for label in ("calm", "tense"):
            for sentence in range(10):
                noise = rng.normal(0, 0.02 if label == "calm" else 0.2, 8000)
                soundfile.write(folder / f"{name}_{label}_{sentence:02}.wav", noise, 8000)


@pytest.mark.slow
def test_the_page_works_as_written(toolkit: Path, tmp_path: Path) -> None:
    write_files(toolkit)
    write_corpus(tmp_path / "mine")
    shell = "\n".join(code for kind, code in FENCE.findall(TEXT) if kind == "sh")
    assert "/corpora/mine" in shell
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", shell.replace("/corpora/mine", str(tmp_path / "mine"))],
        cwd=toolkit,
        env={**os.environ, "SER_ENV": programs.environment()},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "mine: complete" in done.stdout
    assert "80 utterances of 4 speakers; 80 in the classes (calm 40, tense 40)" in done.stdout
    assert re.search(r"4 \(women 2, men 2\) +en +80", done.stdout)
    (result,) = (toolkit / "egs/mine/exp_try").glob("mine/*/*/result.json")
    assert '"calm"' in result.read_text()
