"""path.sh finds its root from anywhere, and accepts or refuses an environment. These tests install nothing."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root with spaces and a quote in its name, and the files that path.sh reads."""
    root = tmp_path / "a root's name"
    shutil.copytree(ROOT / "utils", root / "utils", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("path.sh", "cmd.sh", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, root / name)
    return root


def stub(environment: Path, script: str) -> Path:
    """Make an environment whose Python is a shell script."""
    python = environment / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    return environment


# answers --version, runs the given code on an installation, and fails otherwise (at the query for CPU wheels)
PIP = 'case "$*" in *" install "*) {install} ;; *--version*) ;; *) exit 1 ;; esac'


def source(tree: Path, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Source path.sh from another folder and run a script after it."""
    names = ("PYTHONPATH", "SER_ENV", "SER_ROOT", "LC_ALL", "PYTHONUTF8", "train_cmd", "cpu_cmd", "SER_CLUSTER")
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f'. "$1/path.sh"\n{script}', "x", tree],
        cwd="/",
        env=inherited | {"PATH": "/usr/bin:/bin"} | variables,
        capture_output=True,
        text=True,
    )


def complete(tree: Path, *parts: str) -> None:
    """Write the markers of a complete installation."""
    done = source(tree, "_ser_checksum")
    for part in parts:
        (tree / ".venv" / f".installed-{part}").write_text(done.stdout)


def test_sourcing_sets_root_and_exports(tree: Path) -> None:
    done = source(tree, 'printf "%s\\n" "$SER_ROOT"; printenv PYTHONPATH LC_ALL PYTHONUTF8', PYTHONPATH="/other")
    assert done.stdout.splitlines() == [str(tree), f"{tree}:/other", "C", "1"]
    assert done.stderr == ""


def test_a_root_with_a_line_break_is_one_line(tree: Path) -> None:
    broken = tree.rename(tree.parent / "a\nroot")
    done = source(broken, "echo went on")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "a\\nroot" in line


def test_a_link_to_path_sh_finds_the_root(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "path.sh").symlink_to(tree / "path.sh")
    assert source(tmp_path / "elsewhere", 'printf "%s\\n" "$SER_ROOT"').stdout == f"{tree}\n"


def test_sourcing_twice_changes_nothing_more(tree: Path) -> None:
    script = 'before=$PATH$PYTHONPATH; . "$1/path.sh"; [[ $PATH$PYTHONPATH == "$before" ]]'
    assert source(tree, script).returncode == 0


def test_the_local_launcher_is_found_in_a_root_with_spaces(tree: Path, tmp_path: Path) -> None:
    script = f'. "$1/cmd.sh"; cd "{tmp_path}"; $train_cmd JOB=1:2 x.JOB.log echo job JOB; $cpu_cmd y.log echo'
    done = source(tree, script)
    assert done.returncode == 0, done.stderr
    assert "\njob 2\n" in (tmp_path / "x.2.log").read_text()


def test_launchers_come_from_the_environment(tree: Path) -> None:
    done = source(tree, '. "$1/cmd.sh"; echo "$train_cmd"', train_cmd="queue.pl --mem 4G")
    assert done.stdout == "queue.pl --mem 4G\n"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (None, "holds no bin/python"),
        ("exit 1", "does not start or is older than 3.11"),
        ('[ "$1" = -c ] || echo torch, lhotse', "lacks torch, lhotse; fix:"),
    ],
)
def test_an_unfit_environment_is_one_line(tree: Path, tmp_path: Path, script: str | None, message: str) -> None:
    environment = tmp_path / "my env"
    if script:
        stub(environment, script)
    done = source(tree, "ser_environment mini; echo not reached", SER_ENV=str(environment))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: SER_ENV={environment}: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_bare_python_lacks_every_package(tree: Path, tmp_path: Path) -> None:
    environment = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    done = source(tree, "ser_environment mini", SER_ENV=str(environment))
    assert done.returncode == 1
    assert "lacks numpy, soundfile, miniaudio" in done.stderr
    assert ", torch, " in done.stderr
    assert "espeakng-loader; fix:" in done.stderr


def test_packages_of_other_versions_are_named(tree: Path, tmp_path: Path) -> None:
    environment = tmp_path / "old"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    for name, version in (("numpy", "1.9.3"), ("lhotse", "2.0rc1"), ("pandas", "10.0"), ("scipy", "unknown")):
        (packages / f"{name}-{version}.dist-info").mkdir()
        (packages / f"{name}-{version}.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    done = source(tree, "ser_environment", SER_ENV=str(environment))
    assert done.returncode == 1
    assert "lacks numpy>=1.26 (it has 1.9.3), soundfile, " in done.stderr
    assert ", lhotse<2 (it has 2.0rc1), scipy>=1.15 (it has unknown), " in done.stderr
    assert "pandas" not in done.stderr


def test_the_environment_of_these_tests_is_fit(tree: Path) -> None:
    done = source(tree, "ser_environment mini dev; command -v python", SER_ENV=sys.prefix)
    assert (done.returncode, done.stdout) == (0, f"{sys.prefix}/bin/python\n"), done.stderr


def test_a_relative_environment_is_refused(tree: Path) -> None:
    assert "not a full path" in source(tree, "ser_environment", SER_ENV="env").stderr


def test_an_unknown_extra_is_refused(tree: Path) -> None:
    done = source(tree, "ser_environment minni")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert (done.returncode, done.stderr) == (
        1,
        f"error: ser_environment: no extra named minni ({', '.join(extras)})\n",
    )


def test_a_complete_environment_is_entered_without_starting_python(tree: Path, tmp_path: Path) -> None:
    started = tmp_path / "started"
    stub(tree / ".venv", f"touch '{started}'")
    complete(tree, "core", "mini")
    done = source(tree, "ser_environment mini; command -v python; ser_environment", PYTHONHOME="/nowhere")
    assert (done.returncode, done.stdout) == (0, f"{tree}/.venv/bin/python\n"), done.stderr
    assert done.stderr == ""
    assert not started.exists()


@pytest.mark.parametrize("change", ["extra", "constraints.txt", "pyproject.toml"])
def test_changed_requirements_are_detected(tree: Path, change: str) -> None:
    stub(tree / ".venv", "exit 0")
    complete(tree, "core")
    if change != "extra":
        text = (tree / change).read_text()
        (tree / change).write_text(f"# changed\n{text}")
    check = "_ser_complete mini" if change == "extra" else "_ser_complete"
    assert source(tree, f"{check} && echo complete || echo incomplete").stdout == "incomplete\n"


def test_a_failing_installation_is_reported_and_marks_nothing(tree: Path) -> None:
    stub(tree / ".venv", PIP.format(install='echo "ERROR: no space left"; exit 1'))
    done = source(tree, "ser_environment; echo not reached")
    assert (done.returncode, done.stdout) == (1, "")
    assert "ERROR: no space left" in done.stderr
    assert "error: packages could not be installed" in done.stderr
    assert not list((tree / ".venv").glob(".installed-*"))


def test_no_python_is_one_line_with_a_fix(tree: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "dirname", "readlink", "cat", "cksum", "sed", "tee", "tail"):
        (tools / name).symlink_to(str(shutil.which(name)))
    done = source(tree, "ser_environment", PATH=str(tools))
    assert done.returncode == 1
    assert "error: no Python 3.11 or newer" in done.stderr
    stub_python = tools / "python3"
    stub_python.write_text(f'#!{tools}/bash\ncase "$2" in *ensurepip*) exit 1 ;; esac\n')
    stub_python.chmod(0o755)
    done = source(tree, "ser_environment", PATH=str(tools))
    assert "error: python3 has no ensurepip" in done.stderr
    assert "python3-venv" in done.stderr


def test_the_second_of_two_installations_waits(tree: Path, tmp_path: Path) -> None:
    """A fifo blocks the first in pip until the second reports that it waits; the second installs nothing."""
    fifo, calls = tmp_path / "fifo", tmp_path / "calls"
    os.mkfifo(fifo)
    stub(tree / ".venv", PIP.format(install=f'echo x >>"{calls}"; read line <"{fifo}"'))
    script = '. "$1/path.sh"; ser_environment; echo entered'
    environment = {"PATH": "/usr/bin:/bin"}
    command = ["bash", "-euo", "pipefail", "-c", script, "x", str(tree)]
    first = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with fifo.open("w") as gate:  # blocks until the first reads
        second = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert second.stderr is not None
        assert "waiting for it" in second.stderr.readline()
        gate.write("go\n")
    assert first.communicate()[0] == "entered\n"
    assert second.communicate()[0] == "entered\n"
    assert calls.read_text() == "x\n"
