"""One file over HTTP(S): resumed, checked, and absent under its name until it is whole.

`SER_MIRROR=http://mirror.lab/corpora` takes every file from a lab's own copy: <mirror>/<host>/<path> in place of
https://<host>/<path>. Sizes and checksums stay the publisher's.
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

TRIES = 5  # in a row that bring nothing new
WAIT = 1.0  # seconds before the second of these, doubled for each one after
LONGEST_WAIT = 60.0
TIMEOUT = 60.0  # seconds without a byte
BLOCK = 1 << 18
LIMIT = 4 << 30  # bytes of a file whose size the publisher does not list
SCHEMES = ("http", "https")


class FetchError(InputError):
    """The publisher's server did not give the file."""


def fetch(
    url: str, path: Path, digest: str = "", size: int | None = None, show: bool = True, limit: int = LIMIT
) -> str:
    """Fetch a file, from where an earlier call was interrupted.

    Args:
        digest: "md5:<hex>", "sha256:<hex>" or the like, from the publisher; without it only the length is checked.
        size: bytes, where the publisher lists them.
        limit: most bytes that are taken where it does not.

    Returns:
        The checksum that was verified, or the SHA-256 of what came where none was given.

    Raises:
        FetchError: the server has no such file, sends something else, or breaks off again and again. What has come
            stays in `<path>.part`; what has a wrong checksum is removed.
        InputError: no room on the disk, or another file under that name.
    """
    if path.is_file():
        checksum = file_digest(path, digest)
        if (digest and checksum != digest) or size not in (None, path.stat().st_size):
            raise InputError(f"not what {url} publishes", path, "remove it and run the same command again")
        return checksum
    part = _Part(url, path.with_name(f"{path.name}.part"), size, size, limit)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with progress(text=path.name, unit="B", total=size, show=show) as bar:
            bar.unit_scale = True
            _fetch(part, bar)
        checksum = file_digest(part.path, digest)
        if digest and checksum != digest:
            part.path.unlink()
            what = f"what came has {checksum}, and the publisher gives {digest}; it has been removed"
            raise FetchError(what, url, "run the same command again, and if that fails too, ask the publisher")
        os.replace(part.path, path)
    except OSError as error:
        raise unwritable(path, error) from None
    return checksum


def file_digest(path: Path, like: str) -> str:
    """The checksum of a file, of the same kind as another one, or SHA-256."""
    kind = like.partition(":")[0] or "sha256"
    with path.open("rb") as file:
        return f"{kind}:{hashlib.file_digest(file, kind).hexdigest()}"


def check_room(folder: Path, needed: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        InputError: fewer bytes are free than needed.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        what = f"{needed / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free"
        raise InputError(what, folder, "make room, then run the same command again")


@dataclass
class _Part:
    """A file on its way.

    Attributes:
        path: where its beginning lies.
        size: bytes of the whole, from the publisher's list.
        total: the same, or what the server promised last.
        limit: most bytes that are taken where the size is not known.
    """

    url: str
    path: Path
    size: int | None
    total: int | None
    limit: int

    @property
    def there(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0


def _fetch(part: _Part, bar: Any) -> None:
    """Try until all is there; a try that brings something new starts the count again."""
    failed, most = 0, part.there
    while reason := _try(part, bar):
        if part.there > most:
            failed, most = 0, part.there
        failed += 1
        if failed >= TRIES:
            what = f"{reason.text}; {part.there} of {part.total or 'unknown'} bytes are there"
            raise FetchError(f"{what}, and the same command goes on", part.url)
        time.sleep(min(LONGEST_WAIT, max(reason.wait, WAIT * 2 ** (failed - 1))))


@dataclass(frozen=True)
class _Failure:
    """Why a try failed, and the seconds that the server asks to wait."""

    text: str
    wait: float = 0.0


def _try(part: _Part, bar: Any) -> _Failure | None:
    """One request for what is missing; None where nothing is missing after it."""
    if part.size and part.there > part.size:
        part.path.unlink(missing_ok=True)
    if part.size and part.there == part.size:
        return None
    try:
        with _request(part.url, part.there) as response:
            _receive(part, response, bar)
    except urllib.error.HTTPError as error:
        with error:
            return _refusal(part, error)
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            what = f"its certificate is not valid ({error.reason.verify_message})"
            fix = "see to the clock and the certificates of this machine, or fetch it in a browser"
            raise FetchError(what, part.url, fix) from None
        return _Failure(f"cannot be reached ({error.reason})")
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        return _Failure(f"the server breaks off ({error or type(error).__name__})")
    if part.total is not None and part.there < part.total:
        return _Failure("the server breaks off")
    if part.size is not None and part.there > part.size:
        part.path.unlink(missing_ok=True)
        raise FetchError(f"more than the {part.size} bytes that the publisher lists", part.url, "try again later")
    return None if part.there or part.size == 0 else _Failure("the server sends an empty file")


def _refusal(part: _Part, error: urllib.error.HTTPError) -> _Failure | None:
    what = f"the server answers {error.code} {error.reason}"
    if error.code == 416:  # the file ends where we wanted to go on, or before
        match = re.search(r"/(\d+)$", error.headers.get("Content-Range", ""))
        if match and int(match[1]) == part.there and part.size is None:
            return None
        part.path.unlink(missing_ok=True)
        return _Failure("the server's file is shorter than what was there")
    if error.code < 500 and error.code not in (408, 425, 429):
        raise FetchError(what, part.url, "see in a browser whether it has moved")
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
    """Follows to web servers alone; urllib's own goes to ftp too."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if urllib.parse.urlsplit(newurl).scheme not in SCHEMES:
            raise FetchError(f"sends on to {newurl}, neither http nor https", req.full_url, "fetch it in a browser")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _receive(part: _Part, response: http.client.HTTPResponse, bar: Any) -> None:
    """Append the body to the part, or begin again where the server sends the whole."""
    start = 0
    if response.status == 206:
        match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != part.there:
            part.path.unlink(missing_ok=True)
            raise http.client.HTTPException("it sends another range than was asked for")
        start = part.there
    if response.headers.get_content_type() == "text/html":
        what = "the server sends a web page in place of the file"
        raise FetchError(what, part.url, "open the address in a browser to see why")
    length = response.headers.get("Content-Length", "")
    part.total = part.size or (start + int(length) if length.isdigit() else None)
    if part.size is None and (part.total or 0) > part.limit:
        raise _too_large(part)
    check_room(part.path.parent, (part.total or start) - start)
    bar.total, bar.initial, bar.n = part.total, start, start
    with part.path.open("ab" if start else "wb") as file:
        while block := response.read(BLOCK):
            file.write(block)
            bar.update(len(block))
            if part.size and file.tell() > part.size:
                return
            if part.size is None and file.tell() > part.limit:
                raise _too_large(part)


def _too_large(part: _Part) -> FetchError:
    part.path.unlink(missing_ok=True)
    what = f"more than {part.limit} bytes, and the publisher does not list its size"
    return FetchError(what, part.url, "fetch it by hand")
