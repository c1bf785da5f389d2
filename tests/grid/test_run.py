"""Running the missing experiments of a grid: what is reused, what fails, what two processes do at once."""

import errno
import fcntl
import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import refuses
from scored import edited, recorded_again
from stand_ins import StandIns, wait_for

from ser.common import InputError, locked
from ser.common.run_folder import DONE, FAILED, LOG
from ser.config import Experiment
from ser.findings.ledger import build_ledger
from ser.grid import Grid
from ser.grid.features import grid_statistics
from ser.grid.run import Runner
from ser.grid.state import DoneList, State, claimed, is_locked, read_status
from ser.grid.status import draw_status, estimated_time, read_grid_status, text_of
from ser.scoring.posteriors import read_posteriors
from ser.training import Trainer
from ser.training.engine import REQUEUE

pytestmark = pytest.mark.slow


def states(grid: Grid) -> dict[str, State]:
    return {e.folder: found.state for e, found in read_grid_status(grid).experiments}


def finish(grid: Grid) -> None:
    """A further run makes all that is missing."""
    assert Runner(grid, "a further run").shard(1) == []
    assert set(states(grid).values()) == {State.DONE}


def written(grid: Grid) -> dict[str, int]:
    """Everything that has been made, with the time at which it was."""
    names = ("model.safetensors", "train.json", "result.json", "zero_shot.json", "post.ark", "decode.json")
    return {str(path): path.stat().st_mtime_ns for path in grid.root.rglob("*") if path.name in names}


@pytest.fixture
def stand_ins(prepared: Path, tmp_path: Path) -> StandIns:
    """No experiment has been made."""
    return StandIns(prepared, tmp_path / "exp")


@pytest.fixture
def own(finished: StandIns, tmp_path: Path) -> StandIns:
    """The same, to be written into."""
    shutil.copytree(finished.exp, tmp_path / "exp")
    return StandIns(finished.root, tmp_path / "exp")


