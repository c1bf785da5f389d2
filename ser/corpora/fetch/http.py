"""Fetch one file over HTTP(S): resumable, verified, and under its final name only when complete.

`SER_MIRROR=http://mirror.lab/corpora` fetches every file from a lab's own mirror, <mirror>/<host>/<path> in place of
https://<host>/<path>. Sizes and checksums are still the publisher's.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Any

import ser
from ser.common import InputError
from ser.common.files import unwritable
from ser.common.progress import progress

TRIES = 5  # tries in a row that receive nothing new
WAIT = 1.0  # seconds before the second try, doubled before each further one
LONGEST_WAIT = 60.0
TIMEOUT = 60.0  # seconds without data
BLOCK = 1 << 18
LIMIT = 4 << 30  # largest number of bytes of a file whose size the publisher does not list
SCHEMES = ("http", "https")


class FetchError(InputError):
    """The publisher's server did not give the file."""


def fetch(
    url: str, path: Path, digest: str = "", size: int | None = None, show: bool = True, limit: int = LIMIT
) -> str:
    """Fetch a file; an interrupted download is resumed.

    Args:
        url: address of the file.
        path: file to write.
        digest: checksum from the publisher, such as "md5:<hex>" or "sha256:<hex>"; "": only the length is checked.
        size: bytes, if the publisher lists them.
        show: show a progress bar.
        limit: largest number of bytes to accept if `size` is not given.

    Returns:
        The verified checksum; without a given one, the SHA-256 of the file.

    Raises:
        FetchError: the server has no such file, sends something else, or breaks off repeatedly. What has been received
            stays in `<path>.part`, but is removed if its checksum is wrong.
        InputError: the disk is full, or another file has that name.
    """
    if path.is_file():
        checksum = file_digest(path, digest)
        if (digest and checksum != digest) or size not in (None, path.stat().st_size):
            raise InputError(f"not what {url} publishes", path, "remove it and run the same command again")
        return checksum
    download = _Download(url, path.with_name(f"{path.name}.part"), size, size, limit)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with progress(text=path.name, unit="B", total=size, show=show) as bar:
            bar.unit_scale = True
            _fetch(download, bar)
        checksum = file_digest(download.path, digest)
        if digest and checksum != digest:
            download.path.unlink()
            what = f"what came has {checksum}, and the publisher gives {digest}; it has been removed"
            raise FetchError(what, url, "run the same command again, and if that fails too, ask the publisher")
        os.replace(download.path, path)
    except OSError as error:
        raise unwritable(path, error) from None
    return checksum


def file_digest(path: Path, like: str) -> str:
    """Compute the checksum of a file with the algorithm of another checksum; "": SHA-256."""
    kind = like.partition(":")[0] or "sha256"
    with path.open("rb") as file:
        return f"{kind}:{hashlib.file_digest(file, kind).hexdigest()}"


