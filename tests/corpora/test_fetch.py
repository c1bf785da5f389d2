"""Stage 0 with a local server that interrupts transfers, sends wrong data, refuses, and serves hostile archives."""

import hashlib
import io
import json
import os
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import programs
import pytest
from conftest import ROOT
from corpora_made import write_tree

from ser.common import InputError, read_json
from ser.corpora.fetch import FetchError, Remote, dataverse, fetch_corpus, github, http, is_fetched, zenodo
from ser.corpora.fetch.http import fetch
from ser.corpora.fetch.unpack import unpack
from ser.corpora.preparers import load_preparer

DATA = np.random.default_rng(0).bytes(1_000_000)


def md5(data: bytes) -> str:
    return f"md5:{hashlib.md5(data).hexdigest()}"


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Page:
    """The behaviour of the server at an address.

    Attributes:
        ranges: whether requests for ranges are served.
        most: number of bytes after which a response is interrupted.
        promise: Content-Length, also if it is wrong.
        refusals: status codes of the first responses.
        slow: seconds to wait after `most` bytes.
        location: address of a redirect.
        no_length: leave out Content-Length.
    """

    content: bytes = DATA
    ranges: bool = True
    most: int | None = None
    promise: int | None = None
    refusals: list[int] = field(default_factory=list)
    kind: str = "application/octet-stream"
    slow: float = 0.0
    location: str = ""
    no_length: bool = False


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, path: str, content: bytes = DATA, **behaviour) -> Page:
        self.pages[path] = Page(content, **behaviour)
        return self.pages[path]

    def ranges(self) -> list[str]:
        return [asked for _, asked in self.asked]

    def handle_error(self, request, client_address) -> None:
        pass  # the client has closed the connection


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.server.asked.append((self.path, asked))
        page = self.server.pages.get(self.path)
        if page is None:
            return self.send_error(404)
        if page.refusals:
            return self.send_error(page.refusals.pop(0))
        if page.location:
            self.send_response(302)
            self.send_header("Location", page.location)
            return self.end_headers()
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and page.ranges else 0
        length = len(page.content) if page.promise is None else page.promise
        if start and start >= len(page.content) and page.promise is None:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(page.content)}")
            return self.end_headers()
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", page.kind)
        if not page.no_length:
            self.send_header("Content-Length", str(length - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{length - 1}/{length}")
        self.end_headers()
        self.wfile.write(page.content[start:][: page.most])
        if page.slow:
            self.wfile.flush()
            time.sleep(page.slow)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(http, "WAIT", 0.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("SER_MIRROR", raising=False)
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def mirror(server, monkeypatch):
    """The server is the mirror of all publishers."""
    monkeypatch.setenv("SER_MIRROR", server.url)
    return server


def refused(action, *words, kind=InputError) -> str:
    with pytest.raises(kind) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message
    return message


# One file


@pytest.mark.parametrize(("known", "checksum"), [((md5(DATA), len(DATA)), md5(DATA)), ((), sha256(DATA))])
def test_a_file_is_fetched_and_verified(server, tmp_path, known, checksum):
    server.add("/a")
    assert fetch(f"{server.url}/a", tmp_path / "new" / "a.zip", *known) == checksum
    assert (tmp_path / "new" / "a.zip").read_bytes() == DATA
    assert os.listdir(tmp_path / "new") == ["a.zip"]


def test_an_existing_file_is_not_fetched_again(server, tmp_path):
    (tmp_path / "a").write_bytes(DATA)
    assert fetch(f"{server.url}/a", tmp_path / "a", sha256(DATA)) == sha256(DATA)
    assert server.asked == []


@pytest.mark.parametrize("known", [{"digest": md5(b"x")}, {"size": 5}])
def test_another_file_of_that_name_is_kept_and_refused(server, tmp_path, known):
    (tmp_path / "a").write_bytes(b"mine")
    refused(lambda: fetch(f"{server.url}/a", tmp_path / "a", **known), tmp_path / "a", "not what", "remove it")
    assert (tmp_path / "a").read_bytes() == b"mine"


def test_an_interrupted_download_is_resumed_as_long_as_data_arrive(server, tmp_path):
    server.add("/a", most=50_000)
    fetch(f"{server.url}/a", tmp_path / "a", md5(DATA))
    assert (tmp_path / "a").read_bytes() == DATA
    assert server.ranges() == ["", *(f"bytes={start}-" for start in range(50_000, len(DATA), 50_000))]


def test_a_server_without_ranges_sends_the_file_from_the_start(server, tmp_path):
    page = server.add("/a", ranges=False, most=300_000)
    url = f"{server.url}/a"
    refused(
        lambda: fetch(url, tmp_path / "a", md5(DATA)), url, "breaks off", "300000 of 1000000 bytes", kind=FetchError
    )
    assert os.listdir(tmp_path) == ["a.part"]
    page.most = None
    fetch(url, tmp_path / "a", md5(DATA))
    assert server.ranges()[-1] == "bytes=300000-"
    assert (tmp_path / "a").read_bytes() == DATA


def test_the_next_call_resumes_the_download(server, tmp_path):
    url = f"{server.url}/a"
    server.add("/a", DATA[:400_000], promise=len(DATA))
    message = refused(lambda: fetch(url, tmp_path / "a", md5(DATA)), "400000 of 1000000", kind=FetchError)
    assert "the same command goes on" in message
    server.add("/a")
    server.asked.clear()
    fetch(url, tmp_path / "a", md5(DATA))
    assert server.ranges() == ["bytes=400000-"]
    assert (tmp_path / "a").read_bytes() == DATA


def test_a_complete_part_is_only_verified(server, tmp_path):
    server.add("/a")
    (tmp_path / "a.part").write_bytes(DATA)
    fetch(f"{server.url}/a", tmp_path / "a")
    assert server.ranges() == ["bytes=1000000-"]
    assert (tmp_path / "a").read_bytes() == DATA
    (tmp_path / "b.part").write_bytes(DATA)
    fetch(f"{server.url}/b", tmp_path / "b", md5(DATA), len(DATA))
    assert len(server.asked) == 1


@pytest.mark.parametrize("size", [None, len(DATA)])
def test_a_part_longer_than_the_file_is_fetched_again(server, tmp_path, size):
    server.add("/a")
    (tmp_path / "a.part").write_bytes(bytes(len(DATA) + 5))
    fetch(f"{server.url}/a", tmp_path / "a", md5(DATA), size)
    assert (tmp_path / "a").read_bytes() == DATA


@pytest.mark.parametrize(
    ("page", "known", "words", "requests", "left"),
    [
        ({"promise": len(DATA) + 1000}, {}, ["1000000 of 1001000 bytes are there"], http.TRIES, ["a.part"]),
        (
            {"promise": 600_000, "most": 600_000},
            {"size": len(DATA)},
            ["of 1000000 bytes are there"],
            http.TRIES,
            ["a.part"],
        ),
        ({}, {"size": 500_000}, ["more than the 500000"], 1, []),
        ({"content": b""}, {}, ["empty file"], http.TRIES, ["a.part"]),
        ({}, {"digest": md5(b"")}, [md5(DATA), md5(b""), "removed"], 1, []),
        ({"content": b"<html>log in", "kind": "text/html; charset=utf-8"}, {}, ["web page", "in a browser"], 1, []),
        (None, {}, ["404"], 1, []),
    ],
    ids=["never reached", "too short", "more than listed", "empty", "checksum", "web page", "absent"],
)
def test_a_wrong_response_is_refused_and_leaves_no_file(server, tmp_path, page, known, words, requests, left):
    if page is not None:
        server.add("/a", **page)
    url = f"{server.url}/a"
    refused(lambda: fetch(url, tmp_path / "a", **known), url, *words, kind=FetchError)
    assert len(server.asked) == requests
    assert os.listdir(tmp_path) == left


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_request_to_a_busy_server_is_repeated(server, tmp_path, code):
    server.add("/a", refusals=[code] * (http.TRIES - 1))
    fetch(f"{server.url}/a", tmp_path / "a", md5(DATA))
    server.add("/b", refusals=[code] * http.TRIES)
    refused(lambda: fetch(f"{server.url}/b", tmp_path / "b"), str(code), kind=FetchError)


def test_each_wait_is_twice_the_last(server, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(http, "WAIT", 1.0)
    monkeypatch.setattr(http.time, "sleep", waits.append)
    server.add("/a", refusals=[503] * 9)
    refused(lambda: fetch(f"{server.url}/a", tmp_path / "a"), "503")
    assert waits == [1, 2, 4, 8]


def test_an_unreachable_server(tmp_path, server):
    server.shutdown()
    server.server_close()
    refused(lambda: fetch(f"{server.url}/a", tmp_path / "a"), "cannot be reached", kind=FetchError)


def test_only_http(tmp_path):
    (tmp_path / "secret").write_text("x")
    refused(lambda: fetch(f"file://{tmp_path}/secret", tmp_path / "a"), "neither http nor https")


def test_a_full_disk_is_found_before_anything_is_written(server, tmp_path, monkeypatch):
    server.add("/a")
    monkeypatch.setattr(http.shutil, "disk_usage", lambda _: SimpleNamespace(free=500_000))
    refused(lambda: fetch(f"{server.url}/a", tmp_path / "a"), "1 MB are needed and 0 MB are free")  # rounded
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made(server, tmp_path):
    server.add("/a")
    (tmp_path / "file").write_text("")
    refused(lambda: fetch(f"{server.url}/a", tmp_path / "file" / "a"), "cannot be written")


@pytest.mark.slow
def test_ctrl_c_leaves_the_part_and_the_same_command_goes_on(server, tmp_path):
    page = server.add("/a", most=600_000, slow=30)
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pathlib import Path; from ser.common import guarded; from ser.corpora.fetch.http import fetch\n"
        "sys.exit(guarded(lambda: fetch(sys.argv[1], Path(sys.argv[2])) and 0)())"
    )
    command = [sys.executable, "-c", code, f"{server.url}/a", tmp_path / "a"]
    run = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    part = tmp_path / "a.part"
    end = time.monotonic() + 30
    while not (part.is_file() and part.stat().st_size) and time.monotonic() < end:
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    assert run.wait(10) == 130
    assert run.stderr.read() == "error: interrupted. Rerun the same command to resume.\n"
    assert os.listdir(tmp_path) == ["a.part"]
    assert DATA.startswith(part.read_bytes())
    received = part.stat().st_size
    page.most, page.slow = None, 0
    assert subprocess.run(command, cwd=ROOT).returncode == 0
    assert server.ranges()[-1] == f"bytes={received}-"
    assert (tmp_path / "a").read_bytes() == DATA


# Archives


def zipped(path: Path | io.BytesIO, members: dict[str, bytes]):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def tarred(path: Path | io.BytesIO, *members: tarfile.TarInfo | tuple[str, bytes], mode="w:gz") -> Path:
    target = {"fileobj": path} if isinstance(path, io.BytesIO) else {"name": path}
    with tarfile.open(mode=mode, **target) as file:
        for member in members:
            if isinstance(member, tuple):
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                file.addfile(info, io.BytesIO(member[1]))
            else:
                file.addfile(member)
    return path


def archived(path: Path, *members: tarfile.TarInfo | tuple[str, bytes]) -> Path:
    """Write a zip or tar archive, by the suffix of its name."""
    suffix = path.name.partition(".")[2]
    if suffix == "zip":
        return zipped(path, dict(member for member in members if isinstance(member, tuple)))
    return tarred(path, *members, mode={"tar": "w", "tgz": "w:gz"}.get(suffix, f"w:{suffix[4:]}"))


def tar_member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_not_unpacked(archive: Path, *words: str, limit: int | None = None) -> str:
    """Check that an archive is refused and nothing is written, inside the folder or elsewhere."""
    around = archive.parent
    (around / "deep").mkdir(exist_ok=True)
    before = sorted(around.rglob("*"))
    message = refused(lambda: unpack(archive, around / "deep" / "out", limit), archive, *words)
    assert sorted(around.rglob("*")) == before
    return message


TEN = {f"{i}.wav": DATA[i * 9000 : i * 9000 + 9000] for i in range(10)}
MEMBERS = {"Actor_01/a.wav": DATA[:5000], "Actor_01/b.wav": DATA[:7], "readme.txt": b"of two\nlines\n"}


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"])
def test_an_archive_is_unpacked(tmp_path, suffix):
    start, folders = ("", [("Actor_01/", b"")])
    if suffix != "zip":
        start, folders = "./", [tar_member(".", tarfile.DIRTYPE), tar_member("./Actor_01", tarfile.DIRTYPE)]
    members = ((f"{start}{name}", content) for name, content in MEMBERS.items())
    path = archived(tmp_path / f"a.{suffix}", *folders, *members)
    assert unpack(path, tmp_path / "out") == {name: len(content) for name, content in MEMBERS.items()}
    assert contents(tmp_path / "out") == MEMBERS


def test_an_earlier_folder_is_replaced(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.wav").write_bytes(b"")
    unpack(zipped(tmp_path / "a.zip", MEMBERS), tmp_path / "out")
    assert contents(tmp_path / "out") == MEMBERS
    assert sorted(os.listdir(tmp_path)) == ["a.zip", "out"]


@pytest.mark.parametrize(
    "name", ["../evil.wav", "a/../../evil.wav", "/tmp/evil.wav", "..\\evil.wav", "a\\..\\..\\evil.wav", ".."]
)
def test_a_path_out_of_the_folder_is_refused(tmp_path, name):
    assert_not_unpacked(zipped(tmp_path / "a.zip", {"a.wav": b"x", name: b"x"}), "outside its folder")
    assert_not_unpacked(tarred(tmp_path / "a.tar.gz", ("a.wav", b"x"), (name, b"x")), "outside its folder")


@pytest.mark.parametrize("target", ["/etc/passwd", "../../other", "a.wav"])
def test_a_link_is_refused(tmp_path, target):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a.wav", b"x")
        file.writestr(link, target)
    assert_not_unpacked(tmp_path / "a.zip", "'link' is a link")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        assert_not_unpacked(
            tarred(tmp_path / "a.tar.gz", ("a.wav", b"x"), tar_member("link", kind, target)), "'link' is a link"
        )


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_device_is_refused(tmp_path, kind):
    assert_not_unpacked(tarred(tmp_path / "a.tar.gz", tar_member("null", kind)), "a device")


def test_an_archive_bomb_is_refused_before_it_is_unpacked(tmp_path):
    zeros = bytes(3_000_000)
    assert_not_unpacked(zipped(tmp_path / "a.zip", {"a.wav": zeros}), "would unpack to more than")
    assert_not_unpacked(tarred(tmp_path / "a.tar.gz", ("a.wav", zeros)), "would unpack to more than")
    unpack(tmp_path / "a.zip", tmp_path / "out", limit=3_000_000)
    assert_not_unpacked(tmp_path / "a.zip", "more than 2999999 bytes", limit=2_999_999)


def test_a_member_larger_than_its_stated_size_is_refused(tmp_path):
    zipped(tmp_path / "a.zip", {"a.wav": bytes(3_000_000)})
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(content.replace(struct.pack("<I", 3_000_000), struct.pack("<I", 100)))
    assert_not_unpacked(tmp_path / "a.zip", "damaged")


def test_an_encrypted_zip_is_refused(tmp_path):
    zipped(tmp_path / "a.zip", {"a.wav": b"x"})
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[6] |= 1  # general purpose flag, bit 0, of the file and of the list
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    assert_not_unpacked(tmp_path / "a.zip", "encrypted")


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9])
def test_a_truncated_archive_is_refused(tmp_path, suffix, share):
    path = archived(tmp_path / f"a.{suffix}", *TEN.items())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert_not_unpacked(path, "fetch it again")


@pytest.mark.parametrize("suffix", ["tar.gz", "tar.bz2", "tar.xz", "zip"])
@pytest.mark.parametrize("share", [0, 0.02, 0.2, 0.5, 0.8, 0.98, 1])
def test_damaged_data_of_every_compression_are_an_error_of_the_archive(tmp_path, suffix, share):
    path = archived(tmp_path / f"a.{suffix}", *TEN.items())
    content = bytearray(path.read_bytes())
    at = int((len(content) - 60) * share)
    content[at : at + 60] = bytes(byte ^ 0x5A for byte in content[at : at + 60])
    path.write_bytes(content)
    assert_not_unpacked(path, "fetch it again")


def test_no_archive_an_empty_archive_and_a_duplicate_name(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"<html>" * 100)
    assert_not_unpacked(tmp_path / "a.zip", "no archive")
    assert_not_unpacked(zipped(tmp_path / "b.zip", {"folder/": b""}), "holds no files")
    assert_not_unpacked(tarred(tmp_path / "a.tar.gz", ("a.wav", b"x"), ("./a.wav", b"y")), "twice")


# A corpus


def publish_zenodo(mirror, record: str, files: dict[str, bytes], **wrong) -> None:
    rows = []
    for key, content in files.items():
        path = f"zenodo.org/api/records/{record}/files/{key}/content"
        mirror.add(f"/{path}", content)
        row = {"key": key, "size": len(content), "checksum": md5(content), "links": {"self": f"https://{path}"}}
        rows.append(row | wrong)
    mirror.add(f"/zenodo.org/api/records/{record}", json.dumps({"files": rows}).encode(), kind="application/json")


def zip_bytes(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    zipped(stream, members)
    return stream.getvalue()


def test_a_corpus_is_fetched_unpacked_and_recorded_with_its_licence(mirror, tmp_path, capsys):
    archive = zip_bytes(MEMBERS)
    publish_zenodo(mirror, "7", {"speech.zip": archive, "readme.md": b"read me"})
    corpus = tmp_path / "corpora" / "ravdess"
    fetch_corpus(corpus, "ravdess", lambda: zenodo("7"))
    out = capsys.readouterr().out
    assert out.count("CC BY-NC-SA 4.0") == 1
    assert out.count("Livingstone and Russo (2018)") == 1
    assert {k: v for k, v in contents(corpus).items() if k != "FETCHED.json"} == {
        **{f"speech/{name}": content for name, content in MEMBERS.items()},
        "readme.md": b"read me",
    }
    record = read_json(corpus / "FETCHED.json")
    assert (record["licence"], record["complete"]) == ("CC BY-NC-SA 4.0", True)
    row = record["fetched"]["speech.zip"]
    assert row["url"] == "https://zenodo.org/api/records/7/files/speech.zip/content"
    assert (row["digest"], row["size"]) == (md5(archive), len(archive))
    assert row["files"] == {f"speech/{name}": len(content) for name, content in MEMBERS.items()}
    assert row["date"].startswith("20")
    assert row["date"].endswith("+00:00")


def test_a_fetched_corpus_needs_no_request(mirror, tmp_path, capsys):
    publish_zenodo(mirror, "7", {"speech.zip": zip_bytes(MEMBERS)})
    fetch_corpus(tmp_path / "c", "ravdess", lambda: zenodo("7"))
    mirror.asked.clear()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "c").rglob("*")}
    capsys.readouterr()
    fetch_corpus(tmp_path / "c", "ravdess", lambda: zenodo("7"))
    assert capsys.readouterr().out == f"{tmp_path / 'c'}: there already; nothing to fetch\n"
    assert mirror.asked == []
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "c").rglob("*")} == before


