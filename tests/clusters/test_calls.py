"""utils/slurm.sh and utils/queue.sh on a real Slurm and a real Grid Engine: jobs that nothing disturbs."""

import re
import sys

import pytest

pytestmark = pytest.mark.slow


def test_each_job_has_its_log_and_its_words(launchers) -> None:
    words = ["two  words", "", "it's", '"$HOME" `id`', "a;b|c&d>e", "*", "back\\slash", "new\nline"]
    program = (
        "import os, sys; print(repr(sys.argv[1:]), os.getcwd(), os.environ['HERE'], os.environ['OMP_NUM_THREADS'])"
    )
    done = launchers.run("NR=3:5", "log NR/x.NR.log", sys.executable, "-c", program, "NR", *words, HERE="a\nb")
    assert done == (0, "")
    for number in "345":
        lines = launchers.read(f"log {number}/x.{number}.log").splitlines()
        assert re.match(r"# command .*python\S* -c ", lines[0])
        assert re.fullmatch(r"# host \S+", lines[1])
        assert lines[2].startswith("# started ")
        assert lines[3] == f"{[number, *words]!r} {launchers.folder} a"
        assert lines[4] == "b 1"
        assert re.fullmatch(r"# ended .*, \d+ s, exit code 0", lines[5])
    assert sorted(path.name for path in launchers.folder.iterdir()) == ["log 3", "log 4", "log 5"]


def test_one_job_without_a_number(launchers) -> None:
    assert launchers.run("x.log", "echo", "JOB").code == 0
    assert "\nJOB\n" in launchers.read("x.log")
    assert [path.name for path in launchers.folder.iterdir()] == ["x.log"]


def test_a_failing_job_is_named_after_all_have_ended(launchers) -> None:
    program = "echo line of NR; [ NR = 1 ] || [ NR = 4 ] || exit $((90 + NR))"
    done = launchers.run("NR=1:4", "log/x.NR.log", "bash", "-c", program)
    assert done.code == 1
    assert done.output.splitlines() == [
        f"{launchers.cluster.program}: 2 of 4 jobs failed; the first log: log/x.2.log (exit code 92)",
        f"{launchers.cluster.program}: also job 3: log/x.3.log (exit code 93)",
        "line of 2",
    ]
    assert "exit code 0" in launchers.read("log/x.4.log")


@pytest.mark.parametrize("code", [99, 100])
def test_exit_codes_that_are_orders_to_a_scheduler_are_failures(launchers, code) -> None:
    done = launchers.run("x.log", "bash", "-c", f"echo once >> count; exit {code}")
    assert done.code == 1
    assert f"(exit code {code})" in done.output
    assert launchers.read("count") == "once\n"


def test_more_jobs_than_an_array_may_have(launchers) -> None:
    done = launchers.run("NR=1:12", "x.NR.log", "bash", "-c", f"task={launchers.cluster.task}; echo id ${{task%[._]*}}")
    assert done.code == 0, done.output
    ids = {re.findall(r"^id (\d+)$", launchers.read(f"x.{n}.log"), re.MULTILINE)[0] for n in range(1, 13)}
    assert len(ids) == 3


def test_max_jobs_run_is_kept(launchers) -> None:
    """Each job takes a place, counts the places taken, and gives its own back once a second job has been seen."""
    (launchers.folder / "places").mkdir()
    program = """
touch places/NR
for _ in $(seq 40); do n=$(ls places | wc -l); [ $n -lt 2 ] || break; sleep 0.05; done
echo at once: $n
sleep 0.5
rm places/NR
"""
    done = launchers.run("--max-jobs-run", "2", "NR=1:6", "x.NR.log", "bash", "-c", program)
    assert done.code == 0, done.output
    counts = [int(re.findall(r"at once: (\d+)", path.read_text())[0]) for path in launchers.folder.glob("x.*.log")]
    assert len(counts) == 6
    assert max(counts) == 2


