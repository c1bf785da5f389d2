"""utils/slurm.sh and utils/queue.sh before a stand-in scheduler that does what real ones do rarely, and their files.

tests/clusters has real schedulers.
"""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

UTILS = Path(__file__).resolve().parents[2] / "utils"

# sbatch, squeue and scancel. Files in $FAKE: silences, a line for each call that goes unanswered; deaf, if the answer
# to a submission is lost; lazy, if no job is ever started; others, what squeue shows beside our jobs.
SBATCH = r"""#!/bin/bash
if [[ -s $FAKE/silences ]]; then
  sed -i 1d "$FAKE/silences"
  echo "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)" >&2
  exit 1
fi
echo "$*" >>"$FAKE/submitted"
[[ $* =~ --job-name=([^ ]*) ]] && name=${BASH_REMATCH[1]}
[[ $* =~ --array=1-([0-9]+) ]] && size=${BASH_REMATCH[1]}
cat >"$FAKE/script.$name"
if [[ ! -e $FAKE/lazy ]]; then
  for ((i = 1; i <= size; i++)); do
    echo "7_$i|$name|RUNNING|None" >>"$FAKE/queue"
    SLURM_ARRAY_TASK_ID=$i bash "$FAKE/script.$name" >/dev/null 2>&1 &
  done
fi
[[ ! -e $FAKE/deaf ]] || { echo "sbatch: error: Socket timed out on send/recv operation" >&2; exit 1; }
echo 7
"""
SQUEUE = r"""#!/bin/bash
if [[ ${*: -1} == "%F|%j" ]]; then
  sed -E 's/^([0-9]+)_[0-9]+\|([^|]*)\|.*/\1|\2/' "$FAKE/queue"
else
  cat "$FAKE/queue" "$FAKE/others" 2>/dev/null || true
fi
"""
SCANCEL = '#!/bin/bash\necho "$*" >>"$FAKE/cancelled"\n'
SCONTROL = '#!/bin/bash\necho "MaxArraySize            = 4"\n'