def test_a_file_that_was_lost_is_fetched_again(mirror, tmp_path):
    publish_zenodo(mirror, "7", {"speech.zip": zip_bytes(MEMBERS), "song.zip": zip_bytes({"x.wav": b"x"})})
    fetch_corpus(tmp_path / "c", "ravdess", lambda: zenodo("7"))
    (tmp_path / "c" / "speech" / "Actor_01" / "a.wav").unlink()
    mirror.asked.clear()
    fetch_corpus(tmp_path / "c", "ravdess", lambda: zenodo("7"))
    assert contents(tmp_path / "c" / "speech") == MEMBERS
    assert not any("song.zip" in path for path, _ in mirror.asked)


def test_a_folder_filled_by_the_user_is_left_as_it_is(mirror, tmp_path, capsys):
    (tmp_path / "Actor_01").mkdir()
    fetch_corpus(tmp_path, "ravdess", lambda: zenodo("7"))
    assert "nothing to fetch" in capsys.readouterr().out
    assert os.listdir(tmp_path) == ["Actor_01"]
    assert mirror.asked == []


def test_after_a_failure_fetched_files_stay_and_the_same_command_continues(mirror, tmp_path):
    files = {f"{i}.wav": DATA[i * 100 : i * 100 + 100] for i in range(12)}
    publish_zenodo(mirror, "7", {"speech.zip": zip_bytes(MEMBERS), **files})
    broken = mirror.pages.pop("/zenodo.org/api/records/7/files/11.wav/content")
    refused(lambda: fetch_corpus(tmp_path / "c", "ravdess", lambda: zenodo("7")), "11.wav", "404", kind=FetchError)
    assert not read_json(tmp_path / "c" / "FETCHED.json")["complete"]
    assert contents(tmp_path / "c" / "speech") == MEMBERS
    came = {name for name in files if (tmp_path / "c" / name).is_file()}
    assert len(came) >= 4
    mirror.pages["/zenodo.org/api/records/7/files/11.wav/content"] = broken
    mirror.asked.clear()
    fetch_corpus(tmp_path / "c", "ravdess", lambda: zenodo("7"))
    asked = {path.split("/")[-2] for path, _ in mirror.asked if path.endswith("content")}
    assert asked == files.keys() - came
    assert files.items() <= contents(tmp_path / "c").items()
    assert read_json(tmp_path / "c" / "FETCHED.json")["complete"]


