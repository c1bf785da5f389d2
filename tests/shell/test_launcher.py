"""utils/run.sh: one log a job, one verdict for all, no job left behind."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).resolve().parents[2] / "utils" / "run.sh"


def launch(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the launcher to its end in a folder."""
    return subprocess.run([LAUNCHER, *words], cwd=cwd, capture_output=True, text=True)


def heed_interrupts() -> None:
    """As on a terminal: what was started in the background ignores SIGINT, and hands that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def alive(pid: int) -> bool:
    """Does a process run? One that ended, and whose parent has not looked yet, does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Poll; the limit is there for a broken launcher only."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    pytest.fail(f"never happened: {what}")


def test_job_is_replaced_in_log_and_arguments(tmp_path: Path) -> None:
    done = launch(tmp_path, "JOB=2:4", "exp/log JOB/x.JOB.log", "echo", "a.JOB.b", "JOBJOB")
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")
    for job in "234":
        assert f"\na.{job}.b {job}{job}\n" in (tmp_path / f"exp/log {job}/x.{job}.log").read_text()
    assert not list(tmp_path.glob("exp/*/x.JOB.log"))


def test_without_job_range_the_word_stays(tmp_path: Path) -> None:
    assert launch(tmp_path, "log/x.log", "echo", "JOB").returncode == 0
    assert "\nJOB\n" in (tmp_path / "log/x.log").read_text()


def test_arguments_arrive_as_they_are(tmp_path: Path) -> None:
    words = [
        "two  words",
        "",
        "it's",
        '"quoted"',
        "$HOME `id` $(id)",
        "a;b|c&d>e",
        "*",
        "back\\slash",
        "new\nline",
    ]
    program = "import sys; print(repr(sys.argv[1:]))"
    done = launch(tmp_path, "JOB=1:1", "x.JOB.log", sys.executable, "-c", program, *words)
    assert done.returncode == 0, done.stderr
    assert repr(words) in (tmp_path / "x.1.log").read_text()


def test_log_holds_command_host_times_and_exit_code(tmp_path: Path) -> None:
    launch(tmp_path, "x.log", "bash", "-c", "printf out; exit 7")
    lines = (tmp_path / "x.log").read_text().splitlines()
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}"
    assert lines[0] == r"# command bash -c printf\ out\;\ exit\ 7"
    assert lines[1] == f"# host {os.uname().nodename}"
    assert re.fullmatch(f"# started {stamp}", lines[2])
    assert lines[3] == "out"
    assert re.fullmatch(rf"# ended {stamp}, \d+ s, exit code 7", lines[4])
    assert len(lines) == 5


def test_a_failing_job_is_named_after_all_have_ended(tmp_path: Path) -> None:
    program = "for i in 1 2 3 4 5 6; do echo line $i of JOB; done; [ JOB = 1 ] || [ JOB = 4 ]"
    done = launch(tmp_path, "--max-jobs-run", "1", "JOB=1:4", "log/x.JOB.log", "bash", "-c", program)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "run.sh: 2 of 4 jobs failed; the first log: log/x.2.log"
    assert lines[1:] == [f"line {i} of 2" for i in (2, 3, 4, 5, 6)]
    assert "exit code 0" in (tmp_path / "log/x.4.log").read_text()


def test_a_users_mistake_is_shown_instead_of_the_last_lines(tmp_path: Path) -> None:
    program = "echo before; echo 'error: conf/x.yaml: unknown key'; for i in 1 2 3 4 5 6; do echo $i; done; exit 1"
    done = launch(tmp_path, "x.log", "bash", "-c", program)
    assert done.stderr.splitlines()[1:] == ["error: conf/x.yaml: unknown key"]


@pytest.mark.parametrize("command", [["no-such-command"], ["bash", "-c", "kill -KILL $$"]])
def test_no_start_and_sudden_death_are_failures(tmp_path: Path, command: list[str]) -> None:
    done = launch(tmp_path, "x.log", *command)
    assert done.returncode == 1
    assert "run.sh: 1 of 1 jobs failed; the first log: x.log" in done.stderr


def test_max_jobs_run_is_kept(tmp_path: Path) -> None:
    """Each job takes a place, counts the places taken, and gives its own back once a second job has been seen."""
    (tmp_path / "places").mkdir()
    program = """
touch places/JOB
for _ in $(seq 50); do n=$(ls places | wc -l); [ $n -lt 2 ] || break; sleep 0.05; done
echo at once: $n
sleep 0.1
rm places/JOB
"""
    done = launch(tmp_path, "--max-jobs-run", "2", "JOB=1:6", "x.JOB.log", "bash", "-c", program)
    assert done.returncode == 0, done.stderr
    counts = [int(re.findall(r"at once: (\d+)", path.read_text())[0]) for path in tmp_path.glob("x.*.log")]
    assert len(counts) == 6
    assert max(counts) == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("stubborn", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_signal_leaves_no_orphan(tmp_path: Path, number: int, code: int, stubborn: bool) -> None:
    trap = "trap '' TERM INT;" if stubborn else ""
    program = f"{trap} sleep 600 & echo $! > child.JOB; echo $$ > parent.JOB; touch ready.JOB; wait; sleep 600"
    launcher = subprocess.Popen(
        [LAUNCHER, "--max-jobs-run", "2", "JOB=1:3", "x.JOB.log", "bash", "-c", program],
        cwd=tmp_path,
        env={**os.environ, "SER_KILL_WAIT": "2"},
        preexec_fn=heed_interrupts,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: len(list(tmp_path.glob("ready.*"))) == 2, "two jobs run")
    pids = [int(path.read_text()) for path in tmp_path.glob("[cp]*.[12]")]
    assert len(pids) == 4
    assert all(alive(pid) for pid in pids)
    os.kill(launcher.pid, number)
    launcher.communicate()
    assert launcher.returncode == code
    assert not [pid for pid in pids if alive(pid)]
    assert not (tmp_path / "x.3.log").exists()
    if not stubborn:
        assert "# ended" in (tmp_path / "x.1.log").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--foo", "1", "x.log", "true"], "unknown option --foo"),
        (["--mem"], "option --mem needs a value"),
        (["--max-jobs-run", "0", "x.log", "true"], "not a number of 1 or more"),
        (["JOB=3:2", "x.JOB.log", "true"], "JOB=3:2: the range is empty"),
        (["JOB=1:2", "x.log", "true"], "the log's name must hold JOB"),
        (["x.log"], "usage:"),
    ],
)
def test_a_wrong_call_is_refused(tmp_path: Path, words: list[str], message: str) -> None:
    done = launch(tmp_path, *words)
    assert done.returncode == 1
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_options_of_cluster_launchers_are_taken(tmp_path: Path) -> None:
    options = ["--mem", "4G", "--num-threads", "2", "--gpu", "1", "--time", "1:00:00", "--max-jobs-run", "3"]
    assert launch(tmp_path, *options, "JOB=1", "x.JOB.log", "true").returncode == 0
    assert (tmp_path / "x.1.log").exists()
