"""Stage 0: fetch a corpus from its publisher, and record its source, licence and citation."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

from ser.common import InputError, read_typed, write_json
from ser.common.progress import progress
from ser.corpora.fetch.http import FetchError, fetch
from ser.corpora.fetch.publishers import Remote, dataverse, github, github_archive, zenodo
from ser.corpora.fetch.unpack import ARCHIVES, member_path, unpack
from ser.corpora.protocol import read_protocol

__all__ = [
    "FetchError",
    "Remote",
    "check_fetched_by_hand",
    "dataverse",
    "fetch_corpus",
    "github",
    "github_archive",
    "zenodo",
]

PARALLEL_DOWNLOADS = 4  # small files fetched at the same time
RECORD = "FETCHED.json"


def fetch_corpus(corpus_dir: Path, corpus: str, remotes: Callable[[], Sequence[Remote]]) -> None:
    """Fetch and unpack the files of a corpus; files that exist already are not fetched again.

    <corpus_dir>/FETCHED.json records licence and citation, and the address, size, checksum and date of every file. A
    folder with content but without this record was filled by the user, and is left as it is.

    Args:
        corpus_dir: folder of the corpus.
        corpus: name of its protocol.
        remotes: gets the list of files from the publisher.

    Raises:
        FetchError: a server fails; what has been received stays, and the same command continues.
        InputError: the disk is full, or an archive is hostile or damaged.
    """
    if is_fetched(corpus_dir):
        print(f"{corpus_dir}: there already; nothing to fetch")
        return
    protocol, path = read_protocol(corpus), corpus_dir / RECORD
    files = remotes()
    for remote in files:
        member_path(Path(), remote.name, protocol.source)
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
            fetched[remote.name] = _fetch_one(corpus_dir, remote)
            write_json(path, record)
    fetched |= _fetch_files(corpus_dir, [remote for remote in files if not _is_archive(remote)])
    write_json(path, record | {"complete": True})
    print(f"{corpus_dir}: fetched {sum(len(row['files']) for row in fetched.values())} files, listed in {path}")


def is_fetched(corpus_dir: Path) -> bool:
    """Whether nothing is left to fetch: all recorded files exist, or the user filled the folder."""
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
    return dict(read_typed(path, _Record, "not a record of stage 0", "remove it and run stage 0 again"))


def check_fetched_by_hand(corpus_dir: Path, how: str) -> None:
    """Stage 0 of a corpus that the user has to request: check that it is there.

    Args:
        corpus_dir: folder of the corpus.
        how: where and how to get it, and what the folder has to hold.

    Raises:
        InputError: the folder is absent or empty.
    """
    if not is_fetched(corpus_dir):
        raise InputError(f"no corpus there, and it cannot be fetched for you: {how}", corpus_dir)


def _is_archive(remote: Remote) -> bool:
    return remote.name.lower().endswith(ARCHIVES)


def _holds(corpus_dir: Path, row: dict[str, Any]) -> bool:
    files = [(corpus_dir / name, size) for name, size in row.get("files", {}).items()]
    return bool(files) and all(path.is_file() and path.stat().st_size == size for path, size in files)


def _fetch_one(corpus_dir: Path, remote: Remote) -> dict[str, Any]:
    """Fetch a file, and unpack an archive into a folder of its name; returns the file's row of the record."""
    path = corpus_dir / remote.name
    digest = fetch(remote.url, path, remote.digest, remote.size, show=_is_archive(remote))
    size = path.stat().st_size
    files = {remote.name: size}
    if _is_archive(remote):
        folder = re.sub(r"\.(zip|tgz|tar(\.\w+)?)$", "", remote.name, flags=re.IGNORECASE)
        files = {f"{folder}/{name}": inner for name, inner in unpack(path, corpus_dir / folder).items()}
        path.unlink()
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {"url": remote.url, "size": size, "digest": digest, "date": date, "files": files}


def _fetch_files(corpus_dir: Path, remotes: Sequence[Remote]) -> dict[str, Any]:
    """Fetch files in parallel, until the first failure; returns their rows of the record by name."""
    pool = ThreadPoolExecutor(PARALLEL_DOWNLOADS)
    try:
        jobs = {remote.name: pool.submit(_fetch_one, corpus_dir, remote) for remote in remotes}
        for job in progress(as_completed(jobs.values()), text="fetching", unit="file", total=len(jobs)):
            job.result()
        return {name: job.result() for name, job in jobs.items()}
    finally:
        pool.shutdown(cancel_futures=True)