def test_options_become_those_of_the_scheduler(launchers) -> None:
    show = {
        "slurm.sh": "scontrol show job $SLURM_JOB_ID",
        "queue.sh": "qstat -j $JOB_ID",
    }[launchers.cluster.program]
    expected = {
        "slurm.sh": [
            "cpu=2,mem=100M,node=1",
            "TresPerNode=gres:gpu:1",
            "NumCPUs=2",
            "MinMemoryCPU=50M",
            "TimeLimit=1-01:30:00",
        ],
        "queue.sh": [
            "s_rt=91740",
            "h_rt=91800",
            "mem_free=50M",
            "gpu=1",
            "smp range: 2",
        ],
    }[launchers.cluster.program]
    options = ["--mem", "50M", "--num-threads=2", "--gpu", "1", "--time", "1-1:30:00", "--max-jobs-run", "3"]
    done = launchers.run(*options, "x.log", "bash", "-c", f"{show}; echo threads $OMP_NUM_THREADS")
    assert done.code == 0, done.output
    text = launchers.read("x.log")
    assert "\nthreads 2\n" in text
    for words in expected:
        assert words in text


def test_an_option_of_the_site(launchers) -> None:
    words = {"slurm.sh": "--comment=$0", "queue.sh": "-ac said=$0"}[launchers.cluster.program]
    show = {"slurm.sh": "scontrol show job $SLURM_JOB_ID", "queue.sh": "qstat -j $JOB_ID"}[launchers.cluster.program]
    command = {"slurm.sh": "sbatch", "queue.sh": "qsub -V"}[launchers.cluster.program]
    (launchers.folder / "my.conf").write_text(f"command {command}\noption the_word=* {words}\ndefault the_word=hello\n")
    for options, word in ([], "hello"), (["--the-word", "bye"], "bye"):
        done = launchers.run("--config", "my.conf", *options, "x.log", "bash", "-c", show)
        assert done.code == 0, done.output
        assert word in launchers.read("x.log").partition("# started")[2]


def test_what_no_node_has_is_refused(launchers) -> None:
    done = launchers.run("--gpu", "7", "NR=1:3", "log/x.NR.log", "true")
    assert done.code == 1
    (line,) = done.output.splitlines()
    program = {"slurm.sh": "sbatch", "queue.sh": "qsub"}[launchers.cluster.program]
    assert line.startswith(f"error: {launchers.cluster.program}: {program} refuses (")
    assert not list((launchers.folder / "log").iterdir())


def test_more_cores_than_a_node_has_are_not_waited_for(launchers) -> None:
    """sbatch takes such jobs, which then wait for ever."""
    done = launchers.run("--num-threads", "99", "NR=1:3", "log/x.NR.log", "true")
    assert done.code == 1
    assert ("3 of 3 jobs failed" if launchers.cluster.program == "slurm.sh" else "qsub refuses") in done.output
    assert not list((launchers.folder / "log").iterdir())


def test_held_it_would_wait_for_ever(launchers) -> None:
    command, hold = {"slurm.sh": ("sbatch", "--hold"), "queue.sh": ("qsub -V", "-h")}[launchers.cluster.program]
    (launchers.folder / "my.conf").write_text(f"command {command} {hold}\n")
    done = launchers.run("--config", "my.conf", "NR=1:2", "x.NR.log", "true")
    assert done.code == 1
    assert re.search(r"2 of 2 jobs failed; the first log: x.1.log \(.*held.*\)", done.output, re.IGNORECASE)
    assert "(it wrote none)" in done.output


def test_a_job_that_cannot_be_started_is_no_success(launchers) -> None:
    """Grid Engine keeps it in state Eqw."""
    if launchers.cluster.program == "slurm.sh":
        pytest.skip("Slurm has no such state")
    (launchers.folder / "my.conf").write_text("command qsub -V\noption place=* -wd $0\n")
    options = ["--config", "my.conf", "--place", "/no/such/folder"]
    done = launchers.run(*options, "x.log", "true")
    assert done.code == 1
    assert re.search(
        r"1 of 1 jobs failed; the first log: x.log \(Eqw, .*can't chdir to /no/such/folder.*\)", done.output
    )
