import errno
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import refuses

from ser.common import InputError, atomic_path, digest, locked, read_json, write_json, write_section, write_text
from ser.common.files import _can_exchange, append_text, check_cluster_locks, check_locks, hold


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_renamed_when_the_block_ends(tmp_path):
    with atomic_path(tmp_path / "new" / "a.txt") as temporary:
        assert temporary.parent == tmp_path / "new"
        assert temporary.suffix == ".txt"
        temporary.write_text("x")
        assert not (tmp_path / "new" / "a.txt").exists()
    assert names(tmp_path / "new") == ["a.txt"]
    assert (tmp_path / "new" / "a.txt").read_text() == "x"


def test_a_log_is_appended_to_and_an_unwritable_one_is_named(tmp_path):
    append_text(tmp_path / "a.log", "one\n")
    append_text(tmp_path / "a.log", "é\n")
    assert (tmp_path / "a.log").read_text(encoding="utf-8") == "one\né\n"
    (tmp_path / "full").symlink_to("/dev/full")
    with refuses("cannot be written", where="full"):
        append_text(tmp_path / "full", "three\n")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, InputError])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_error_leaves_the_earlier_file(tmp_path, error, kind):
    write_text(tmp_path / "a", "before")

    def work(temporary):
        if kind == "folder":
            temporary.mkdir()
            temporary = temporary / "inner"
        temporary.write_text("half")
        raise error("")

    with pytest.raises(error), atomic_path(tmp_path / "a") as temporary:
        work(temporary)
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "before"


@pytest.mark.parametrize("at_once", [True, False])
def test_a_folder_is_replaced_as_a_whole(tmp_path, monkeypatch, at_once):
    if not at_once:
        monkeypatch.setattr("ser.common.files.exchange_names", lambda one, other: False)
    for name in ("old", "new"):
        with atomic_path(tmp_path / "a") as folder:
            folder.mkdir()
            write_text(folder / name, name)
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == ["new"]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_to_a_folder_stays_one(tmp_path, there):
    link, folder = tmp_path / "link", tmp_path / "other" / "disk"
    (folder if there else folder.parent).mkdir(parents=True)
    link.symlink_to(folder)
    with atomic_path(link) as temporary:
        temporary.mkdir()
        (temporary / "new").touch()
    assert link.is_symlink()
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert [path.name for path in folder.parent.iterdir()] == ["disk"]


@pytest.mark.parametrize("shared", [False, True])
def test_a_reader_never_misses_a_folder_that_is_replaced(tmp_path, monkeypatch, shared):
    """A shared folder also where the system cannot exchange names."""
    if shared:
        monkeypatch.setattr("ser.common.files.exchange_names", lambda one, other: False)
    elif not _can_exchange(tmp_path):
        pytest.skip("this file system cannot exchange names")
    code = (
        "import os, sys\nmissed = looked = 0\nprint(flush=True)\n"
        "while not os.path.exists(sys.argv[2]):\n"
        "    looked += 1\n    missed += not os.path.LOOK(sys.argv[1])\nprint(looked, missed)"
    ).replace("LOOK", "lexists" if shared else "isdir")  # a link, once followed, may lead to the version before
    folder, stop = tmp_path / "disk" / "a", tmp_path / "stop"
    (tmp_path / "linked").symlink_to(folder)

    def replace(number):
        with atomic_path(tmp_path / "linked", shared) as temporary:
            temporary.mkdir()
            (temporary / "file").write_text(str(number))

    replace(-1)
    with subprocess.Popen([sys.executable, "-c", code, folder, stop], stdout=subprocess.PIPE, text=True) as reader:
        reader.stdout.readline()
        for number in range(300):
            replace(number)
        stop.touch()
        looked, missed = map(int, reader.stdout.read().split())
    assert looked > 100
    assert missed == 0
    assert (folder / "file").read_text() == "299"
    assert folder.is_symlink() == shared
    assert (tmp_path / "linked").readlink() == folder
    assert len(names(folder.parent)) == 1 + shared  # of the versions only the last


def test_a_shared_folder_of_before_and_of_another_file_system(tmp_path, monkeypatch):
    folder = tmp_path / "a"

    def replace(name):
        with atomic_path(folder, shared=True) as temporary:
            temporary.mkdir()
            (temporary / name).touch()
        assert names(folder) == [name]

    with monkeypatch.context() as without:
        without.setattr("ser.common.files.exchange_names", lambda one, other: False)
        folder.mkdir()
        replace("first")
        replace("second")
        assert folder.is_symlink()
    if _can_exchange(tmp_path):
        replace("third")
        assert names(tmp_path) == ["a"]
        assert not folder.is_symlink()


def test_locks_are_checked_with_two_processes(tmp_path, monkeypatch):
    check_locks(tmp_path / "exp")
    assert names(tmp_path / "exp") == []
    monkeypatch.setattr("ser.common.files.lock_file", lambda file: True)  # a lock that keeps nobody out
    with pytest.raises(InputError, match=r"exp/\.lock\.\w+: cannot be locked \(two processes .*NFS: without nolock"):
        check_locks(tmp_path / "exp")
    monkeypatch.undo()
    monkeypatch.setattr(sys, "executable", "/bin/false")  # a process that never asks
    with refuses("cannot be locked", where="exp"):
        check_locks(tmp_path / "exp")


