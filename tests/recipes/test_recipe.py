"""The shared run.sh on small made corpora, from a folder with spaces in its name, as a user would call it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import programs
import pytest
from conftest import ROOT, last_error
from made import SPLITS, Made

from ser.corpora.prepare import prepare_corpus
from ser.corpora.preparers import load_preparer
from ser.corpora.protocol import read_protocol

SMALL = [
    "--network.prep_size",
    "16",
    "--network.lstm.hidden_size=8",
    "--batches.batch_size",
    "8",
    "--training.threads",
    "1",
]
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
    """A recipe folder outside the toolkit, and its folder of experiments."""

    folder: Path
    exp: str = "exp"

    def run(self, *options: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "SER_ENV": programs.environment(), "TESS": "", **variables}
        return subprocess.run(
            [*self.command, *options], cwd=cwd or self.folder, env=environment, capture_output=True, text=True
        )

    def start(self, *options: str, **more: object) -> subprocess.Popen[bytes]:
        """Start run.sh in a process group of its own that reacts to Ctrl-C, as on a terminal."""
        return subprocess.Popen(
            [*self.command, *options],
            env={**os.environ, "SER_ENV": sys.prefix},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    @property
    def command(self) -> list[str]:
        return [str(self.folder / "run.sh"), *(["--exp", str(self.folder / self.exp)] if self.exp != "exp" else [])]

    @property
    def cell(self) -> Path:
        return self.folder / self.exp / "one_two" / "multi_blstm_mu_sigma2" / "fold1_seed0"


def recipe_of(made: Made, root: Path) -> Recipe:
    """Write a recipe in a folder with spaces in its name, beside the corpora."""
    folder = root / "a recipe of mine"
    shutil.copytree(made.recipe, folder)
    for corpus in SPLITS:
        shutil.copytree(made.root / corpus, root / corpus)
    script = folder / "run.sh"
    script.write_text(
        "#!/usr/bin/env bash\nset -euo pipefail\n"
        'recipe=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")\n'
        f'export ONE="${{ONE-{root}/one}}" TWO="${{TWO-{root}/two}}"\n'
        f'exec \'{ROOT}/run.sh\' --recipe "$recipe" --corpora one,two --dump "$recipe/dump" "$@"\n'
    )
    script.chmod(0o755)
    return Recipe(folder)


@pytest.fixture
def recipe(made: Made, tmp_path: Path) -> Recipe:
    return recipe_of(made, tmp_path)


@pytest.fixture(scope="module")
def finished(made: Made, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, subprocess.CompletedProcess[str]]:
    """A recipe after all stages, and the finished process; tests give it an `exp` of their own."""
    root = tmp_path_factory.mktemp("whole")
    recipe = recipe_of(made, root)
    return recipe, recipe.run(*SMALL, cwd=root)


@pytest.fixture
def prepared(finished: tuple[Recipe, object], request: pytest.FixtureRequest) -> Recipe:
    """The recipe after stages 0 to 3, with an empty folder of experiments."""
    return replace(finished[0], exp=f"exp_{request.node.name}")


def written(folder: Path) -> dict[str, int]:
    """List files of results, features and models with their modification times."""
    names = ("model.safetensors", "train.json", "post.ark", "decode.json", "cuts.jsonl.gz", "info.json", "feats.scp")
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.name in names}


@pytest.mark.slow
def test_a_run_finishes_all_stages_and_a_second_one_has_nothing_to_do(finished) -> None:
    recipe, done = finished
    assert done.returncode == 0, done.stderr
    result = json.loads((recipe.cell / "result.json").read_text())
    assert result["targets"]["one"]["n"] == 12
    assert result["updates"] == {"one": 4, "two": 4}
    assert f"| {100 * result['targets']['one']['ua']:.1f} " in done.stdout
    assert f"all columns, settings and data: {recipe.folder.resolve() / 'exp' / 'RESULTS.md'}" in done.stdout
    assert f"| {100 * result['targets']['one']['ua']:.1f} " in (recipe.folder / "exp" / "RESULTS.md").read_text()
    log = (recipe.cell / "train.log").read_text()
    assert "epoch 2: train loss" in log
    assert "exit code 0" in (recipe.cell / "log" / "train.log").read_text()
    before = written(recipe.folder)
    assert len(before) > 10
    again = recipe.run(*SMALL)
    assert again.returncode == 0, again.stderr
    assert written(recipe.folder) == before


@pytest.mark.slow
def test_block_pooling_and_task_are_options(finished) -> None:
    recipe, _ = finished
    done = recipe.run(*SMALL, "--stage", "4", "--temporal", "tdnn", "--pooling", "mu", "--task", "unified")
    assert done.returncode == 0, done.stderr
    cell = recipe.folder / "exp" / "one_two" / "unified_tdnn_mu" / "fold1_seed0"
    assert set(json.loads((cell / "result.json").read_text())["targets"]) == {"one"}
    assert (recipe.folder / "exp" / "RESULTS.md").read_text().count("| one_two") == 2


@pytest.mark.slow
def test_a_stopped_training_ends_its_jobs_and_the_rerun_continues(prepared: Recipe) -> None:
    long = [*SMALL, "--training.max_epochs", "150", "--training.patience", "150", "--stage", "4", "--stop-stage", "4"]
    epochs = prepared.cell / "epochs.jsonl"

    def started() -> subprocess.Popen[bytes]:
        before = epochs.stat().st_size if epochs.exists() else 0
        process = prepared.start(*long)
        while not epochs.exists() or epochs.stat().st_size <= before:
            assert process.poll() is None
            time.sleep(0.02)
        return process

    process = started()
    process.terminate()
    assert process.wait() == 143
    left = subprocess.run(["pgrep", "-f", f"steps/train.py.*{prepared.cell}"], capture_output=True, text=True)
    assert left.stdout == ""
    assert (prepared.cell / "checkpoint.safetensors").is_file()

    process = started()
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
    assert process.wait() == 130
    assert (prepared.cell / "checkpoint.safetensors").is_file()
    assert not (prepared.cell / "model.safetensors").exists()
    other = prepared.run(*long, "--training.learning_rate", "1e-3")
    assert last_error(other).startswith(
        f"error: {prepared.cell}: holds a training with other settings "
        "(training.learning_rate: 0.0003 there, 0.001 now)"
    )
    again = prepared.run(*long)
    assert again.returncode == 0, again.stderr
    assert "continued from" in (prepared.cell / "train.log").read_text()
    assert json.loads((prepared.cell / "train.json").read_text())["epochs"] == 150


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sed", "1"], r"unknown option --sed \(did you mean --seed\?\); --help lists the options"),
        (["--stage", "8"], "error: --stage 8: stages are 0 to 7; ./run.sh --help lists them"),
        (["--stage", "-1"], "error: --stage -1: stages are 0 to 7"),
        (["--stage", "5", "--stop-stage", "4"], "nothing lies between them"),
        (["--nj", "0"], "--nj 0: a number of jobs from 1"),
        (["--data", "x", "--dump", "x"], "--data x --dump x: preparation replaces folders of data. Give two folders"),
        (["--cpu-cmd", "none.pl --mem 2G"], "cpu_cmd=none.pl --mem 2G: no command none.pl; see cmd.sh"),
        (["train"], "train: an argument that is no option"),
        (["--training.lr", "1"], r"command line: unknown key training.lr; did you mean training.\w+\?"),
        (["--fold", "5"], "error: fold = 5: split strict of one, two has folds 1 to 4"),
        (
            ["--temporal", "gru"],
            "command line: key temporal = 'gru': there is: .*lstm, blstm, tdnn",
        ),
        (
            ["--preset", "strikt"],
            "strikt.yaml: no such file below .*; there is: logmel, .*paper, pretrained, .*strict, strong",
        ),
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
def test_a_mistake_names_its_fix(recipe: Recipe, options: list[str], message: str) -> None:
    line = last_error(recipe.run(*options))
    assert re.search(message, line), line
    assert not (recipe.folder / "data").exists()


def test_a_missing_corpus_is_named_with_its_source(recipe: Recipe) -> None:
    line = last_error(recipe.run(ONE="/nowhere"))
    assert line == "error: /nowhere: no such folder or table; fix the path (one can be had from none)"


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
        "  --pooling         mu, mu_sigma2, mean, statistics or attentive_statistics (mu_sigma2)",
    ):
        assert line in done.stdout
    assert "  --training.learning_rate: 3.0e-4" in done.stdout


@pytest.mark.slow
def test_a_bad_file_stops_stage_1_and_the_rerun_goes_on(recipe: Recipe, tmp_path: Path) -> None:
    bad = tmp_path / "two" / "two1_sad_00.wav"
    content = bad.read_bytes()
    bad.write_bytes(content[:2000])
    stage_1 = [*SMALL, "--stage", "1", "--stop-stage", "1"]
    line = last_error(recipe.run(*stage_1))
    assert line.startswith(f"error: {bad}: truncated: 978 of ")
    assert "intact copy" in line
    assert not (recipe.folder / "data" / "two").exists()
    bad.write_bytes(content)
    assert recipe.run(*stage_1).returncode == 0
    assert (recipe.folder / "data" / "two" / "report.json").is_file()


@pytest.mark.slow
def test_a_failing_job_names_its_log(recipe: Recipe, tmp_path: Path) -> None:
    for corpus in SPLITS:
        protocol, preparer = read_protocol(corpus, recipe.folder), load_preparer(corpus, recipe.folder)
        prepare_corpus(preparer, protocol, tmp_path / corpus, recipe.folder / "data" / corpus, allow_partial=False)
    (tmp_path / "one" / "one1_sad_00.wav").unlink()
    done = recipe.run(*SMALL, "--stage", "3", "--stop-stage", "3")
    assert "jobs failed; the first log: " in done.stderr
    assert last_error(done).startswith(f"error: {tmp_path}/one/one1_sad_00.wav: no such file")


@pytest.mark.slow
def test_jobs_need_nothing_but_path_from_their_launcher(prepared: Recipe, tmp_path: Path) -> None:
    """Cluster launchers pass only PATH to a job (qsub -v PATH, sbatch --export=PATH)."""
    launcher = tmp_path / "bare.sh"
    launcher.write_text(BARE_LAUNCHER)
    launcher.chmod(0o755)
    commands = dict.fromkeys(("train_cmd", "cpu_cmd"), str(launcher))
    done = prepared.run(*SMALL, "--stage", "3", SER_ENV=sys.prefix, **commands)
    assert done.returncode == 0, done.stderr
    assert (prepared.cell / "result.json").is_file()


@pytest.mark.slow
def test_ngpu_starts_processes_and_asks_the_launcher_for_gpus(prepared: Recipe, tmp_path: Path) -> None:
    launcher = tmp_path / "asked.sh"
    launcher.write_text(
        '#!/bin/sh\necho "$1 $2" > "$(dirname "$0")/asked"\nshift 2\n' + f'exec "{ROOT}/utils/run.sh" "$@"\n'
    )
    launcher.chmod(0o755)
    recipe = replace(prepared, exp=str(tmp_path / "exp"))
    options = ("--stage", "4", "--stop-stage", "4", "--ngpu", "2", "--device", "cpu")
    done = recipe.run(*SMALL, *options, train_cmd=str(launcher))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "asked").read_text() == "--gpu 2\n"
    (record,) = (tmp_path / "exp").glob("*/*/*/train.json")
    assert json.loads(record.read_text())["machine"]["processes"] == 2


def test_every_step_can_be_called_by_its_path() -> None:
    """README and the tables call them so: steps/pool.py exp."""
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


@pytest.mark.slow
def test_a_dry_run_reports_what_is_done_and_writes_nothing(prepared: Recipe) -> None:
    recipe = replace(prepared, exp="exp")
    done = recipe.run(*SMALL, "--dry-run", "true", "--tag", "dry")
    assert done.returncode == 0, done.stderr
    lines = dict(line.rsplit(": ", 1) for line in done.stdout.splitlines()[1:] if ": " in line)
    assert lines["stage 1  prepare one"] == lines["stage 3  features of two"] == "done"
    assert lines["stage 5  decode"] == "to do"
    assert "stage 4  train: to do; no training of this cell" in done.stdout
    assert not (recipe.folder / "exp_dry").exists()
    again = recipe.run(*SMALL, "--dry-run", "true")
    assert "stage 4  train: done" in again.stdout
    assert "fold = 5: split strict of one, two has folds 1 to 4" in last_error(
        recipe.run("--dry-run", "true", "--fold", "5")
    )


@pytest.mark.slow
def test_folds_are_trained_in_turn_and_pooled(prepared: Recipe) -> None:
    recipe = replace(prepared, exp="exp")
    done = recipe.run(*SMALL, "--folds", "1 2", "--tag", "folds")
    assert done.returncode == 0, done.stderr
    cell = recipe.folder / "exp_folds" / "one_two" / "multi_blstm_mu_sigma2"
    assert sorted(path.parent.name for path in cell.glob("*/result.json")) == ["fold1_seed0", "fold2_seed0"]
    assert done.stdout.count("| combination") == 2  # one table of all runs, and one of all folds together
    assert "## All folds together" in done.stdout
    assert "UA by chance: one 25.0 %." in done.stdout


@pytest.mark.slow
def test_a_fold_that_no_corpus_has_is_refused_before_the_first_one(prepared: Recipe) -> None:
    done = replace(prepared, exp="exp").run("--folds", "1 9", "--tag", "nine")
    assert "fold = 9: split strict of one, two has folds 1 to 4" in last_error(done)
    assert not (prepared.folder / "exp_nine").exists()


def test_folds_end_with_the_first_that_fails(recipe: Recipe) -> None:
    done = recipe.run("--folds", "1 2", "--temporal", "gru", "--tag", "failed")
    assert "key temporal = 'gru'" in last_error(done)
    assert done.stderr.count("error:") == 1
    assert done.stdout == ""