def test_a_shard_makes_all_and_a_second_one_finds_it_done(own: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    grid = own.grid()
    assert states(grid) == dict.fromkeys((e.folder for e in grid.experiments), State.DONE)
    assert len(grid.experiments) == 4
    result = json.loads((grid.folder(grid.experiments[2]) / "result.json").read_text())
    assert (result["combination"], list(result["targets"])) == ("tess_ravdess", ["ravdess"])
    assert result["targets"]["ravdess"]["n"] == 12
    assert result["calibration"]["ravdess"]["n"] > 0
    for folder in map(grid.folder, grid.experiments):
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        decoded = {f"decode_{part}/post.ark" for part in ("test", "valid")}
        assert files == decoded | {
            *("config.yaml", "decode.json", "epochs.jsonl", "model.safetensors", "result.json", "result.tsv"),
            *("train.json", "train.log", "zero_shot.json"),
        }
    before = written(grid)
    assert len(before) == 4 * 7
    assert Runner(grid, "second").shard(1) == []
    assert written(grid) == before
    assert capsys.readouterr().out == ""


def test_hours_are_estimated_from_finished_trainings(own: StandIns) -> None:
    grid = own.grid()
    experiments = grid.experiments
    for experiment in experiments:
        seconds = 600.0 if len(experiment.corpora) > 1 else 100.0
        recorded_again(grid.folder(experiment) / "train.json", seconds_per_epoch=seconds, epochs=6)
    shutil.rmtree(grid.folder(next(e for e in experiments if len(e.corpora) > 1)))
    alone = next(e for e in experiments if len(e.corpora) == 1)
    edited(grid.folder(alone) / "train.json", seconds_per_epoch=700.0)  # its record is wrong, so it is not used
    assert estimated_time(grid) == (
        "3 trained, 2100 s each on average; the other 1 will take about 1.0 hours, one at a time"
    )
    shutil.rmtree(grid.root)
    assert estimated_time(grid).startswith("hours: unknown until the first")


def test_of_what_other_jobs_have_done_the_list_is_enough(own: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two calls of the file system for each, whether it is listed as done or was written since."""
    grid = own.grid()
    folders = [grid.folder(e) for e in grid.experiments]
    assert Runner(grid, "first", job=1).shard(1) == []
    listed = (grid.root / DONE).read_text()
    assert [line.split("\t")[0] for line in listed.splitlines()] == [e.folder for e in grid.experiments]
    attempted: list[str] = []
    attempt, stat = Runner.attempt, os.stat
    monkeypatch.setattr(Runner, "attempt", lambda self, e: (attempted.append(e.folder), attempt(self, e))[1])
    calls: Counter[Path] = Counter()
    monkeypatch.setattr(
        os, "stat", lambda path, **options: (calls.update([Path(path).parent]), stat(path, **options))[1]
    )
    Runner(grid, "again", job=2).shard(4)
    assert attempted == [grid.experiments[1].folder]
    assert [calls[folder] for folder in (folders[0], *folders[2:])] == [2, 2, 2]
    assert (grid.root / DONE).read_text() == listed
    os.utime(folders[0] / "result.json")
    Runner(grid, "third", job=2).shard(4)
    assert sorted(attempted[1:]) == sorted([grid.experiments[0].folder, grid.experiments[1].folder])
    attempted.clear()
    Runner(grid, "fourth", job=2).shard(4)
    assert attempted == [grid.experiments[1].folder]  # the first is listed again, as it is now


def test_an_experiment_that_is_not_done_is_in_no_list(tmp_path: Path) -> None:
    done = DoneList(tmp_path / DONE)
    done.add("a", "")
    assert not (tmp_path / DONE).exists()
    (tmp_path / DONE).write_text("a\t\n")  # the end of a line that was cut short
    assert not done.has("a", "")
    done.add("a", "x")
    assert DoneList(tmp_path / DONE).has("a", "x")
    assert not DoneList(tmp_path / DONE).has("a", "y")


def test_a_garbled_list_costs_a_look_at_each(own: StandIns) -> None:
    grid = own.grid()
    before = written(grid)
    (grid.root / DONE).write_bytes(b"\xff\tx\ty\n" + grid.experiments[0].folder.encode() + b"\n\0")
    assert Runner(grid, "next", job=2).shard(4) == []
    assert written(grid) == before
    assert len((grid.root / DONE).read_text(errors="replace").splitlines()) == 2 + len(grid.experiments)


def test_after_stage_3_no_experiment_computes_statistics(stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does zero-shot scoring, also on a corpus that no experiment trains on."""
    grid = stand_ins.grid(
        "batches.normalisation=speaker", "batches.trim_decibels=40", only=("tess", "ravdess", "iemocap")
    )
    grid = replace(grid, cells=[cell for cell in grid.cells if "iemocap" not in cell.corpora])
    assert [grid_statistics(grid, job, 3) for job in (3, 1, 2)] == [(1, 0)] * 3  # two combinations, and IEMOCAP alone

    def computed(*_: object) -> None:
        raise AssertionError("a statistic was computed in a training")

    monkeypatch.setattr("ser.batches.dataset.RunningStats.add", computed)
    monkeypatch.setattr("ser.batches.dataset.UtteranceDataset._ranges_and_floors", computed)
    finish(grid)
    scored = [json.loads((grid.folder(e) / "zero_shot.json").read_text()) for e in grid.experiments]
    assert [list(found["targets"]) for found in scored] == [["iemocap"]] * 4


def test_an_unseen_corpus_whose_speakers_have_one_class_is_normalised_as_a_whole(
    stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ser.grid.cells.confounded", lambda _, corpora, kind: (corpora, kind) == (["iemocap"], "speaker")
    )
    grid = stand_ins.grid("batches.normalisation=speaker", only=("ravdess", "iemocap"))
    grid = replace(grid, cells=[cell for cell in grid.cells if cell.corpora == ("ravdess",)][:1])
    (experiment,) = grid.experiments
    finish(grid)
    unseen = json.loads((grid.folder(experiment) / "zero_shot.json").read_text())
    assert list(unseen["targets"]) == ["iemocap"]
    assert unseen["notes"] == [
        "iemocap: normalised by corpus, because statistics of a speaker would remove the differences between classes"
    ]
    entries = read_posteriors(grid.folder(experiment), "test").corpora
    assert {corpus: entry.get("normalisation") for corpus, entry in entries.items()} == {
        "ravdess": None,
        "iemocap": "corpus",
    }


def test_data_that_cannot_be_opened_stop_no_statistics_but_their_own(
    stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[str] = []

    def compute(experiment: Experiment, *_: object) -> int:
        if experiment.combination == "ravdess":
            raise InputError("damaged", "data/ravdess")
        made.append(experiment.combination)
        return 1

    monkeypatch.setattr("ser.grid.features.compute_statistics", compute)
    assert grid_statistics(stand_ins.grid(), 1, 1) == (2, 1)
    assert made == ["tess_ravdess"]
    assert capsys.readouterr().out == "warning: ravdess, fold 1: data/ravdess: damaged\n"


def test_data_that_cannot_be_opened_stop_no_experiment_but_their_own(
    own: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = own.grid()
    assert Runner(grid, "first").shard(1) == []
    broken, hashes = grid.experiments[2].folder, Runner.hashes

    def of(self: Runner, experiment: Experiment) -> dict[str, str]:
        if experiment.folder == broken:
            raise InputError("data/ravdess: damaged")
        return hashes(self, experiment)

    monkeypatch.setattr(Runner, "hashes", of)
    (failure,) = Runner(grid, "again", job=2).shard(4)
    assert failure.error == "data/ravdess: damaged"
    assert [folder for folder, state in states(grid).items() if state is not State.DONE] == [broken]


def test_a_lock_that_does_not_hold_between_machines_is_named(tmp_path: Path) -> None:
    with (
        refuses("taken by another process (other 7)", where=".experiment.lock"),
        claimed(tmp_path),
    ):
        (tmp_path / ".experiment.lock").write_text("other 7\n")


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    with refuses("cannot be locked (No locks", where=".experiment.lock"), claimed(tmp_path):
        pass
    with refuses("cannot be locked", where=".data.lock"), locked(tmp_path / "data", "data is made"):
        pass


def test_what_an_experiment_reports_goes_to_its_own_log(own: StandIns) -> None:
    grid = own.grid()
    for e in grid.experiments:
        text = (grid.folder(e) / LOG).read_text()
        assert text.startswith("# ")
        assert text.count("epoch 2: train loss") == 1
        assert "result: ravdess WA" in text


def test_every_model_is_scored_on_the_corpora_it_has_not_seen(own: StandIns) -> None:
    grid = own.grid(only=("tess", "ravdess", "customer_ptbr"))
    assert len(grid.cells) == 12
    assert Runner(grid, "a").shard(1) == []
    scored = {}
    for e in grid.experiments:
        folder = grid.folder(e)
        known, unseen = (json.loads((folder / name).read_text()) for name in ("result.json", "zero_shot.json"))
        decoded = json.loads((folder / "decode.json").read_text())
        scored[e.folder] = set(known["targets"]), set(unseen["targets"])
        assert sum(path.is_file() for path in folder.rglob("*")) == 12 - (not unseen["targets"])
        assert all(unseen[key] == known[key] for key in ("config_hash", "data_hash", "split_hash", "seed", "task"))
        for corpus in unseen["targets"]:
            assert decoded["test"]["corpora"][corpus]["zero_shot"] is True
            assert unseen["targets"][corpus]["n"] == 12
            assert unseen["folds"][corpus] == "strict_fold1"
        for corpus in known["targets"]:
            assert "zero_shot" not in decoded["test"]["corpora"][corpus]
    assert scored["tess_ravdess/unified_lstm_mu/fold1_seed0"] == ({"ravdess"}, {"customer_ptbr"})
    assert scored["tess_customer_ptbr/multi_lstm_mu/fold1_seed0"] == ({"customer_ptbr"}, {"ravdess"})
    assert scored["ravdess_customer_ptbr/multi_lstm_mu/fold1_seed0"] == ({"ravdess", "customer_ptbr"}, set())
    assert sum(len(known) + len(unseen) for known, unseen in scored.values()) == 12 * 2


def test_of_a_corpus_that_is_added_later_zero_shot_scores_alone_are_added(own: StandIns) -> None:
    before, models = written(own.grid()), {str(p) for p in own.exp.rglob("model.safetensors")}
    grid = own.grid(only=("tess", "ravdess", "customer_ptbr"))
    assert grid.root == own.grid().root
    ravdess = grid.experiments[0]
    assert read_status(grid.folder(ravdess), ravdess, grid.unseen(ravdess)).state is State.MISSING
    assert Runner(grid, "second").attempt(ravdess) is None
    changed = {path for path, when in written(grid).items() if before.get(path) != when}
    assert {Path(path).relative_to(grid.folder(ravdess)).as_posix() for path in changed} == {
        "zero_shot.json",
        "decode_test/post.ark",
        "decode.json",
    }
    assert models == {str(p) for p in own.exp.rglob("model.safetensors")}


def test_a_failed_experiment_is_named_with_its_log_and_stops_no_other(
    stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = stand_ins.grid()
    bad = grid.experiments[1]
    run = Trainer.run

    def failing(trainer: Trainer) -> None:
        if trainer.folder == grid.folder(bad):
            raise RuntimeError("out of\nmemory")
        run(trainer)

    monkeypatch.setattr(Trainer, "run", failing)
    (failure,) = Runner(grid, "a").shard(1)
    assert failure.error == "RuntimeError: out of memory"
    log = grid.folder(bad) / LOG
    assert f"error: {bad.folder}: RuntimeError: out of memory; log: {log}" in capsys.readouterr().out
    assert "Traceback" in log.read_text()
    assert [state for state in states(grid).values() if state is State.DONE] == [State.DONE] * 3
    text = text_of(read_grid_status(grid))
    assert f"failed: {bad.folder}: RuntimeError: out of memory; log: {log}" in text
    assert text.splitlines()[-2].split() == ["all", "3", "0", "1", "0", "4"]
    # It is not tried again in the same run: its own shard reports it once more, another shard does not.
    assert [f.error for f in Runner(grid, "a").shard(1)] == [failure.error]
    assert Runner(grid, "a", job=2).shard(2) == []
    monkeypatch.setattr(Trainer, "run", run)
    finish(grid)
    assert not (grid.folder(bad) / FAILED).exists()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:100]), "result.json: not readable as JSON"),
        (lambda path: path.write_text("[]"), "result.json: expected an object, found list"),
        (lambda path: edited(path, seed=1), "result.json: changed since it was written"),
        (lambda path: recorded_again(path, updates={}), "result.json: updates is not as in train.json"),
        (lambda path: recorded_again(path, task="unified"), "result.json: task: not that of this folder"),
    ],
)
def test_a_damaged_result_is_named_and_made_again(own: StandIns, damage: Callable[[Path], object], words: str) -> None:
    grid = own.grid()
    bad = grid.experiments[2]
    path = grid.folder(bad) / "result.json"
    whole, before = path.read_text(), written(grid)
    damage(path)
    ((e, found),) = read_grid_status(grid).failed
    assert e == bad
    assert words in found.reason
    finish(grid)
    assert path.read_text() == whole
    same = {path for path, when in written(grid).items() if before[path] == when}
    assert {Path(p) for p in before if "model" in p or grid.folder(bad) not in Path(p).parents} <= {
        Path(p) for p in same
    }


