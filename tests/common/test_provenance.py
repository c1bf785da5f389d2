import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import ROOT

from ser.common.cli import experiment_arguments
from ser.common.progress import progress
from ser.common.provenance import RESULT_AFFECTING, code_hash, provenance


def test_provenance_has_code_and_versions():
    result = provenance()
    assert re.fullmatch(r"[0-9a-f]{16}", result["code_hash"])
    assert re.fullmatch(r"[0-9a-f]{10}\+?|release .+", result["git_revision"])
    assert result["versions"]["python"] == platform.python_version()
    assert result["versions"]["torch"] == version("torch")
    assert result == provenance()


def test_the_checkout_is_read_and_never_locked(tmp_path, monkeypatch):
    """A killed process would leave the lock behind, and git would stop working."""
    file = tmp_path / "ser" / "a.py"
    file.parent.mkdir()
    file.write_text("x = 1\n")
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "ser"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr("ser.common.provenance.__file__", str(tmp_path / "ser" / "common" / "provenance.py"))
    os.utime(file, (1, 1))  # git would note that it is the same file nevertheless
    before = (tmp_path / ".git" / "index").read_bytes()
    assert re.fullmatch(r"[0-9a-f]{10}", provenance()["git_revision"])
    assert (tmp_path / ".git" / "index").read_bytes() == before
    file.write_text("x = 2\n")
    assert provenance()["git_revision"].endswith("+")


def test_the_code_hash_covers_code_that_affects_results_without_comments(tmp_path, monkeypatch):
    (tmp_path / "nets").mkdir()
    (tmp_path / "inference").mkdir()
    monkeypatch.setattr("ser.__file__", str(tmp_path / "__init__.py"))

    def hash_of(text, name="nets/a.py"):
        (tmp_path / name).write_text(text)
        code_hash.cache_clear()
        return code_hash()

    try:
        first = hash_of('"""What it is."""\n\n\ndef f(x):\n    return x + 1\n')
        assert hash_of('"""Other words."""\n# why\ndef f(x):\n    """One more."""\n    return x + 1\n') == first
        assert hash_of("other", "inference/b.py") == first
        assert hash_of("def f(x):\n    return x + 2\n") != first
    finally:
        code_hash.cache_clear()


@pytest.mark.parametrize("name", RESULT_AFFECTING)
def test_files_that_affect_results_are_there(name):
    assert list((ROOT / "ser").glob(name))


def test_arguments_that_stages_share():
    options = experiment_arguments("x").parse_args(["exp/a", "--recipe", "r", "--data", "d"])
    assert (options.folder, options.recipe) == (Path("exp/a"), Path("r"))
    assert (options.data, options.dump) == (Path("d"), Path("dump"))


def test_no_bar_without_a_terminal(capfd, monkeypatch):
    monkeypatch.delenv("SER_TERMINAL_FD", raising=False)
    assert list(progress(range(3), text="x", unit="file")) == [0, 1, 2]
    monkeypatch.setenv("SER_TERMINAL_FD", "99")
    assert list(progress(range(3), text="x", unit="file")) == [0, 1, 2]
    assert capfd.readouterr() == ("", "")