def test_a_hostile_archive_leaves_nothing_unpacked(mirror, tmp_path):
    publish_zenodo(mirror, "7", {"speech.zip": zip_bytes({"a.wav": b"x", "../../evil.wav": b"x"})})
    refused(lambda: fetch_corpus(tmp_path / "c", "ravdess", lambda: zenodo("7")), "outside its folder")
    assert sorted(os.listdir(tmp_path / "c")) == ["FETCHED.json", "speech.zip"]
    assert os.listdir(tmp_path) == ["c"]


@pytest.mark.parametrize("key", ["../evil.zip", "/tmp/evil.zip"])
def test_a_publisher_cannot_name_a_file_outside_the_corpus(mirror, tmp_path, key):
    publish_zenodo(mirror, "7", {"a.zip": b"x"}, key=key)
    refused(lambda: fetch_corpus(tmp_path / "c", "ravdess", lambda: zenodo("7")), "outside its folder")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "answer", [b"{", b"[]", b'{"files": 3}', b'{"files": [{"key": "a"}]}', b'{"message": "no such record"}', None]
)
def test_a_response_that_is_no_list_of_files(mirror, answer):
    publish_zenodo(mirror, "7", {"a.zip": b"x"}, checksum="crc32:1234")
    if answer is not None:
        mirror.add("/zenodo.org/api/records/7", answer, kind="application/json")
    words = "not the list of files", "crc32:1234" if answer is None else ""
    refused(lambda: zenodo("7"), "https://zenodo.org/api/records/7", *words, kind=FetchError)