@pytest.mark.parametrize("name", ["decode.json", "decode_test/post.ark", "decode_valid/post.ark"])
def test_what_is_damaged_of_a_decoding_is_made_again_with_the_result(own: StandIns, name: str) -> None:
    grid = own.grid()
    folder = grid.folder(grid.experiments[0])
    path = folder / name
    whole = path.read_bytes()
    path.write_bytes(whole[:20])
    (folder / "result.json").unlink()
    assert Runner(grid, "next").shard(1) == []
    assert path.read_bytes() == whole


@pytest.mark.parametrize("when", ["interrupted", "removed", "an earlier layout"])
def test_posteriors_lost_while_others_are_added_are_made_again(own: StandIns, monkeypatch, when: str) -> None:
    """Zero-shot decoding writes the archive that has the experiment's own posteriors, too."""
    grid = own.grid(only=("ravdess", "customer_ptbr"))
    e, folder = grid.experiments[0], grid.folder(grid.experiments[0])
    result = (folder / "result.json").read_bytes()
    if when == "interrupted":

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("ser.scoring.posteriors.write_record", full)
        assert Runner(grid, "full").attempt(e) is not None
        monkeypatch.undo()
        with refuses("changed since", where="decode_test/post.ark"):
            read_posteriors(folder, "test")
    elif when == "removed":
        shutil.rmtree(folder / "decode_test")
    else:
        (folder / "decode.json").write_text('{"decode_ravdess_test": {"classes": ["a"]}}')
    assert Runner(grid, "next").attempt(e) is None
    assert read_posteriors(folder, "test").corpora.keys() == {"ravdess", "customer_ptbr"}
    assert (folder / "result.json").read_bytes() == result
    ledger = build_ledger([grid.root], own.exp / "ledger", ["tess", "ravdess", "customer_ptbr"], "command")
    assert all(problem["folder"] != str(folder) for problem in ledger["problems"])


