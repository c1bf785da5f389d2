"""utils/slurm.sh and utils/queue.sh on a real Slurm and a real Grid Engine: what people, nodes and schedulers do."""

import re
import signal
import sys
import time

import pytest

pytestmark = pytest.mark.slow

WAIT = "until [ -e go ]; do sleep 0.1; done; "
TASK = "echo {} > new.NR; mv new.NR task.NR; "
# Heeds the warning as a training does.
WARNED = """
import pathlib, signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(75))
with open("starts.NR", "a") as file: print(file=file)
while not pathlib.Path("go").exists() and pathlib.Path("starts.NR").read_text() == "\\n": time.sleep(0.1)
"""


@pytest.mark.parametrize("code", ["", "exit 0", "exit 75"])
def test_a_deleted_job_is_no_success(launchers, code) -> None:
    """Whatever the job does when it hears of that."""
    trap = f"trap '{code}' TERM; " if code else ""
    program = (
        f"{trap}echo {launchers.cluster.task} > new.NR; mv new.NR task.NR; [ NR = 1 ] || {{ {WAIT} }}; touch done.NR"
    )
    launcher = launchers.start("NR=1:2", "x.NR.log", "bash", "-c", program)
    launchers.wait_for("done.1", "task.2")
    launchers.cluster.delete(launchers.read("task.2").strip())
    done = launchers.end(launcher)
    assert done.code == 1
    assert re.search(r"1 of 2 jobs failed; the first log: x.2.log \((CANCELLED|deleted)", done.output)
    assert "again" not in done.output
    assert not (launchers.folder / "done.2").exists()


def test_a_job_deleted_before_its_start_is_no_success(launchers) -> None:
    if launchers.cluster.program == "queue.sh":
        pytest.skip("Grid Engine keeps nothing of it, which is waited for")
    program = f"{TASK.format(launchers.cluster.task)}{WAIT}"
    launcher = launchers.start("--max-jobs-run", "1", "NR=1:2", "x.NR.log", "bash", "-c", program)
    launchers.wait_for("task.1")
    launchers.cluster.delete(re.sub(r"\d+$", "2", launchers.read("task.1").strip()))
    (launchers.folder / "go").touch()
    done = launchers.end(launcher)
    assert done.code == 1
    assert "1 of 2 jobs failed; the first log: x.2.log (" in done.output
    assert "(it wrote none)" in done.output


def test_exit_code_75_starts_a_job_again(launchers) -> None:
    program = "echo >> starts.NR; [ NR = 1 ] || [ $(wc -l < starts.NR) = 3 ] || exit 75"
    done = launchers.run("NR=1:2", "x.NR.log", "bash", "-c", program)
    assert done.code == 0, done.output
    assert done.output.splitlines() == [
        f"{launchers.cluster.program}: job 2 is started again (exit code 75; {i} of at most 20)" for i in (1, 2)
    ]
    codes = re.findall(r"exit code (\d+)", launchers.read("x.2.log"))
    assert codes == ["75", "75", "0"]
    assert launchers.read("x.1.log").count("# started") == 1


def test_a_job_is_not_started_again_for_ever(launchers) -> None:
    done = launchers.run("x.log", "bash", "-c", "exit 75", SER_RESTARTS="1")
    assert done.code == 1
    assert "(exit code 75, after 1 restarts)" in done.output
    assert launchers.read("x.log").count("# started") == 2


def test_a_job_is_warned_before_its_time_is_over(launchers) -> None:
    """A minute before, which here is as good as at once."""
    done = launchers.run("--time", "0:01:02", "NR=1", "x.log", sys.executable, "-c", WARNED)
    assert done.code == 0, done.output
    assert "job 1 is started again (exit code 75; 1 of at most 20)" in done.output


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_launcher_ends_its_jobs(launchers, number, code) -> None:
    program = "trap 'touch stopped.NR; exit 75' TERM; touch begun.NR; while true; do sleep 0.1; done"
    launcher = launchers.start("--max-jobs-run", "2", "NR=1:3", "x.NR.log", "bash", "-c", program)
    launchers.wait_for("begun.1", "begun.2")
    launcher.send_signal(number)
    done = launchers.end(launcher)
    assert done.code == code
    assert done.output == f"{launchers.cluster.program}: stopped; ending 3 jobs\n"
    assert not launchers.cluster.queued()
    launchers.wait_for("stopped.1", "stopped.2")
    assert not (launchers.folder / "begun.3").exists()


