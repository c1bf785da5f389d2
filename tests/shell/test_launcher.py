"""utils/run.sh: a log for each job, one exit status for all, no job left running; code shared by all launchers."""

import ast
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

UTILS = Path(__file__).resolve().parents[2] / "utils"
LAUNCHER = UTILS / "run.sh"


def launch(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the launcher in a folder, and wait for its end."""
    return subprocess.run([LAUNCHER, *words], cwd=cwd, capture_output=True, text=True)


def heed_interrupts() -> None:
    """Restore SIGINT as on a terminal; processes started in the background ignore it, and their children too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Poll until a condition holds; the limit matters only for a broken launcher."""
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


ON_CLUSTERS = ["--mem", "4G", "--num-threads", "2", "--gpu", "1", "--time", "1:00:00", "--max-jobs-run", "3"]
NO_END = "kill -USR1 $$; kill -USR2 $$; echo still here"
CALLS = {
    "without a range the word stays": (["log/x.log", "echo", "JOB"], "log/x.log", "JOB"),
    "options of clusters are taken": ([*ON_CLUSTERS, "JOB=1", "x.JOB.log", "echo", "JOB"], "x.1.log", "1"),
    "any name": (["--num-threads=2", "my_Part2=7:8", "x.my_Part2.log", "echo", "my_Part2 JOB"], "x.8.log", "8 JOB"),
    "a warning is no end": (["x.log", "bash", "-c", NO_END], "x.log", "still here"),
}


@pytest.mark.parametrize(("words", "log", "line"), CALLS.values(), ids=CALLS)
def test_a_call_runs(tmp_path: Path, words: list[str], log: str, line: str) -> None:
    assert launch(tmp_path, *words).returncode == 0
    assert f"\n{line}\n" in (tmp_path / log).read_text()


def test_arguments_arrive_as_they_are(tmp_path: Path) -> None:
    words = ["two  words", "", "it's", '"quoted"', "$HOME `id` $(id)", "a;b|c&d>e", "*", "back\\slash", "new\nline"]
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
    assert lines[0] == "run.sh: 2 of 4 jobs failed; the first log: log/x.2.log (exit code 1)"
    assert lines[1] == "run.sh: also job 3: log/x.3.log (exit code 1)"
    assert lines[2:] == [f"line {i} of 2" for i in (2, 3, 4, 5, 6)]
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
    """Each job marks itself as running, counts the running jobs, and ends once it has seen a second one."""
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
def test_a_signal_leaves_no_process(tmp_path: Path, number: int, code: int, stubborn: bool) -> None:
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


def test_a_signal_that_nohup_has_ignored_stays_so(tmp_path: Path) -> None:
    program = "touch ready; until [ -e go ]; do sleep 0.05; done"
    launcher = subprocess.Popen(["nohup", LAUNCHER, "x.log", "bash", "-c", program], cwd=tmp_path)
    wait_for((tmp_path / "ready").exists, "the job runs")
    launcher.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    (tmp_path / "go").touch()
    assert launcher.wait() == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--foo", "1", "x.log", "true"], "unknown option --foo"),
        (["--mem"], "option --mem needs a value"),
        (["--max-jobs-run", "0", "x.log", "true"], "not a whole number of 1 or more"),
        (["--max-job-run=2", "x.log", "true"], "unknown option --max-job-run (did you mean --max-jobs-run?)"),
        (["-q", "all.q", "x.log", "true"], "unknown option -q"),
        (["--mem", "4", "x.log", "true"], "--mem 4: a whole number with M, G or T behind it"),
        (["--time", "90", "x.log", "true"], "--time 90: hours:minutes:seconds"),
        (["--time", "0:00:00", "x.log", "true"], "--time 0:00:00: hours:minutes:seconds"),
        (["--gpu", "one", "x.log", "true"], "--gpu one: not a whole number of 0 or more"),
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


def test_an_older_log_is_removed_when_a_job_starts(tmp_path: Path) -> None:
    (tmp_path / "x.2.log").write_text("old\n")
    launch(tmp_path, "JOB=1:2", "x.JOB.log", "true")
    assert "old" not in (tmp_path / "x.2.log").read_text()


def test_nothing_but_logs_is_left(tmp_path: Path) -> None:
    launch(tmp_path, "JOB=1:2", "log/x.JOB.log", "test", "JOB", "=", "1")
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == ["x.1.log", "x.2.log"]


@pytest.mark.parametrize("name", ["file/x.log", "file/below/x.JOB.log"])
def test_a_log_folder_that_cannot_be_made_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    done = launch(tmp_path, "JOB=1", name, "true")
    assert done.returncode == 1
    assert re.fullmatch(r"error: run.sh: file\S*: cannot be written: .*\n", done.stderr)


def test_the_next_run_removes_the_folder_of_a_killed_launcher(tmp_path: Path) -> None:
    log, program = tmp_path / "log", "touch ready.$1; until [ -e go ]; do sleep 0.05; done"
    killed, other = (
        subprocess.Popen([LAUNCHER, f"log/{name}.log", "bash", "-c", program, "x", name], cwd=tmp_path) for name in "ab"
    )
    wait_for(lambda: len(list(tmp_path.glob("ready.*"))) == 2, "both jobs run")
    folders = set(log.glob(".run.sh.*"))
    assert len(folders) == 2
    killed.kill()
    killed.wait()
    assert launch(tmp_path, "log/c.log", "true").returncode == 0
    (left,) = log.glob(".run.sh.*")  # the folder of the running launcher
    (tmp_path / "go").touch()
    assert left in folders
    assert other.wait() == 0
    assert sorted(path.name for path in log.iterdir()) == ["a.log", "b.log", "c.log"]


FULL = """
mount -t tmpfs -o size=64k tmpfs "$1" && cd "$1" && mkdir log || exit 99
shift
eval "$1"
exec "$2" log/x.log bash -c "$3"
"""
FILL = "head -c 1M /dev/zero >fill 2>/dev/null"


@pytest.mark.parametrize(("before", "job"), [(FILL, "true"), ("", FILL), ("", f"{FILL}; kill -KILL $PPID")])
def test_a_full_disk_is_named_with_its_folder(tmp_path: Path, before: str, job: str) -> None:
    command = ["unshare", "--map-root-user", "--mount", "bash", "-c", FULL, "x", tmp_path, before, LAUNCHER, job]
    done = subprocess.run(command, capture_output=True, text=True)
    if "unshare" in done.stderr or done.returncode == 99:
        pytest.skip("no small disk can be mounted here: unshare --map-root-user --mount is not allowed")
    assert done.returncode == 1
    assert f"{tmp_path}/log: cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_exit_code_75_starts_a_job_again(tmp_path: Path) -> None:
    program = "echo >> starts.JOB; [ JOB = 1 ] || [ $(wc -l < starts.JOB) = 3 ] || exit 75"
    done = launch(tmp_path, "JOB=1:2", "x.JOB.log", "bash", "-c", program)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        f"run.sh: job 2 is started again (exit code 75; {i} of at most 20)" for i in (1, 2)
    ]
    assert re.findall(r"exit code (\d+)", (tmp_path / "x.2.log").read_text()) == ["75", "75", "0"]


def test_a_job_is_restarted_a_limited_number_of_times(tmp_path: Path) -> None:
    environment = {**os.environ, "SER_RESTARTS": "2"}
    program = "echo error: $(date +%N); exit 75"
    command = [LAUNCHER, "x.log", "bash", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    log = (tmp_path / "x.log").read_text()
    assert log.count("# started") == 3
    assert done.stderr.splitlines()[2:] == [
        "run.sh: 1 of 1 jobs failed; the first log: x.log (exit code 75, after 2 restarts)",
        re.findall("^error: .*", log, re.MULTILINE)[-1],
    ]


def test_launchers_run_with_the_python_of_older_systems() -> None:
    files = list((UTILS / "launch").rglob("*.py"))
    assert len(files) >= 8
    for file in files:
        ast.parse(file.read_text(), str(file), feature_version=(3, 8))


@pytest.mark.parametrize(
    ("cluster", "launchers", "error"),
    [
        ("", "run.sh run.sh\n", ""),
        ("slurm", "slurm.sh slurm.sh\n", ""),
        ("gridengine", "queue.sh queue.sh\n", ""),
        ("slrum", "", "error: SER_CLUSTER=slrum: slurm, gridengine"),
    ],
)
def test_one_variable_chooses_the_cluster(cluster: str, launchers: str, error: str) -> None:
    script = '. "$1"; set -- $train_cmd; echo "$1 ${cpu_cmd%% *}"'
    environment = {"PATH": os.environ["PATH"], "SER_CLUSTER": cluster}
    command = ["bash", "-euc", script, "bash", UTILS.parent / "cmd.sh"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1 if error else 0, launchers)
    assert done.stderr.startswith(error) if error else done.stderr == ""