@pytest.mark.parametrize("name", ["decode_test/post.ark", "result.tsv"])
@pytest.mark.parametrize("gone", [False, True])
def test_an_experiment_whose_posteriors_or_answers_are_damaged_is_not_done(
    own: StandIns, name: str, gone: bool
) -> None:
    grid = own.grid()
    path = grid.folder(grid.experiments[0]) / name
    whole = path.read_bytes()
    path.unlink() if gone else path.write_bytes(whole[:20])
    if gone or name == "result.tsv":  # the bytes of archives are not read for the status
        assert states(grid)[grid.experiments[0].folder] is not State.DONE
    finish(grid)
    assert path.read_bytes() == whole


def test_results_of_other_data_are_refused_and_never_mixed(own: StandIns, tmp_path: Path) -> None:
    shutil.copytree(own.recipe, tmp_path / "a recipe", symlinks=True)
    grid = StandIns(tmp_path, own.exp).grid()
    table = grid.places.data / "tess" / "strict_fold1" / "valid" / "utt2emo"
    table.write_text(table.read_text().replace(" sad\n", " angry\n", 1))
    before = written(grid)
    failures = Runner(grid, "next").shard(1)
    folders = [grid.folder(e) for e in grid.experiments[2:]]
    assert [f.error for f in failures] == [
        f"{folder}: trained with another data; restore that, remove the folder and run stages 4 to 6 again, or give "
        "another --exp folder"
        for folder in folders
    ]
    assert [state for name, state in states(grid).items() if name.startswith("ravdess/")] == [State.DONE] * 2
    assert written(grid) == before
    finish(own.grid())