def test_locks_are_checked_if_jobs_go_to_a_cluster(tmp_path, monkeypatch):
    monkeypatch.setattr("ser.common.files.lock_file", lambda file: True)
    for train, cpu in (("run.sh --max-jobs-run 1", "run.pl"), ("", "run.sh")):
        monkeypatch.setenv("train_cmd", train)
        monkeypatch.setenv("cpu_cmd", cpu)
        check_cluster_locks(tmp_path / "exp", tmp_path / "dump")
    assert names(tmp_path) == []
    monkeypatch.setenv("cpu_cmd", "queue.pl --mem 4G")
    with refuses("cannot be locked", where=tmp_path):
        check_cluster_locks(tmp_path / "new" / "exp")
    assert names(tmp_path) == []  # what is not there yet is not made
    for name in ("exp", "dump"):
        (tmp_path / name).mkdir()
    with refuses("cannot be locked", where="exp"):
        check_cluster_locks(tmp_path / "exp", tmp_path / "dump")
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path / "exp")  # another person's
    with refuses("cannot be locked", where="dump"):
        check_cluster_locks(tmp_path / "exp", tmp_path / "dump")


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    def fill(temporary):
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with refuses("No space left on device", tmp_path / "a", "make room"), atomic_path(tmp_path / "a") as temporary:
        fill(temporary)
    assert names(tmp_path) == []


def test_an_error_of_a_file_that_is_read_is_not_called_one_of_the_file_that_is_written(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"source\.txt"), atomic_path(tmp_path / "a") as temporary:
        temporary.write_bytes((tmp_path / "source.txt").read_bytes())
    (tmp_path / "link").symlink_to(tmp_path)
    with refuses("cannot be written", tmp_path / "link" / "a"), atomic_path(tmp_path / "link" / "a") as temporary:
        open(os.path.join(os.path.realpath(temporary), "b"), "w").close()  # by the path without links
    (tmp_path / "link").unlink()
    (tmp_path / "file").touch()
    with refuses("cannot be written", tmp_path / "file" / "a"), atomic_path(tmp_path / "file" / "a") as temporary:
        temporary.touch()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_may_not_grow_is_one_line_and_leaves_nothing(tmp_path):
    code = (
        "import signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from ser.common import guarded, write_text\n"
        "sys.exit(guarded(lambda: write_text(sys.argv[1], 'x' * 100000))())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert run.returncode == 1
    assert run.stderr.startswith(f"error: {tmp_path / 'a'}: cannot be written (File too large); ")
    assert run.stderr.count("\n") == 1
    assert names(tmp_path) == []


def test_json_is_read_back(tmp_path):
    value = {"b": [1, 0.1, None], "a": "ção"}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert list(read_json(tmp_path / "a.json")) == ["b", "a"]
    assert "ção" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe"])
def test_a_file_that_is_not_json_is_named(tmp_path, content):
    with refuses("no such file", where="a.json"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_bytes(content)
    with refuses("not readable as JSON", where="a.json", fix="remove it"):
        read_json(tmp_path / "a.json")


def test_a_digest_depends_on_content_and_not_on_the_path(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"same")
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert len(digest(1)) == 16
    assert digest({"x": 1, "y": 2}) == digest({"y": 2, "x": 1})
    # parts keep their borders
    assert len({digest("ab", "c"), digest("a", "bc"), digest("abc"), digest("abc", "")}) == 4


def test_a_section_replaces_the_one_of_its_heading(tmp_path):
    path = tmp_path / "RESULTS.md"
    write_section(path, "## A\n\nold\n")
    write_section(path, "## B\n\n### deeper\n")
    assert path.read_text() == "## A\n\nold\n\n## B\n\n### deeper\n"
    path.write_text("# Results\n\n" + path.read_text())
    write_section(path, "## A\n\nnew\n")
    assert path.read_text() == "# Results\n\n## B\n\n### deeper\n\n## A\n\nnew\n"


def test_a_section_is_appended_to_text_alone(tmp_path):
    path = tmp_path / "RESULTS.md"
    path.write_bytes(b"\xff\xfe")
    with refuses("not UTF-8 text", where="RESULTS.md"):
        write_section(path, "## A\n\nnew\n")
    assert path.read_bytes() == b"\xff\xfe"


def test_a_lock_is_held_by_one_and_leaves_no_file(tmp_path):
    counter, starts = tmp_path / "counter", range(8)
    counter.write_text("0")

    def count(_):
        for _ in range(25):
            with locked(counter, "counted"):
                counter.write_text(str(int(counter.read_text()) + 1))

    with ThreadPoolExecutor(len(starts)) as threads:
        list(threads.map(count, starts))
    assert counter.read_text() == "200"
    assert [path.name for path in tmp_path.iterdir()] == ["counter"]


def test_a_lock_that_was_removed_while_another_waited_is_taken_again(tmp_path):
    lock, order = tmp_path / ".x.lock", []
    with ThreadPoolExecutor(1) as threads:
        with hold(lock) as first:
            assert first is not None

            def wait():
                with hold(lock, wait=True):
                    order.append(lock.is_file())  # a lock file of its own, which others see

            waiting = threads.submit(wait)
            time.sleep(0.1)
            with hold(lock) as second:
                assert second is None
        waiting.result(60)
    assert order == [True]
    assert not lock.exists()
