"""Stage 0: fetch a corpus from its publisher, and put down what it is and under which licence."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

from ser.common import InputError, read_json, write_json
from ser.common.kinds import of_kind
from ser.common.progress import progress
from ser.corpora.fetch.http import FetchError, fetch
from ser.corpora.fetch.publishers import Remote, dataverse, github, github_archive, zenodo
from ser.corpora.fetch.unpack import ARCHIVES, inside, unpack
from ser.corpora.protocol import read_protocol

__all__ = ["FetchError", "Remote", "by_hand", "dataverse", "fetch_corpus", "github", "github_archive", "zenodo"]

AT_ONCE = 4  # small files fetched at the same time
RECORD = "FETCHED.json"


def fetch_corpus(corpus_dir: Path, corpus: str, remotes: Callable[[], Sequence[Remote]]) -> None:
    """Fetch and unpack what a corpus consists of; what is there already is not fetched again.

    <corpus_dir>/FETCHED.json keeps licence, citation, and of every file address, size, checksum and date. A folder that
    holds something and has no such record was brought by other means and is left alone.

    Args:
        remotes: asks the publisher for the list of files.

    Raises:
        FetchError: a server fails; what has come stays, and the same command goes on.
        InputError: no room, or a hostile or damaged archive.
    """
    if is_there(corpus_dir):
        print(f"{corpus_dir}: there already; nothing to fetch")
        return
    protocol, path = read_protocol(corpus), corpus_dir / RECORD
    files = remotes()
    for remote in files:
        inside(Path(), remote.name, protocol.source)
    if not files or len({remote.name for remote in files}) < len(files):
        raise FetchError("lists no file, or one name twice", protocol.source, f"get {protocol.name} there by hand")
    fetched: dict[str, Any] = {}
    if path.is_file():
        fetched = _read_record(path)["fetched"]
    else:
        print(f"{protocol.name}: licence {protocol.licence}; cite {protocol.citation}")
    record = {key: getattr(protocol, key) for key in ("name", "licence", "citation", "source")}
    record |= {"complete": False, "fetched": fetched}
    write_json(path, record)
    for remote in files:
        if _is_archive(remote) and not _holds(corpus_dir, fetched.get(remote.name, {})):
            fetched[remote.name] = _fetch_one(corpus_dir, remote, show=True)
            write_json(path, record)
    fetched |= _fetch_files(corpus_dir, [remote for remote in files if not _is_archive(remote)])
    write_json(path, record | {"complete": True})
    print(f"{corpus_dir}: fetched {sum(len(row['files']) for row in fetched.values())} files, listed in {path}")


def is_there(corpus_dir: Path) -> bool:
    """Whether nothing is left to fetch: all of the record is there, or the corpus was brought by other means."""
    path = corpus_dir / RECORD
    if not path.is_file():
        return corpus_dir.is_dir() and any(not entry.name.startswith(".") for entry in corpus_dir.iterdir())
    record = _read_record(path)
    return record["complete"] and all(_holds(corpus_dir, row) for row in record["fetched"].values())


class _Row(TypedDict):
    files: dict[str, int]


class _Record(TypedDict):
    complete: bool
    fetched: dict[str, _Row]


def _read_record(path: Path) -> dict[str, Any]:
    try:
        return dict(of_kind(_Record, read_json(path), ""))
    except ValueError as error:
        raise InputError(str(error), path, "remove it and run stage 0 again") from None


def by_hand(corpus_dir: Path, how: str) -> None:
    """Stage 0 of a corpus that a person has to ask for.

    Args:
        how: where and how, and what then has to lie in the folder.

    Raises:
        InputError: the folder is absent or empty.
    """
    if not is_there(corpus_dir):
        raise InputError(f"no corpus there, and it cannot be fetched for you: {how}", corpus_dir)


def _is_archive(remote: Remote) -> bool:
    return remote.name.lower().endswith(ARCHIVES)


def _holds(corpus_dir: Path, row: dict[str, Any]) -> bool:
    files = [(corpus_dir / name, size) for name, size in row.get("files", {}).items()]
    return bool(files) and all(path.is_file() and path.stat().st_size == size for path, size in files)


def _fetch_one(corpus_dir: Path, remote: Remote, show: bool) -> dict[str, Any]:
    """Fetch a file; an archive is unpacked into a folder of its name, and removed."""
    path = corpus_dir / remote.name
    digest = fetch(remote.url, path, remote.digest, remote.size, show=show)
    size = path.stat().st_size
    files = {remote.name: size}
    if _is_archive(remote):
        folder = re.sub(r"\.(zip|tgz|tar(\.\w+)?)$", "", remote.name, flags=re.IGNORECASE)
        files = {f"{folder}/{name}": inner for name, inner in unpack(path, corpus_dir / folder).items()}
        path.unlink()
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {"url": remote.url, "size": size, "digest": digest, "date": date, "files": files}


def _fetch_files(corpus_dir: Path, remotes: Sequence[Remote]) -> dict[str, Any]:
    """Fetch single files, several at once; the first failure ends it."""
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        jobs = {remote.name: pool.submit(_fetch_one, corpus_dir, remote, show=False) for remote in remotes}
        for job in progress(as_completed(jobs.values()), text="fetching", unit="file", total=len(jobs)):
            job.result()
        return {name: job.result() for name, job in jobs.items()}
    finally:
        pool.shutdown(cancel_futures=True)