def test_zero_shot_scores_of_other_data_are_made_again_without_a_training(own: StandIns, tmp_path: Path) -> None:
    corpora = ("ravdess", "customer_ptbr")
    e, folder = own.grid(only=corpora).experiments[0], own.grid().root / "ravdess" / "multi_lstm_mu" / "fold1_seed0"
    assert Runner(own.grid(only=corpora), "next").attempt(e) is None
    before, first = written(own.grid()), json.loads((folder / "zero_shot.json").read_text())
    shutil.copytree(own.recipe, tmp_path / "a recipe", ignore=shutil.ignore_patterns("dump"))
    (tmp_path / "a recipe" / "dump").symlink_to(own.recipe / "dump")
    grid = StandIns(tmp_path, own.exp).grid(only=corpora)
    table = grid.places.data / "customer_ptbr" / "strict_fold1" / "test" / "utt2emo"
    table.write_text(table.read_text().replace(" sad\n", " angry\n"))
    assert Runner(grid, "other").attempt(e) is None
    second = json.loads((folder / "zero_shot.json").read_text())
    assert second["target_hashes"]["customer_ptbr"] != first["target_hashes"]["customer_ptbr"]
    truth = [sum(row) for row in second["targets"]["customer_ptbr"]["confusion"]]
    assert truth == [6, 3, 3, 0]
    changed = {Path(path).relative_to(folder).parts[0] for path, when in written(grid).items() if before[path] != when}
    assert changed == {"zero_shot.json", "decode.json", "decode_test"}


def test_a_damaged_marker_is_a_failure_that_the_next_run_clears(own: StandIns) -> None:
    grid = own.grid()
    marker = grid.folder(grid.experiments[0]) / FAILED
    marker.write_text('{"run": "a"')
    ((_, found),) = read_grid_status(grid).failed
    assert found.reason == f"{marker}: not readable; the next run makes it again"
    finish(grid)


def test_other_settings_make_other_cells(own: StandIns) -> None:
    before, grid = written(own.grid()), own.grid("training.max_epochs=1")
    assert set(states(grid).values()) == {State.MISSING}
    assert Runner(grid, "next").shard(1) == []
    assert {json.loads(p.read_text())["epochs"] for p in grid.root.rglob("train.json")} == {1}
    assert written(own.grid()) == before


