"""Several processes on one store at once, and processes that are killed."""

import signal
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import programs
import pytest
from conftest import ROOT
from made import Made
from test_store import archives

from ser.common.progress import progress
from ser.config import write_experiment
from ser.features import maintenance
from ser.features.index import BUCKETS, bucket_lock, bucket_path

# A job as stage 3 runs it, but slow, with small archives, and saying in a file what it computes.
JOB = """
import runpy, sys, time
from pathlib import Path
import ser.features.store as store

log, seconds, sys.argv = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
read_samples = store.read_samples

def slow(cut, *rest):
    time.sleep(seconds)
    with log.open("a") as file:
        print(cut.id, file=file)
    return read_samples(cut, *rest)

store.ARCHIVE_UTTERANCES, store.read_samples = 4, slow
log.touch()
while not log.with_name("go").exists():
    time.sleep(0.01)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def start(made: Made, log: str, job: int, jobs: int, seconds: float) -> programs.Program:
    config = made.root / "config.yaml"
    if not config.is_file():
        write_experiment(made.experiment(), config)
    where = [config, made.data_root / "two", made.dump]
    share = ["--job", str(job), "--nj", str(jobs)]
    return programs.start(
        "-c", JOB, made.root / log, seconds, ROOT / "steps" / "extract_features.py", *share, *where, cwd=ROOT
    )


def wait_for(what, process: programs.Program | None = None) -> None:
    end = time.monotonic() + 120
    while not what():
        assert time.monotonic() < end, "waited in vain"
        assert process is None or process.poll() is None, process.printed()[1]
        time.sleep(0.01)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def same_as(made: Made, computed: Made) -> bool:
    """Whether the features are those that one process made without haste."""
    expected, actual = made.store().reader(), computed.store().reader()
    return all(np.array_equal(actual.read(cut.id), expected.read(cut.id)) for cut in computed.store().cuts)


@pytest.mark.slow
def test_processes_at_once_compute_nothing_twice(made, two):
    """Two runs with other numbers of jobs: their shares cross, and so do the orders in which they take the locks."""
    jobs = [(1, 1), (1, 2), (2, 2)]
    processes = [start(two, f"log{n}", job, number, 0.02) for n, (job, number) in enumerate(jobs)]
    wait_for(lambda: all((two.root / f"log{n}").exists() for n in range(3)))
    (two.root / "go").touch()
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    logs = [lines(two.root / f"log{n}") for n in range(3)]
    assert Counter(key for log in logs for key in log) == Counter(cut.id for cut in two.store().cuts)
    assert sum(int(output.split()[0]) for output, _ in outputs) == 24
    store = two.store()
    assert store.finish() == 24
    assert maintenance.verify_archives(two.dump) == ([], len(archives(two)))
    assert same_as(made, two)


@pytest.mark.slow
def test_after_a_kill_9_what_is_whole_is_kept_and_the_rest_made(made, two):
    (two.root / "go").touch()
    process = start(two, "log", 1, 1, 0.05)
    # At work on an archive, with others done.
    wait_for(lambda: len(archives(two)) >= 2 and list(two.dump.rglob(".tmp.*.ark")), process)
    process.kill()
    process.wait()
    killed = list(two.dump.rglob(".tmp.*"))
    before = {path: path.read_bytes() for path in archives(two)}
    store = two.store()
    assert not store.finished
    kept = len(store.archives.entries())
    assert 0 < kept < 24
    assert maintenance.verify_archives(two.dump)[0] == []
    assert store.compute(1, 1) == (24 - kept, kept)
    assert store.finish() == 24
    assert {path: path.read_bytes() for path in before} == before
    assert maintenance.verify_archives(two.dump) == ([], len(archives(two)))
    assert same_as(made, two)
    assert list(two.dump.rglob(".tmp.*")) == killed


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_nothing_half_written(two, number, code):
    (two.root / "go").touch()
    process = start(two, "log", 1, 1, 0.05)
    wait_for(lambda: archives(two) and list(two.dump.rglob(".tmp.*.ark")), process)
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    assert "Traceback" not in process.printed()[1]
    assert not list(two.dump.rglob(".tmp.*"))
    kept = len(two.store().archives.entries())
    assert 0 < kept < 24
    assert two.store().compute(1, 1) == (24 - kept, kept)


@pytest.mark.slow
def test_a_process_waits_for_another_that_is_at_work_and_takes_what_it_made(two):
    store = two.store()
    (two.root / "go").touch()
    with ExitStack() as locks:
        for bucket in range(BUCKETS):
            locks.enter_context(bucket_lock(bucket_path(store.archives.folder, bucket)))
        process = start(two, "log", 1, 1, 0)
        wait_for(lambda: "features are being computed by another process; waiting for it" in process.printed()[1])
        assert archives(two) == []
        share = {store.content_of(cut): cut for cut in store.cuts[:10]}
        store._write_archive(share, progress(text="", unit=""))
    output, _ = process.communicate(timeout=120)
    assert output == "14 utterances computed, 10 found done\n"