def test_an_empty_list_and_a_duplicate_name(mirror, tmp_path):
    refused(lambda: fetch_corpus(tmp_path / "c", "ravdess", list), "lists no file", "by hand", kind=FetchError)
    twice = [Remote("a", "http://x/1"), Remote("a", "http://x/2")]
    refused(lambda: fetch_corpus(tmp_path / "c", "ravdess", lambda: twice), "one name twice", kind=FetchError)


def publish_dataverse(mirror, files: dict[str, bytes]) -> None:
    rows = []
    for number, (name, content) in enumerate(files.items(), 900):
        folder, _, label = name.rpartition("/")
        checksum = {"type": "MD5", "value": md5(content)[4:]}
        file = {
            "id": number,
            "filename": label,
            "filesize": len(content),
            "md5": md5(content)[4:],
            "checksum": checksum,
        }
        rows.append(
            {"label": label, "restricted": False, "dataFile": file} | ({"directoryLabel": folder} if folder else {})
        )
        mirror.add(f"/borealisdata.ca/api/access/datafile/{number}", content)
    answer = {"status": "OK", "data": {"id": 1, "latestVersion": {"files": rows}}}
    path = "/borealisdata.ca/api/datasets/:persistentId/?persistentId=doi:10.5683/SP2/E8H2MF"
    mirror.add(path, json.dumps(answer).encode(), kind="application/json")