def test_an_experiment_in_other_hands_is_running_and_is_picked_up_when_they_let_go(stand_ins: StandIns) -> None:
    grid = stand_ins.grid()
    held = grid.experiments[0]
    with claimed(grid.folder(held)) as mine:
        assert mine
        with claimed(grid.folder(held)) as again:
            assert not again
        process = stand_ins.start("run")
        others = {e.folder for e in grid.experiments[1:]}
        wait_for(lambda: all(states(grid)[name] is State.DONE for name in others))
        assert states(grid)[held.folder] is State.RUNNING
        assert not (grid.folder(held) / "config.yaml").exists()
        assert process.poll() is None
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert output.splitlines()[-1].startswith(f"{held.folder}: done in ")
    assert set(states(grid).values()) == {State.DONE}


def test_runs_at_once_make_each_experiment_once(stand_ins: StandIns) -> None:
    """Two shards of one run, and another run."""
    grid = stand_ins.grid()
    shards = [("--run", "a", "--job", "1", "--nj", "2"), ("--run", "a", "--job", "2", "--nj", "2"), ()]
    processes = [stand_ins.start("run", *words) for words in shards]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    printed = [line.partition(":")[0] for output, _ in outputs for line in output.splitlines()]
    assert sorted(printed) == sorted(e.folder for e in grid.experiments)
    assert set(states(grid).values()) == {State.DONE}
    assert all((grid.folder(e) / LOG).read_text().count("# ") == 1 for e in grid.experiments)


LONG = ("training.max_epochs=40", "training.patience=40")


def begun(grid: Grid) -> bool:
    return any((grid.folder(e) / "checkpoint.safetensors").is_file() for e in grid.experiments)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGKILL])
def test_stopped_in_the_middle_nothing_is_called_done_that_is_not(stand_ins: StandIns, number: signal.Signals) -> None:
    grid = stand_ins.grid(*LONG)
    process = stand_ins.start("run", *LONG, "training.checkpoint_seconds=0.001")
    wait_for(lambda: begun(grid) or process.poll() is not None)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGKILL: -9}.get(number, REQUEUE)
    assert "Traceback" not in errors
    first = grid.folder(grid.experiments[0])
    assert (first / "checkpoint.safetensors").is_file()
    assert set(states(grid).values()) == {State.MISSING}
    assert not is_locked(first / ".experiment.lock")
    assert not list(grid.root.rglob(FAILED))
    assert Runner(grid, "next").attempt(grid.experiments[0]) is None
    assert "continued from" in (first / "train.log").read_text()
    assert [state for state in states(grid).values() if state is not State.MISSING] == [State.DONE]


def test_on_a_full_disk_all_is_named_and_the_rerun_makes_it(stand_ins: StandIns) -> None:
    grid = stand_ins.grid()
    limit = 8192  # bytes a file, less than a model

    process = stand_ins.start("run", file_size=limit)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "Traceback" not in output + errors
    for e in grid.experiments:
        assert f"error: {e.folder}: {grid.folder(e)}/model.safetensors: cannot be written (File too large); " in output
    assert set(states(grid).values()) == {State.FAILED}
    finish(grid)


def test_with_no_room_at_all_a_shard_still_goes_through_the_grid(
    stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither log nor marker can be written."""

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    for name in ("append_text", "mark_failed"):
        monkeypatch.setattr(f"ser.grid.run.{name}", full)
    failures = Runner(stand_ins.grid(), "a").shard(1)
    assert [f.error for f in failures] == ["OSError: [Errno 28] No space left on device"] * 4


def test_the_picture_shows_every_experiment(own: StandIns, tmp_path: Path) -> None:
    grid = own.grid(folds=(1, 2), seeds=(0, 1))
    status = read_grid_status(grid)
    assert sum(found.state is State.DONE for _, found in status.experiments) == 4
    assert {name: dict(counts) for name, counts in status.counts.items()} == {
        name: {State.DONE: 2, State.MISSING: 6} for name in ("ravdess", "tess_ravdess")
    }
    draw_status(status, tmp_path / "status.png")
    assert (tmp_path / "status.png").read_bytes().startswith(b"\x89PNG")
    process = own.start("status")
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert output.splitlines()[-2].split() == ["all", "4", "0", "0", "0", "4"]
    assert (own.grid().root / "status.png").read_bytes().startswith(b"\x89PNG")
    assert errors == "4 of 28 cells with tess, ravdess: those of ravdess, tess_ravdess\n"