def check_free_space(folder: Path, needed: int) -> None:
    """Check that the disk has enough free space.

    Args:
        folder: on the disk.
        needed: bytes.

    Raises:
        InputError: fewer bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        what = f"{needed / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free"
        raise InputError(what, folder, "make room, then run the same command again")


@dataclass
class _Download:
    """A file that is being fetched.

    Attributes:
        path: file of the data received so far.
        size: bytes of the complete file, from the publisher's list.
        total: `size`, or else the size that the server gave last.
        limit: largest number of bytes to accept if the size is not known.
    """

    url: str
    path: Path
    size: int | None
    total: int | None
    limit: int

    @property
    def received(self) -> int:
        """Number of bytes received so far."""
        return self.path.stat().st_size if self.path.is_file() else 0


def _fetch(download: _Download, bar: Any) -> None:
    """Try until the file is complete; a try that receives new data resets the count of failures."""
    failed, received = 0, download.received
    while reason := _try(download, bar):
        if download.received > received:
            failed, received = 0, download.received
        failed += 1
        if failed >= TRIES:
            what = f"{reason.text}; {download.received} of {download.total or 'unknown'} bytes are there"
            raise FetchError(f"{what}, and the same command goes on", download.url)
        time.sleep(min(LONGEST_WAIT, max(reason.wait, WAIT * 2 ** (failed - 1))))


@dataclass(frozen=True)
class _Failure:
    """The reason why a try failed, and the seconds to wait that the server asks for."""

    text: str
    wait: float = 0.0


def _try(download: _Download, bar: Any) -> _Failure | None:
    """Request the missing part of the file once; returns None if the file is then complete."""
    if download.size and download.received > download.size:
        download.path.unlink(missing_ok=True)
    if download.size and download.received == download.size:
        return None
    try:
        with _request(download.url, download.received) as response:
            _receive(download, response, bar)
    except urllib.error.HTTPError as error:
        with error:
            return _refusal(download, error)
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            what = f"its certificate is not valid ({error.reason.verify_message})"
            fix = "see to the clock and the certificates of this machine, or fetch it in a browser"
            raise FetchError(what, download.url, fix) from None
        return _Failure(f"cannot be reached ({error.reason})")
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        return _Failure(f"the server breaks off ({error or type(error).__name__})")
    if download.total is not None and download.received < download.total:
        return _Failure("the server breaks off")
    if download.size is not None and download.received > download.size:
        download.path.unlink(missing_ok=True)
        what = f"more than the {download.size} bytes that the publisher lists"
        raise FetchError(what, download.url, "try again later")
    return None if download.received or download.size == 0 else _Failure("the server sends an empty file")


def _refusal(download: _Download, error: urllib.error.HTTPError) -> _Failure | None:
    what = f"the server answers {error.code} {error.reason}"
    if error.code == 416:  # the file is not longer than what has been received
        match = re.search(r"/(\d+)$", error.headers.get("Content-Range", ""))
        if match and int(match[1]) == download.received and download.size is None:
            return None
        download.path.unlink(missing_ok=True)
        return _Failure("the server's file is shorter than what was there")
    if error.code < 500 and error.code not in (408, 425, 429):
        raise FetchError(what, download.url, "see in a browser whether it has moved")
    wait = error.headers.get("Retry-After", "")
    return _Failure(what, float(wait) if wait.isdigit() else 0.0)


def _request(url: str, start: int) -> http.client.HTTPResponse:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise FetchError("neither http nor https", url, "correct the address")
    if mirror := os.environ.get("SER_MIRROR"):
        if urllib.parse.urlsplit(mirror).scheme not in SCHEMES:
            raise FetchError("neither http nor https", f"SER_MIRROR={mirror}", "give the address of a web server")
        url = f"{mirror.rstrip('/')}/{url.removeprefix(f'{parts.scheme}://')}"
    headers = {"User-Agent": f"ser/{ser.__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)
    response: http.client.HTTPResponse = urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT)
    return response


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to http and https only; urllib's handler also follows them to ftp."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if urllib.parse.urlsplit(newurl).scheme not in SCHEMES:
            raise FetchError(f"sends on to {newurl}, neither http nor https", req.full_url, "fetch it in a browser")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _receive(download: _Download, response: http.client.HTTPResponse, bar: Any) -> None:
    """Append the response's body to the file, or start again if the server sends the complete file."""
    start = 0
    if response.status == 206:
        match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != download.received:
            download.path.unlink(missing_ok=True)
            raise http.client.HTTPException("it sends another range than was asked for")
        start = download.received
    if response.headers.get_content_type() == "text/html":
        what = "the server sends a web page in place of the file"
        raise FetchError(what, download.url, "open the address in a browser to see why")
    length = response.headers.get("Content-Length", "")
    download.total = download.size or (start + int(length) if length.isdigit() else None)
    if download.size is None and (download.total or 0) > download.limit:
        raise _too_large(download)
    check_free_space(download.path.parent, (download.total or start) - start)
    bar.total, bar.initial, bar.n = download.total, start, start
    with download.path.open("ab" if start else "wb") as file:
        while block := response.read(BLOCK):
            file.write(block)
            bar.update(len(block))
            if download.size and file.tell() > download.size:
                return
            if download.size is None and file.tell() > download.limit:
                raise _too_large(download)


def _too_large(download: _Download) -> FetchError:
    download.path.unlink(missing_ok=True)
    what = f"more than {download.limit} bytes, and the publisher does not list its size"
    return FetchError(what, download.url, "fetch it by hand")