@pytest.fixture
def slurm(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that calls slurm.sh with the stand-in scheduler, in tmp_path."""
    fake = tmp_path / "fake"
    fake.mkdir()
    for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE), ("scancel", SCANCEL), ("scontrol", SCONTROL)):
        (fake / name).write_text(text)
        (fake / name).chmod(0o755)

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PATH": f"{fake}:{os.environ['PATH']}", "FAKE": str(fake)}
        return subprocess.run(
            [UTILS / "slurm.sh", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )

    return call


def test_array_indices_stay_within_the_limit_of_the_site(slurm, tmp_path: Path) -> None:
    done = slurm("JOB=11:17", "log/x.JOB.log", "echo", "number JOB")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nnumber 17\n" in (tmp_path / "log/x.17.log").read_text()
    submitted = (tmp_path / "fake/submitted").read_text()
    assert [word for word in submitted.split() if word.startswith("--array")] == [
        "--array=1-3",
        "--array=1-3",
        "--array=1-1",
    ]


def test_a_scheduler_that_does_not_answer_is_waited_for(slurm, tmp_path: Path) -> None:
    (tmp_path / "fake/silences").write_text("1\n2\n")
    (tmp_path / "fake/queue").touch()
    done = slurm("x.log", "true")
    assert done.returncode == 0
    first, second = done.stderr.splitlines()
    assert first.startswith("slurm.sh: sbatch: ")
    assert first.endswith("Unable to contact slurm controller (connect failure); waiting for it")
    assert second == "slurm.sh: the scheduler answers again"
    assert len((tmp_path / "fake/submitted").read_text().splitlines()) == 1


def test_jobs_are_not_submitted_twice_when_an_answer_is_lost(slurm, tmp_path: Path) -> None:
    (tmp_path / "fake/deaf").touch()
    done = slurm("JOB=1:2", "x.JOB.log", "true")
    assert done.returncode == 0
    assert "Socket timed out on send/recv operation; waiting for it" in done.stderr
    assert len((tmp_path / "fake/submitted").read_text().splitlines()) == 1


@pytest.mark.slow
def test_a_job_that_the_queue_lost_counts_as_failed(slurm, tmp_path: Path) -> None:
    """The number may have been given to another job."""
    (tmp_path / "fake/lazy").touch()
    (tmp_path / "fake/queue").touch()
    (tmp_path / "fake/others").write_text("7_1|other.1|RUNNING|None\n7_2|other.1|COMPLETED|None\n")
    (tmp_path / "x.2.log").write_text("# ended yesterday, exit code 0\n")
    done = slurm("JOB=1:2", "x.JOB.log", "true")
    assert done.returncode == 1
    lost = "not in the queue, and without a status"
    assert done.stderr.splitlines() == [
        f"slurm.sh: 2 of 2 jobs failed; the first log: x.1.log ({lost})",
        f"slurm.sh: also job 2: x.2.log ({lost})",
        "(it wrote none)",
    ]


def test_a_job_that_can_never_run_is_removed_from_the_queue(slurm, tmp_path: Path) -> None:
    (tmp_path / "fake/lazy").touch()
    squeue = tmp_path / "fake/squeue"
    squeue.write_text('#!/bin/bash\n[[ $(<"$FAKE/submitted") =~ --job-name=([^ ]*) ]]\n'
                      'echo "7_1|${BASH_REMATCH[1]}|PENDING|QOSMaxCpuPerJobLimit"\n')  # fmt: skip
    done = slurm("x.log", "true")
    assert done.returncode == 1
    assert "x.log (PENDING, QOSMaxCpuPerJobLimit)" in done.stderr
    assert (tmp_path / "fake/cancelled").read_text().endswith(" 7_1\n")


@pytest.mark.parametrize(
    ("state", "code", "words"),
    [
        ("CANCELLED", 1, "x.log (CANCELLED, exit code 75)"),
        ("TIMEOUT", 0, "started again (TIMEOUT, exit code 75; 1 of"),
        ("PREEMPTED", 0, "started again (PREEMPTED; 1 of"),
    ],
)
def test_the_reason_for_stopping_a_job_is_reported(slurm, tmp_path: Path, state: str, code: int, words: str) -> None:
    """A job that is stopped, by a person or a limit, writes its checkpoint and ends with 75."""
    (tmp_path / "fake/squeue").write_text(
        "#!/bin/bash\n[[ $(tail -n 1 $FAKE/submitted) =~ --job-name=([^ ]*) ]] || exit 0\n"
        "echo >>$FAKE/looks; ((2 < $(wc -l <$FAKE/looks))) && state=" + state + "\n"
        'echo "7_1|${BASH_REMATCH[1]}|${state:-RUNNING}|None"\n'
    )
    program = "[ -e again ] && exit 0; touch again; kill -TERM $(ps -o ppid= -p $PPID); exit 75"
    done = slurm("x.log", "bash", "-c", program)
    assert done.returncode == code
    assert words in done.stderr
    assert len((tmp_path / "fake/looks").read_text()) > 2


@pytest.mark.parametrize(("launcher", "command"), [("slurm.sh", "sbatch"), ("queue.sh", "qsub")])
def test_a_scheduler_that_is_not_installed_is_one_line(tmp_path: Path, launcher: str, command: str) -> None:
    (tmp_path / "none.conf").write_text(f"command {command}-of-no-site\noption gpu=0\n")
    words = [UTILS / launcher, "--config", "none.conf", "x.log", "true"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {launcher}: {command}-of-no-site: No such file or directory; "
        "submit where your site's commands are on PATH\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "site.conf: has no line that begins with command"),
        ("command sbatch\ncommand sbatch -p x", "site.conf:2: command sbatch -p x: is there twice"),
        ("comand sbatch", "site.conf:1: comand sbatch: a line begins with command, option or default"),
        ("command sbatch\noption mem=* --mem", "site.conf:2: option mem=* --mem: is incomplete"),
        ("command sbatch\noption mem", "site.conf:2: option mem: is incomplete"),
        ("command sbatch\noption gpu=0\noption gpu=0 -p cpu", "site.conf:3: option gpu=0 -p cpu: is there twice"),
        ("command sbatch\ndefault gpu=0", "site.conf: default gpu, but no line for option gpu"),
        ("command sbatch\noption x=* 'a $0", "site.conf:2: option x=* 'a $0: No closing quotation"),
        ("command sbatch\noption mem=* --mem=$0", "unknown option --gpu: site.conf has lines for --mem"),
        ("command sbatch\noption gpu=0\noption gpu=1 -p gpu", "--gpu 2: site.conf has lines for 0, 1 alone"),
    ],
)
def test_a_mistake_in_a_sites_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "site.conf").write_text(text)
    words = [UTILS / "slurm.sh", "--config", "site.conf", "--gpu", "2", "x.log", "true"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: slurm.sh: {message}")


def test_options_are_converted_to_those_of_the_site(slurm, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/slurm.conf").write_text(
        "# ours\ncommand sbatch --account='speech lab'   # quoted\n"
        "option mem=* --mem=$0 --comment=$0\noption gpu=0\noption gpu=* -p gpu --gres=gpu:$0\ndefault gpu=1\n"
        "option time=* -t $0\noption rank=low --nice\n"
    )
    done = slurm("--mem", "4G", "--rank", "low", "--time", "1-02:03:04", "--max-jobs-run", "2", "x.log", "true")
    assert (done.returncode, done.stderr) == (0, "")
    words = (tmp_path / "fake/submitted").read_text()
    assert words.startswith("--account=speech lab --parsable ")
    assert "--array=1-1%2" in words
    assert words.endswith("-p gpu --gres=gpu:1 --mem=4G --comment=4G --nice -t 26:03:04\n")
