"""The shared run.sh on small made corpora, from a folder with spaces in its name, as a user would call it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from made import Made

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--network.prep_size", "16", "--network.hidden_size=8", "--batches.batch_size", "8", "--training.threads", "1"]
SMALL += ["--training.steps_per_epoch", "4", "--training.max_epochs", "2", "--nj", "2"]


BARE_LAUNCHER = """#!/usr/bin/env bash
set -e
jobs=1
[[ $1 != JOB=1:* ]] || { jobs=${1#JOB=1:}; shift; }
for ((j = 1; j <= jobs; j++)); do
  words=("${@//JOB/$j}")
  mkdir -p "$(dirname "${words[0]}")"
  env -i PATH="$PATH" "${words[@]:1}" >"${words[0]}" 2>&1 || { cat "${words[0]}" >&2; exit 1; }
done
"""


@dataclass(frozen=True)
class Recipe:
    """A recipe folder outside the toolkit."""

    folder: Path

    def run(self, *options: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "SER_ENV": sys.prefix, "TESS": "", **variables}
        return subprocess.run(
            [self.folder / "run.sh", *options], cwd=cwd or self.folder, env=environment, capture_output=True, text=True
        )

    @property
    def cell(self) -> Path:
        return self.folder / "exp" / "one_two" / "multi_blstm_mu_sigma2" / "fold1_seed0"


@pytest.fixture
def recipe(own_made: Made, tmp_path: Path) -> Recipe:
    folder = tmp_path / "a recipe of mine"
    own_made.recipe.rename(folder)
    script = folder / "run.sh"
    script.write_text(
        "#!/usr/bin/env bash\nset -euo pipefail\n"
        'recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")\n'
        f'export ONE="${{ONE-{tmp_path}/one}}" TWO="${{TWO-{tmp_path}/two}}"\n'
        f'exec \'{ROOT}/run.sh\' --recipe "$recipe" --corpora one,two --dump "$recipe/dump" "$@"\n'
    )
    script.chmod(0o755)
    return Recipe(folder)


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The last line that a failed run printed, which has to be an error without a traceback."""
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def written(folder: Path) -> dict[str, int]:
    """Files of results, features and models with the time they were written."""
    names = ("model.safetensors", "train.json", "post.ark", "hyp", "cuts.jsonl.gz", "info.json", "feats.scp")
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.name in names}


@pytest.mark.slow
def test_a_bare_run_goes_through_and_a_second_one_has_nothing_to_do(recipe: Recipe, tmp_path: Path) -> None:
    done = recipe.run(*SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((recipe.cell / "result.json").read_text())
    assert result["targets"]["one"]["n"] == 12
    assert result["updates"] == {"one": 4, "two": 4}
    assert f"| {100 * result['targets']['one']['ua']:.1f} " in done.stdout
    assert done.stdout.split("# Results")[1] == (recipe.folder / "exp" / "RESULTS.md").read_text().split("# Results")[1]
    log = (recipe.cell / "train.log").read_text()
    assert "epoch 2: train loss" in log
    assert "exit code 0" in (recipe.cell / "log" / "train.log").read_text()
    before = written(recipe.folder)
    assert len(before) > 10
    again = recipe.run(*SMALL)
    assert again.returncode == 0, again.stderr
    assert written(recipe.folder) == before


@pytest.mark.slow
def test_every_block_pooling_and_task_goes_through(recipe: Recipe) -> None:
    first = recipe.run(*SMALL, "--stop-stage", "3")
    assert first.returncode == 0, first.stderr
    assert not (recipe.cell / "train.json").exists()
    for temporal, pooling, task in (("lstm", "mu", "unified"), ("tdnn", "mu_sigma2", "multi")):
        done = recipe.run(*SMALL, "--stage", "4", "--temporal", temporal, "--pooling", pooling, "--task", task)
        assert done.returncode == 0, done.stderr
        cell = recipe.folder / "exp" / "one_two" / f"{task}_{temporal}_{pooling}" / "fold1_seed0"
        assert set(json.loads((cell / "result.json").read_text())["targets"]) == {"one"}
    table = (recipe.folder / "exp" / "RESULTS.md").read_text()
    assert table.count("| one_two") == 2


@pytest.mark.slow
def test_killed_in_training_the_rerun_continues(recipe: Recipe) -> None:
    assert recipe.run(*SMALL, "--stop-stage", "3").returncode == 0
    long = [*SMALL, "--training.max_epochs", "150", "--training.patience", "150", "--stage", "4", "--stop-stage", "4"]
    started = subprocess.Popen(
        [recipe.folder / "run.sh", *long],
        env={**os.environ, "SER_ENV": sys.prefix},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as on a terminal
    )
    while not (recipe.cell / "epochs.jsonl").exists():
        assert started.poll() is None
        time.sleep(0.05)
    os.killpg(started.pid, signal.SIGINT)  # as Ctrl-C does
    assert started.wait() == 130
    assert (recipe.cell / "checkpoint.safetensors").is_file()
    assert not (recipe.cell / "model.safetensors").exists()
    other = recipe.run(*long, "--training.learning_rate", "1e-3")
    assert error_of(other).startswith(
        f"error: {recipe.cell}: holds a training with other settings (training.learning_rate: 0.0003 there, 0.001 now)"
    )
    again = recipe.run(*long)
    assert again.returncode == 0, again.stderr
    assert "continued from" in (recipe.cell / "train.log").read_text()
    assert json.loads((recipe.cell / "train.json").read_text())["epochs"] == 150


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sead", "1"], r"unknown option --sead \(did you mean --seed\?\); --help lists the options"),
        (["--stage", "8"], "error: --stage 8: stages are 0 to 7; ./run.sh --help lists them"),
        (["--stage", "-1"], "error: --stage -1: stages are 0 to 7"),
        (["--stage", "5", "--stop-stage", "4"], "nothing lies between them"),
        (["--nj", "0"], "--nj 0: a number of jobs from 1"),
        (["train"], "train: an argument that is no option"),
        (["--training.lr", "1"], r"command line: unknown key training.lr; did you mean training.\w+\?"),
        (["--fold", "5"], "error: fold = 5: split strict of one, two has folds 1 to 4"),
        (
            ["--temporal", "gru"],
            "command line: key temporal = 'gru': there is: lstm, blstm, tdnn, attention, nin, none",
        ),
        (["--preset", "strikt"], "strikt.yaml: no such file below .*; there is: paper, pretrained, .*strict, strong"),
        (["--corpora", "three"], "error: three: no conf/corpora/three.yaml below .*; there is: .*ravdess.yaml"),
        (
            ["--corpora", "tess", "--stage", "0"],
            "error: tess: TESS is not set; write its folder in .*db.sh, or call TESS=",
        ),
        (["--corpora", "one,"], "error: --corpora one,: names such as tess,ravdess"),
        (["--recipe", "/nowhere"], "error: --recipe /nowhere: no such folder"),
        (["--corpora", "two"], "error: corpora = two: none has test speakers"),
        (["--allow-partial", "maybe"], "is true or false, not 'maybe'"),
    ],
)
def test_a_mistake_names_its_mend(recipe: Recipe, options: list[str], message: str) -> None:
    line = error_of(recipe.run(*options))
    assert re.search(message, line), line
    assert not (recipe.folder / "data").exists()