def test_the_files_of_a_dataverse_data_set(mirror, tmp_path):
    files = {"OAF_back_angry.wav": DATA[:500], "docs/readme.txt": b"read me"}
    publish_dataverse(mirror, files)
    remotes = dataverse("https://borealisdata.ca", "doi:10.5683/SP2/E8H2MF")
    assert remotes[0] == Remote(
        "OAF_back_angry.wav", "https://borealisdata.ca/api/access/datafile/900", 500, md5(DATA[:500])
    )
    fetch_corpus(tmp_path / "c", "tess", lambda: remotes)
    assert files.items() <= contents(tmp_path / "c").items()


def pointer(content: bytes) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid {sha256(content)}\nsize {len(content)}\n".encode()


def publish_github(mirror, repository: str, branch: str, members: dict[str, bytes]) -> None:
    folder = f"{repository.rpartition('/')[2]}-{branch}"
    stream = io.BytesIO()
    files = ((f"{folder}/{name}", content) for name, content in members.items())
    tarred(stream, tar_member(folder, tarfile.DIRTYPE), *files)
    mirror.add(f"/codeload.github.com/{repository}/tar.gz/refs/heads/{branch}", stream.getvalue())


def publish_crema_d(mirror, clips: dict[str, bytes]) -> None:
    plain = {"VideoDemographics.csv": b"ActorID,Age\n", "LICENSE.txt": b"ODbL", "summarizeVotes.r": b"x"}
    members = {**{name: pointer(content) for name, content in clips.items()}, **plain, "VideoFlash/a.flv": b"x"}
    repository = "CheyneyComputerScience/CREMA-D"
    publish_github(mirror, repository, "master", members)
    for name, content in clips.items():
        mirror.add(f"/media.githubusercontent.com/media/{repository}/master/{name}", content)
    for name, content in plain.items():
        mirror.add(f"/raw.githubusercontent.com/{repository}/master/{name}", content)


