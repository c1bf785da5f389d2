"""egs/mini as a new user runs it, with its output in a temporary folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

pytest.importorskip("espeakng_loader", reason="egs/mini speaks with espeakng-loader: pip install '.[mini]'")


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    places = [word for name in ("data", "dump", "exp") for word in (f"--{name}", str(folder / name))]
    speech = {"MINI_EN": str(folder / "mini_en"), "MINI_PT": str(folder / "mini_pt")}
    return subprocess.run(
        [ROOT / "egs" / "mini" / "run.sh", *places, *options],
        env={**os.environ, "SER_ENV": sys.prefix, **speech},
        cwd=folder,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_mini_ends_with_its_table(tmp_path: Path) -> None:
    folder = tmp_path / "with a space"
    folder.mkdir()
    done = run(folder, "--nj", "1")
    assert done.returncode == 0, done.stderr
    cell = folder / "exp" / "mini_en_mini_pt" / "multi_blstm_mu_sigma2" / "fold1_seed0"
    result = json.loads((cell / "result.json").read_text())
    assert list(result["targets"]) == ["mini_en"]
    assert result["targets"]["mini_en"]["n"] == 48
    # chance level is a quarter; the speakers are not in training
    assert result["targets"]["mini_en"]["ua"] > 0.35
    assert "measure nothing about people" in result["notes"][0]
    assert "measure nothing about people" in done.stdout
    assert f"| {100 * result['targets']['mini_en']['ua']:.1f} " in done.stdout
    assert (folder / "data" / "mini_en" / "strict_fold1" / "test" / "feats.scp").is_file()
    counts = [line.split() for line in done.stdout.splitlines()]
    assert ["mini_pt", "2", "after", "80", "20", "20", "20", "20"] in counts
    (copied,) = (folder / "data" / "mini_pt" / "strict_fold1").glob("train_*")
    assert len((copied / "feats.scp").read_text().splitlines()) == 80
    again = run(folder, "--stop-stage", "1")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("up to date") == 2


@pytest.mark.slow
def test_speech_depends_on_the_arguments_only(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        done = run(tmp_path, "--stop-stage", "0", "--exp", str(tmp_path / folder / "exp"))
        assert done.returncode == 0, done.stderr
        (tmp_path / "mini_pt").rename(tmp_path / folder / "mini_pt")
    made = {path.name: path.read_bytes() for path in (tmp_path / "one" / "mini_pt").rglob("*.wav")}
    assert len(made) == 80
    assert made == {path.name: path.read_bytes() for path in (tmp_path / "two" / "mini_pt").rglob("*.wav")}
    assert len(set(made.values())) == 80
