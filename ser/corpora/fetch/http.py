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
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with progress(text=path.name, unit="B", total=size, show=show) as bar:
            bar.unit_scale = True
            _download(url, part, size, limit, bar)
        checksum = file_digest(part, digest)
        if digest and checksum != digest:
            part.unlink()
            what = f"what came has {checksum}, and the publisher gives {digest}; it has been removed"
            raise FetchError(what, url, "run the same command again, and if that fails too, ask the publisher")
        os.replace(part, path)
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


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _download(url: str, part: Path, size: int | None, limit: int, bar: Any) -> None:
    """Request what is missing of a file until it is complete; a try that receives new data resets the count of tries.

    Args:
        url: address of the file.
        part: file of the data received so far.
        size: bytes of the complete file, if the publisher lists them.
        limit: largest number of bytes to accept if the size is not known.
        bar: progress bar; its total is `size`, or else the size that the server gave last.

    Raises:
        FetchError: trying again does not help, or `TRIES` tries in a row received nothing new.
    """
    failed, most = 0, _length(part)
    while True:
        if size and _length(part) > size:
            part.unlink()
        start, wait = _length(part), 0.0
        if size and start == size:
            return
        try:
            with _request(url, start) as response:
                received = _receive(response, url, part, start, size, limit, bar)
            if received < (bar.total or 0):
                reason = "the server breaks off"
            elif received or size == 0:
                return
            else:
                reason = "the server sends an empty file"
        except urllib.error.HTTPError as error:
            with error:
                reason, retry_after = f"the server answers {error.code} {error.reason}", error.headers["Retry-After"]
                complete = re.search(r"/(\d+)$", error.headers.get("Content-Range", ""))
            if error.code == 416:  # the file is not longer than what has been received
                if size is None and complete and int(complete[1]) == start:
                    return
                part.unlink(missing_ok=True)
                reason = "the server's file is shorter than what was there"
            elif error.code < 500 and error.code not in (408, 425, 429):
                raise FetchError(reason, url, "see in a browser whether it has moved") from None
            elif (retry_after or "").isdigit():
                wait = float(retry_after)
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                what = f"its certificate is not valid ({error.reason.verify_message})"
                fix = "check the clock and the certificates of this machine, or fetch it in a browser"
                raise FetchError(what, url, fix) from None
            reason = f"cannot be reached ({error.reason})"
        except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
            reason = f"the server breaks off ({error or type(error).__name__})"
        received = _length(part)
        failed = failed + 1 if received <= most else 1
        most = max(most, received)
        if failed >= TRIES:
            what = f"{reason}; {received} of {bar.total or 'unknown'} bytes are there"
            raise FetchError(f"{what}, and the same command goes on", url)
        time.sleep(min(LONGEST_WAIT, max(wait, WAIT * 2 ** (failed - 1))))


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


def _receive(
    response: http.client.HTTPResponse, url: str, part: Path, start: int, size: int | None, limit: int, bar: Any
) -> int:
    """Append the response to the file, or start again if the server sends the complete file; returns its length."""
    if response.status != 206:
        start = 0
    elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        part.unlink(missing_ok=True)
        raise http.client.HTTPException("it sends another range than was asked for")
    if response.headers.get_content_type() == "text/html":
        what = "the server sends a web page in place of the file"
        raise FetchError(what, url, "open the address in a browser to see why")
    length = response.headers.get("Content-Length", "")
    total = size if size is not None else start + int(length) if length.isdigit() else None
    most, what, fix = limit, f"more than {limit} bytes, and the publisher does not list its size", "fetch it by hand"
    if size is not None:
        most, what, fix = size, f"more than the {size} bytes that the publisher lists", "try again later"
    received = start
    if (total or 0) <= most:
        check_free_space(part.parent, (total or start) - start)
        bar.total, bar.initial, bar.n = total, start, start
        with part.open("ab" if start else "wb") as file:
            while received <= most and (block := response.read(BLOCK)):
                file.write(block)
                bar.update(len(block))
                received += len(block)
    if max(received, total or 0) > most:
        part.unlink(missing_ok=True)
        raise FetchError(what, url, fix)
    return received