CLIPS = {f"AudioWAV/1001_DFA_{e}_XX.wav": DATA[i * 400 : i * 400 + 400] for i, e in enumerate(("ANG", "SAD", "NEU"))}


def test_the_files_of_a_repository_with_git_lfs_and_those_without(mirror):
    publish_crema_d(mirror, CLIPS)
    repository = "CheyneyComputerScience/CREMA-D"
    remotes = github(repository, "master", r"AudioWAV/\w+\.wav|VideoDemographics\.csv")
    assert [remote.name for remote in remotes] == [*CLIPS, "VideoDemographics.csv"]
    name, content = next(iter(CLIPS.items()))
    media = f"https://media.githubusercontent.com/media/{repository}/master/{name}"
    assert remotes[0] == Remote(name, media, 400, sha256(content))
    assert remotes[-1].url == f"https://raw.githubusercontent.com/{repository}/master/VideoDemographics.csv"
    assert remotes[-1].digest == sha256(b"ActorID,Age\n")


# The downloads of the preparers


def download(corpus: str, corpus_dir: Path) -> dict[str, bytes]:
    """Run a preparer's download; returns the files without the record."""
    action = load_preparer(corpus).download
    assert action is not None
    action(corpus_dir)
    assert read_json(corpus_dir / "FETCHED.json")["complete"]
    downloaded = contents(corpus_dir)
    del downloaded["FETCHED.json"]
    return downloaded


