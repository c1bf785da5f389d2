"""The clusters: each is started once, for all tests, and ended after them."""

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from clusters.daemons import wait_for
from clusters.gridengine_here import GridEngineHere
from clusters.slurm_here import SlurmHere

UTILS = Path(__file__).resolve().parents[2] / "utils"
Cluster = SlurmHere | GridEngineHere


def started(kind: type[Cluster]) -> Iterator[Cluster]:
    """A cluster that runs, until the tests are through. Its folder has a short name, for there are sockets in it."""
    if not os.environ.get("SER_TEST_CLUSTERS"):
        pytest.skip("real schedulers are started by SER_TEST_CLUSTERS=1 ./tests/run.sh tests/clusters")
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated"))  # so that what follows is done then, too
    with tempfile.TemporaryDirectory(prefix="cluster", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # munged wants its socket to be within the reach of all
        cluster = kind(Path(folder))
        try:
            cluster.begin()
            yield cluster
        finally:
            cluster.end()


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    yield from started(SlurmHere)


@pytest.fixture(scope="session")
def gridengine() -> Iterator[Cluster]:
    yield from started(GridEngineHere)


class Ended(NamedTuple):
    """The end of a call: exit code and all that was printed."""

    code: int
    output: str


@dataclass
class Launchers:
    """The launcher of a cluster, called in a folder with a space in its name."""

    cluster: Cluster
    folder: Path
    output: Path

    def start(self, *words: str, **variables: str) -> subprocess.Popen[bytes]:
        """Call it."""
        with self.output.open("wb") as output:
            return subprocess.Popen(
                [UTILS / self.cluster.program, *words],
                cwd=self.folder,
                env={**self.cluster.environment, **variables},
                stdout=output,
                stderr=output,
                preexec_fn=heed_interrupts,
            )

    def end(self, launcher: subprocess.Popen[bytes]) -> Ended:
        """Wait for its end; the limit is there for a broken launcher only."""
        try:
            return Ended(launcher.wait(120), self.output.read_text())
        except subprocess.TimeoutExpired:
            pytest.fail(f"the launcher does not end; it printed: {self.output.read_text()}")
        finally:
            launcher.kill()

    def run(self, *words: str, **variables: str) -> Ended:
        """Call it and wait for its end."""
        return self.end(self.start(*words, **variables))

    def wait_for_output(self, pattern: str) -> None:
        """Wait until the launcher has printed something."""
        wait_for(lambda: re.search(pattern, self.output.read_text()), f"the launcher prints {pattern}", 120)

    def wait_for(self, *names: str) -> None:
        """Wait until jobs have written these files."""
        for name in names:
            wait_for((self.folder / name).exists, f"{name} in {self.folder}")

    def read(self, name: str) -> str:
        """What a job wrote."""
        return (self.folder / name).read_text()


def heed_interrupts() -> None:
    """As on a terminal: what was started in the background ignores SIGINT, and hands that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(params=["slurm", "gridengine"])
def launchers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Launchers]:
    """Of each cluster in turn, with an empty queue."""
    cluster = request.getfixturevalue(request.param)
    folder = tmp_path / "a folder"
    folder.mkdir()
    os.chmod(folder, 0o755)
    yield Launchers(cluster, folder, tmp_path / "output")
    if cluster.queued():
        cluster.clear()
    wait_for(lambda: not cluster.queued(), "the queue is empty")
