"""Get the lists of files of publishers: names, addresses, sizes and checksums."""

from __future__ import annotations

import hashlib
import re
import tarfile
import tempfile
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ser.common import InputError, read_json
from ser.corpora.fetch.http import FetchError, fetch
from ser.corpora.fetch.unpack import FACTOR, archive_errors, check_limit

DIGEST = re.compile(r"md5:[0-9a-f]{32}|sha1:[0-9a-f]{40}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
LISTING = 64 << 20  # largest number of bytes of a list of files
# https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid (sha256:[0-9a-f]{64})\nsize (\d+)\n")


@dataclass(frozen=True)
class Remote:
    """A file at its publisher.

    Attributes:
        name: path below the corpus folder; an archive is unpacked into a folder of its name.
        size: bytes; None: the publisher does not list it.
        digest: checksum such as "md5:<hex>"; "": the publisher gives none.
    """

    name: str
    url: str
    size: int | None = None
    digest: str = ""

    def __post_init__(self) -> None:
        if self.digest and not DIGEST.fullmatch(self.digest):
            raise ValueError(f"{self.name}: no checksum: {self.digest}")


def zenodo(record: str) -> list[Remote]:
    """List the files of a Zenodo record, such as "1188976" (https://developers.zenodo.org/#records).

    Raises:
        FetchError: the server fails, or its answer is no list of files; so too in the functions below.
    """

    def remotes(answer: Any) -> list[Remote]:
        return [Remote(f["key"], f["links"]["self"], int(f["size"]), f["checksum"]) for f in answer["files"]]

    return _list_remotes(f"https://zenodo.org/api/records/{record}", remotes)


def dataverse(server: str, persistent_id: str) -> list[Remote]:
    """List the files of a Dataverse data set (guides.dataverse.org, Native API).

    Args:
        server: such as "https://borealisdata.ca".
        persistent_id: such as "doi:10.5683/SP2/E8H2MF".
    """

    def remote(row: dict[str, Any]) -> Remote:
        file = row["dataFile"]
        kind, value = file["checksum"]["type"], file["checksum"]["value"]
        name = PurePosixPath(row.get("directoryLabel", ""), row["label"])
        url = f"{server}/api/access/datafile/{file['id']}"
        return Remote(str(name), url, int(file["filesize"]), f"{kind.lower().replace('-', '')}:{value}")

    url = f"{server}/api/datasets/:persistentId/?persistentId={persistent_id}"
    return _list_remotes(url, lambda answer: [remote(row) for row in answer["data"]["latestVersion"]["files"]])


def github_archive(repository: str, branch: str) -> Remote:
    """Return the archive of a GitHub repository, for a repository that stores its audio without git-lfs.

    Args:
        repository: "<owner>/<name>".
        branch: name of the branch.
    """
    name = f"{repository.rpartition('/')[2]}.tar.gz"
    return Remote(name, f"https://codeload.github.com/{repository}/tar.gz/refs/heads/{branch}")


def github(repository: str, branch: str, pattern: str) -> list[Remote]:
    """List the files of a GitHub repository whose path matches a pattern, also those stored with git-lfs.

    The repository's archive, one download, has a pointer for each git-lfs file, with its SHA-256 and size.

    Args:
        repository: "<owner>/<name>".
        branch: name of the branch.
        pattern: regular expression for the whole path.
    """
    remotes = []
    with tempfile.TemporaryDirectory() as temporary:
        remote = github_archive(repository, branch)
        archive = Path(temporary, remote.name)
        fetch(remote.url, archive)
        with archive_errors(archive), tarfile.open(archive) as tar:
            total = 0
            for member in tar:
                total += member.size
                check_limit(archive, total, archive.stat().st_size * FACTOR)
                path = member.name.partition("/")[2]
                if member.isfile() and re.fullmatch(pattern, path):
                    file = tar.extractfile(member)
                    assert file is not None
                    remotes.append(_github_file(repository, branch, path, file.read()))
    return remotes


def _github_file(repository: str, branch: str, path: str, content: bytes) -> Remote:
    location = f"{repository}/{branch}/{urllib.parse.quote(path)}"
    if match := POINTER.fullmatch(content):
        return Remote(path, f"https://media.githubusercontent.com/media/{location}", int(match[2]), match[1].decode())
    digest = hashlib.sha256(content).hexdigest()
    return Remote(path, f"https://raw.githubusercontent.com/{location}", len(content), f"sha256:{digest}")


def _list_remotes(url: str, remotes: Callable[[Any], list[Remote]]) -> list[Remote]:
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, "answer.json")
        fetch(url, path, show=False, limit=LISTING)
        try:
            return remotes(read_json(path))
        except (InputError, LookupError, TypeError, ValueError, AttributeError) as error:
            what = f"not the list of files that is expected ({type(error).__name__}: {error})"
            raise FetchError(what, url, "fetch the corpus by hand") from None