def test_ravdess_is_its_speech(mirror, tmp_path):
    speech = {"Actor_01/03-01-01-01-01-01-01.wav": DATA[:100]}
    files = {"Audio_Speech_Actors_01-24.zip": zip_bytes(speech), "Video_Song_Actor_01.zip": zip_bytes({"v.mp4": b"x"})}
    publish_zenodo(mirror, "1188976", files)
    downloaded = download("ravdess", tmp_path / "c")
    assert downloaded == {f"Audio_Speech_Actors_01-24/{name}": content for name, content in speech.items()}


def test_tess_is_fetched_file_by_file(mirror, tmp_path):
    files = {
        f"{speaker}_{word}_sad.wav": word.encode() for speaker in ("OAF", "YAF") for word in ("back", "bar", "base")
    }
    publish_dataverse(mirror, files)
    assert download("tess", tmp_path / "c") == files


def test_crema_d_is_its_clips_demographics_and_licence(mirror, tmp_path):
    publish_crema_d(mirror, CLIPS)
    assert download("crema_d", tmp_path / "c") == {
        **CLIPS,
        "VideoDemographics.csv": b"ActorID,Age\n",
        "LICENSE.txt": b"ODbL",
    }


@pytest.mark.parametrize(
    ("corpus", "repository", "branch"),
    [("nemo", "amu-cai/nEMO", "main"), ("urdu", "siddiquelatif/URDU-Dataset", "master")],
)
def test_a_corpus_that_lies_in_a_repository_is_its_archive(mirror, tmp_path, corpus, repository, branch):
    tree = write_tree(corpus, tmp_path / "tree")
    files = contents(tree)
    publish_github(mirror, repository, branch, files | {"README.md": b"read me"})
    name = repository.partition("/")[2]
    folder = f"{name}/{name}-{branch}"
    downloaded = download(corpus, tmp_path / "c")
    assert downloaded == {f"{folder}/{path}": content for path, content in (files | {"README.md": b"read me"}).items()}
    utterances = load_preparer(corpus).utterances
    assert {u.id for u in utterances(tmp_path / "c")} == {u.id for u in utterances(tree)}