def test_a_missing_corpus_is_named_with_its_source(recipe: Recipe) -> None:
    line = error_of(recipe.run(ONE="/nowhere"))
    assert line == "error: /nowhere: no such folder or table; mend the path (one can be had from none)"


@pytest.mark.parametrize("script", ["run.sh", "egs/ravdess/run.sh", "egs/interaffection/run.sh"])
def test_a_link_to_a_recipe_runs_it(tmp_path: Path, script: str) -> None:
    (tmp_path / "mine").symlink_to(ROOT / script)
    direct, linked = (
        subprocess.run([path, "--help"], cwd=tmp_path, capture_output=True, text=True)
        for path in (ROOT / script, tmp_path / "mine")
    )
    assert linked.returncode == 0, linked.stderr
    assert linked.stdout == direct.stdout.replace(str(ROOT / script), str(tmp_path / "mine"))


def test_a_line_break_in_a_path_is_one_line(recipe: Recipe) -> None:
    done = recipe.run("--exp", "a\nb")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: --exp ")


def test_help_lists_stages_options_and_keys_with_their_defaults(recipe: Recipe) -> None:
    done = recipe.run("--help")
    assert done.returncode == 0
    for line in (
        "  4  train",
        "  --fold            fold, from 1 (1)",
        "  --pooling         mu or mu_sigma2 (mu_sigma2)",
    ):
        assert line in done.stdout
    assert "  --training.learning_rate: 3.0e-4" in done.stdout