def test_a_daemon_of_a_node_comes_back(launchers) -> None:
    """One job ends while the daemon of its node is away, the other after its return."""
    cluster = launchers.cluster
    program = "echo start >> starts.NR; touch begun.NR; until [ -e go.NR ]; do sleep 0.1; done; touch done.NR"
    launcher = launchers.start("NR=1:2", "x.NR.log", "bash", "-c", program)
    launchers.wait_for("begun.1", "begun.2")
    for node in cluster.nodes:
        cluster.kill(node)
    (launchers.folder / "go.1").touch()
    launchers.wait_for("done.1")
    for node in cluster.nodes:
        cluster.start_node(node)
    (launchers.folder / "go.2").touch()
    done = launchers.end(launcher)
    assert done == (0, "")
    assert launchers.read("starts.1") == launchers.read("starts.2") == "start\n"


def test_a_lost_node_has_its_job_started_again(launchers) -> None:
    cluster = launchers.cluster
    program = f"echo $SLURMD_NODENAME > node; echo >> starts; {WAIT}"
    launcher = launchers.start("x.log", "bash", "-c", program, SER_NODE_WAIT="2")
    launchers.wait_for("starts")
    node = launchers.read("node").strip() or "execd"
    cluster.lose_node(node)
    (launchers.folder / "go").touch()
    launchers.wait_for_output(r"job 1 is started again \((NODE_FAIL|its node does not answer).*; 1 of at most 20\)")
    cluster.start_node(node)
    assert launchers.end(launcher).code == 0
    assert launchers.read("starts") == "\n\n"
    assert launchers.read("x.log").count("# started") == 2


def test_a_preempted_job_is_started_again(launchers) -> None:
    """Slurm ends a job for another of higher priority; Grid Engine suspends it, and sends a signal before."""
    cluster = launchers.cluster
    if cluster.program == "slurm.sh":
        program = f"echo >> starts.NR; {WAIT}"
        launcher = launchers.start("--num-threads", "2", "NR=1:2", "x.NR.log", "bash", "-c", program)
        launchers.wait_for("starts.1", "starts.2")
        cluster.ok("sbatch", "--partition=urgent", "--cpus-per-task=2", "--output=/dev/null", "--wrap=sleep 1")
    else:
        launcher = launchers.start("NR=1:2", "x.NR.log", sys.executable, "-c", WARNED)
        launchers.wait_for("starts.1", "starts.2")
        cluster.ok("qmod", "-sj", cluster.queued()[0].split()[0] + ".1")
    launchers.wait_for_output(r"is started again \((PREEMPTED|exit code 75).*; 1 of at most 20\)")
    (launchers.folder / "go").touch()
    assert launchers.end(launcher).code == 0
    assert len(launchers.read("starts.1") + launchers.read("starts.2")) == 3


def test_a_job_whose_shepherd_was_killed_is_started_again(launchers) -> None:
    """What watches over a job on its node is gone, while the job itself runs on."""
    if launchers.cluster.program == "slurm.sh":
        pytest.skip("Slurm needs more than a minute to see that")
    launcher = launchers.start("x.log", "bash", "-c", f"echo >> starts; {WAIT}")
    launchers.wait_for("starts")
    assert launchers.cluster.kill_named("sge_shepherd") == 1
    launchers.wait_for_output(r"job 1 is started again \(before writing exit_status; 1 of at most 20\)")
    (launchers.folder / "go").touch()
    assert launchers.end(launcher).code == 0
    assert launchers.read("starts") == "\n\n"


def test_a_scheduler_that_is_away_is_waited_for(launchers) -> None:
    cluster = launchers.cluster
    launcher = launchers.start("NR=1:2", "x.NR.log", "bash", "-c", f"touch begun.NR; {WAIT}")
    launchers.wait_for("begun.1", "begun.2")
    time.sleep(6)  # Slurm writes its jobs down every five seconds; the number of one that it forgets is given out again
    cluster.kill(cluster.controller)
    launchers.wait_for_output("; waiting for it")
    cluster.start_controller()
    launchers.wait_for_output("the scheduler answers again")
    (launchers.folder / "go").touch()
    assert launchers.end(launcher).code == 0