def test_emodb_is_fetched_by_http_only_if_the_server_has_no_https(mirror, tmp_path, capsys, monkeypatch):
    archive = zip_bytes({"wav/03a01Fa.wav": b"x"})
    mirror.add("/emodb.bilderbar.info/download/download.zip", archive)
    assert download("emodb", tmp_path / "c") == {"download/wav/03a01Fa.wav": b"x"}
    row = read_json(tmp_path / "c" / "FETCHED.json")["fetched"]["download.zip"]
    assert (row["url"][:8], row["digest"]) == ("https://", sha256(archive))
    request = http._request

    def no_https(url: str, start: int):
        if url.startswith("https"):
            raise FetchError(f"{url}: cannot be reached")
        return request(url, start)

    monkeypatch.setattr(http, "_request", no_https)
    capsys.readouterr()
    download("emodb", tmp_path / "d")
    printed = capsys.readouterr()
    assert "warning: https://emodb.bilderbar.info" in printed.err
    assert printed.out.count("licence CC0") == 1
    row = read_json(tmp_path / "d" / "FETCHED.json")["fetched"]["download.zip"]
    assert row["url"].startswith("http://")


@pytest.mark.parametrize(
    ("corpus", "words"),
    [
        ("iemocap", ("release form, signed", "https://sail.usc.edu", "Session1")),
        ("savee", ("register", "Surrey", "DC")),
    ],
)
def test_corpora_that_must_be_requested_are_explained(tmp_path, corpus, words):
    action = load_preparer(corpus).download
    assert action is not None
    for exists in (False, True):  # an empty folder counts as absent
        refused(lambda: action(tmp_path / "c"), f"{tmp_path / 'c'}: no corpus there", *words)
        (tmp_path / "c").mkdir(exist_ok=exists)
    (tmp_path / "c" / "Session1").mkdir()
    action(tmp_path / "c")
    assert is_fetched(tmp_path / "c")


@pytest.mark.slow
def test_stage_0_of_a_corpus_as_a_user_runs_it(mirror, tmp_path):
    """emoUERJ consists of all files of its Zenodo record."""
    publish_zenodo(mirror, "5427549", {"emoUERJ.zip": zip_bytes({"m01h01.wav": b"x"}), "readme.txt": b"y"})
    command = [ROOT / "steps" / "prepare.py", "--download", "true", "emouerj", tmp_path / "c"]
    for words in ("emoUERJ: licence CC BY 4.0", "there already; nothing to fetch"):
        run = programs.run(*command)
        assert run.returncode == 0, run.stderr
        assert words in run.stdout
        assert run.stderr == ""
    assert contents(tmp_path / "c").items() >= {"emoUERJ/m01h01.wav": b"x", "readme.txt": b"y"}.items()


@pytest.mark.parametrize("address", ["file:///etc", "ftp://mirror.lab", "/srv/mirror", "gopher://x"])
def test_a_mirror_is_a_web_server(server, tmp_path, monkeypatch, address):
    monkeypatch.setenv("SER_MIRROR", address)
    refused(lambda: fetch(f"{server.url}/a.wav", tmp_path / "a.wav"), f"SER_MIRROR={address}", kind=FetchError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a.wav", "data:text/plain,hello"])
def test_a_redirect_to_another_scheme_is_refused(server, tmp_path, target):
    server.add("/a.wav", location=target)
    refused(lambda: fetch(f"{server.url}/a.wav", tmp_path / "a.wav"), f"{server.url}/a.wav", kind=FetchError)
    assert list(tmp_path.iterdir()) == []


def test_a_redirect_to_a_web_server_is_followed(server, tmp_path):
    server.add("/a.wav", location=f"{server.url}/b.wav")
    server.add("/b.wav")
    fetch(f"{server.url}/a.wav", tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == DATA


@pytest.mark.parametrize("way", [{}, {"no_length": True}])
def test_without_a_size_from_the_publisher_there_is_a_limit(server, tmp_path, way):
    server.add("/a.wav", **way)
    refused(lambda: fetch(f"{server.url}/a.wav", tmp_path / "a.wav", limit=len(DATA) - 1), "/a.wav", kind=FetchError)
    assert list(tmp_path.iterdir()) == []
    fetch(f"{server.url}/a.wav", tmp_path / "a.wav", limit=len(DATA))
    assert (tmp_path / "a.wav").stat().st_size == len(DATA)


@pytest.mark.parametrize("record", ["[]", "{}", '{"complete": true, "fetched": {"a": {"files": {"b": "many"}}}}', "3"])
def test_a_damaged_record_is_named(tmp_path, record):
    (tmp_path / "FETCHED.json").write_text(record)
    refused(lambda: is_fetched(tmp_path), "FETCHED.json")