def test_a_bad_file_stops_stage_1_and_the_rerun_goes_on(recipe: Recipe, tmp_path: Path) -> None:
    bad = tmp_path / "two" / "two1_sad_00.wav"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:2000])
    line = error_of(recipe.run(*SMALL, "--stop-stage", "1"))
    assert line.startswith(f"error: {bad}: truncated: 978 of ")
    assert "intact copy" in line
    assert not (recipe.folder / "data" / "two").exists()
    bad.write_bytes(whole)
    assert recipe.run(*SMALL, "--stop-stage", "1").returncode == 0
    assert (recipe.folder / "data" / "two" / "report.json").is_file()


@pytest.mark.slow
def test_a_failing_job_names_its_log(recipe: Recipe, tmp_path: Path) -> None:
    assert recipe.run(*SMALL, "--stop-stage", "1").returncode == 0
    (tmp_path / "one" / "one1_sad_00.wav").unlink()
    done = recipe.run(*SMALL, "--stage", "3", "--stop-stage", "3")
    assert "jobs failed; the first log: " in done.stderr
    assert error_of(done).startswith(f"error: {tmp_path}/one/one1_sad_00.wav: no such file")


@pytest.mark.slow
def test_terminated_it_takes_its_jobs_along(recipe: Recipe) -> None:
    assert recipe.run(*SMALL, "--stop-stage", "3").returncode == 0
    long = [*SMALL, "--training.max_epochs", "100000", "--training.patience", "100000", "--stage", "4"]
    started = subprocess.Popen(
        [recipe.folder / "run.sh", *long], env={**os.environ, "SER_ENV": sys.prefix}, stderr=subprocess.DEVNULL
    )
    while not (recipe.cell / "epochs.jsonl").exists():
        assert started.poll() is None
        time.sleep(0.05)
    started.terminate()
    assert started.wait() == 143
    assert (recipe.cell / "checkpoint.safetensors").is_file()
    found = subprocess.run(["pgrep", "-f", f"steps/train.py.*{recipe.cell}"], capture_output=True, text=True)
    assert found.stdout == ""


@pytest.mark.slow
def test_jobs_need_nothing_but_path_from_their_launcher(recipe: Recipe, tmp_path: Path) -> None:
    """Launchers of clusters hand PATH alone to a job (qsub -v PATH, sbatch --export=PATH)."""
    launcher = tmp_path / "bare.sh"
    launcher.write_text(BARE_LAUNCHER)
    launcher.chmod(0o755)
    done = recipe.run(*SMALL, train_cmd=str(launcher), cpu_cmd=str(launcher))
    assert done.returncode == 0, done.stderr
    assert (recipe.cell / "result.json").is_file()


def test_every_step_can_be_called_by_its_path() -> None:
    """As README and the tables call them: steps/pool.py exp."""
    steps = [path for path in (ROOT / "steps").iterdir() if path.suffix in (".py", ".sh")]
    assert len(steps) > 10
    assert [path.name for path in steps if not os.access(path, os.X_OK)] == []


def test_every_recipe_only_declares() -> None:
    scripts = sorted((ROOT / "egs").glob("*/run.sh"))
    assert len(scripts) >= 2
    for script in scripts:
        lines = script.read_text().splitlines()
        assert len(lines) <= 40
        if "steps/grid.sh" in lines[-1]:
            continue  # a grid: tests/grid/test_grid_recipe.py
        assert lines[-1].startswith('exec "$recipe/../../run.sh" --recipe "$recipe" --corpora ')
        assert lines[-1].endswith(' "$@"')
        assert os.access(script, os.X_OK)
