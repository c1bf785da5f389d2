"""A grid on a real Slurm and a real Grid Engine, which a user and a node's end disturb."""

import subprocess
import sys
from pathlib import Path

import pytest
from stand_ins import StandIns, make, prepare_all

from clusters.conftest import Cluster, heed_interrupts
from clusters.daemons import wait_for

pytestmark = pytest.mark.slow

# Twelve cells, long enough to be disturbed.
OPTIONS = ["--only", "tess,ravdess,customer_ptbr", "--folds", "1", "--nj", "2"]
OPTIONS += ["--stage", "3", "--training.max_epochs", "60", "--training.patience", "60"]


def with_results(exp: Path) -> set[str]:
    """Cells that have all their results."""
    return {str(path.parent.parent) for path in exp.glob("*/*/*/*/zero_shot.json")}


def counts(text: str) -> list[int]:
    """Done, running, failed, missing and all, of a printed status."""
    return [int(word) for word in text.split("\nall ")[1].splitlines()[0].split()]


@pytest.mark.parametrize("name", ["slurm", "gridengine"])
def test_every_cell_is_done_in_the_end_and_none_is_called_so_before(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    cluster: Cluster = request.getfixturevalue(name)
    make(tmp_path / "stand ins")
    stand_ins = StandIns(tmp_path / "stand ins", tmp_path / "stand ins" / "exp")
    prepare_all(stand_ins)
    run = [stand_ins.recipe / "run.sh", *OPTIONS, "--exp", stand_ins.exp]
    launcher = {"slurm.sh": "slurm.sh --mem 900M", "queue.sh": "queue.sh"}[cluster.program]
    environment = {**cluster.environment, "SER_ENV": sys.prefix, "train_cmd": launcher, "cpu_cmd": launcher}

    output = tmp_path / "output"
    with output.open("wb") as out:
        grid = subprocess.Popen(run, env=environment, stdout=out, stderr=out, preexec_fn=heed_interrupts)

    def a_result() -> bool:
        assert grid.poll() is None, f"{output.read_text()}\n{cluster.last_lines()}"
        return bool(with_results(stand_ins.exp)) and len(cluster.queued()) == 2

    def status() -> list[int]:
        before = with_results(stand_ins.exp)
        done = subprocess.run([*run, "--status", "true"], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found = counts(done.stdout)
        assert len(before) <= found[0] <= len(with_results(stand_ins.exp))
        return found

    try:
        wait_for(a_result, "two jobs run, and a cell is done", 300)
        cluster.delete(first_task(cluster))
        for node in cluster.nodes:
            cluster.kill(node)  # its jobs run on
        assert status()[0] < 12
        for node in cluster.nodes:
            cluster.start_node(node)
        wait_for(lambda: len(with_results(stand_ins.exp)) >= 4, "the other job goes on", 300)
        cluster.lose_node(first_node(cluster))
        found = status()
        assert found[0] < 12, "too few cells for this test"
        for node in cluster.nodes:
            if node not in cluster.running:
                cluster.start_node(node)
        code = grid.wait(300)
    finally:
        grid.terminate()
        grid.wait(60)
    text = output.read_text()
    assert code == 0, f"{text}\n{cluster.last_lines()}"
    assert "1 of 2 jobs failed; the first log: " in text
    assert "is started again (" in text
    assert counts(text) == [12, 0, 0, 0, 12]
    assert status() == [12, 0, 0, 0, 12]
    assert len(with_results(stand_ins.exp)) == 12
    assert not list(stand_ins.exp.glob("*/*/*/*/failed.json"))
    assert list(stand_ins.exp.glob("*/report/index.html"))
    assert "Traceback" not in text


def first_task(cluster: Cluster) -> str:
    """The first job in the queue, as a user names it to delete it."""
    words = cluster.queued()[0].split()
    return words[0] if cluster.program == "slurm.sh" else f"{words[0]}.{words[-1]}"


def first_node(cluster: Cluster) -> str:
    """The node of the job that is left."""
    if cluster.program == "queue.sh":
        return "execd"
    return cluster.ok("squeue", "-h", "-o", "%N").split()[0]
