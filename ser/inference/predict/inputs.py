"""What is to be answered: files, folders, wav.scp, cut manifests, standard input, as one list of sources."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ser.audio import Audio
from ser.common import InputError
from ser.corpora.kaldi import read_table
from ser.corpora.utterance import audio_files, hidden_files

PIPES = "if you trust every command of the list, have them run with --allow-pipes true"
CHANNELS = {"A": 0, "B": 1, "1": 0, "2": 1}  # of Kaldi's reco2file_and_channel
STDIN = "-"
MANIFESTS = (".jsonl", ".jsonl.gz")
OWN = "ser-audio-"  # temporary folders


@dataclass(frozen=True)
class Source:
    """A stretch of a file.

    Attributes:
        id: what answers are printed under.
        path: the file; None: `audio` or `command` gives it.
        start, end: seconds; None: its end.
        channel: from 0, where the list names one.
        speaker: "" where none is named.
        command: bash gives the audio on its standard output.
        audio: samples at hand.
        problem: why it cannot be read.
    """

    id: str
    path: Path | None = None
    start: float = 0.0
    end: float | None = None
    channel: int | None = None
    speaker: str = ""
    command: str = ""
    audio: Audio | None = None
    problem: str = ""


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for what comes through pipes."""
    with tempfile.TemporaryDirectory(prefix=OWN) as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", f".*{OWN}.* gives no size")  # a pipe cannot tell its own
        yield Path(folder)


def sources_of(name: str, folder: Path, allow_pipes: bool = False) -> list[Source]:
    """What an argument stands for, in its order.

    Args:
        name: an audio file, a folder, a wav.scp, a cut manifest, or "-".
        folder: of `scratch`, as long as the sources are used.
        allow_pipes: run commands that lists hold.

    Raises:
        InputError: a list that cannot be read, or a folder without audio.
    """
    path = Path(name)
    if name == STDIN:
        return [Source(STDIN, _received(folder / "audio"))]
    if (path / "wav.scp").is_file():
        return _kaldi(path / "wav.scp", allow_pipes)
    if path.is_dir():
        if hidden := hidden_files(path):
            warnings.warn(f"{path}: passed over {hidden} hidden (such as ._ twins of macOS)", stacklevel=2)
        return [Source(str(file), file) for file, _ in audio_files(path, re.compile(".*", re.DOTALL))]
    if path.suffix == ".scp":
        return _kaldi(path, allow_pipes)
    if name.endswith(MANIFESTS):
        return list(_cuts(path, allow_pipes))
    return [Source(name, path)]


def with_speakers(sources: Sequence[Source], utt2spk: Path) -> list[Source]:
    """Speakers as a table names them, by the ids of sources.

    Raises:
        InputError: it cannot be read, or names none of them.
    """
    speakers = read_table(utt2spk)
    if not any(source.id in speakers for source in sources):
        raise InputError(f"{utt2spk}: names none of what is given; its lines must be `<file or id> <speaker>`")
    return [replace(source, speaker=speakers.get(source.id, source.speaker)) for source in sources]


def _received(path: Path) -> Path:
    """Standard input as a file, since most formats cannot be read from a stream."""
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path


@contextmanager
def at_hand(source: Source) -> Iterator[Path]:
    """The file of a source; that of a command is made and removed. Errors in the block name the source.

    Raises:
        InputError: the command fails.
    """
    with tempfile.TemporaryDirectory(prefix=OWN) if source.command else nullcontext("") as folder:
        path = source.path or Path(folder, "audio")
        if source.command:
            _run(source, path)
        try:
            yield path
        except InputError as error:
            text = str(error)
            if OWN in str(path):
                text = text.replace(str(path), source.id)
            elif str(path) != source.id:
                text = f"{source.id}: {text}"
            raise InputError(text) from None


def _run(source: Source, path: Path) -> None:
    command = ["bash", "-o", "pipefail", "-c", source.command]
    with path.open("wb") as file:
        run = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.PIPE)
    if run.returncode:
        said = run.stderr.decode(errors="replace").strip().splitlines() or ["and said nothing"]
        raise InputError(f"{source.id}: its command ended with status {run.returncode} ({said[-1].strip()}); mend it")


def _kaldi(wav_scp: Path, allow_pipes: bool) -> list[Source]:
    """wav.scp, with segments, utt2spk and reco2file_and_channel where they stand beside it."""
    folder = wav_scp.parent
    recordings = {key: _recording(key, value, wav_scp, allow_pipes) for key, value in read_table(wav_scp).items()}
    tables = {
        name: read_table(folder / name) if (folder / name).is_file() else {}
        for name in ("segments", "utt2spk", "reco2file_and_channel")
    }
    for key, value in tables["reco2file_and_channel"].items():
        if key in recordings and (channel := CHANNELS.get(value.split()[-1])) is not None:
            recordings[key] = replace(recordings[key], channel=channel)
    found = list(recordings.values())
    if tables["segments"]:
        found = [_segment(key, value, recordings, folder / "segments") for key, value in tables["segments"].items()]
    return [replace(source, speaker=tables["utt2spk"].get(source.id, "")) for source in found]


def _recording(key: str, value: str, origin: Path, allow_pipes: bool) -> Source:
    if value.endswith("|"):
        if not allow_pipes:
            return Source(key, problem=f"{origin}: {key}: a command ({value}); {PIPES}")
        return Source(key, command=value.removesuffix("|").strip())
    places = [folder / value for folder in (origin.parent, *origin.resolve().parent.parents[:2])]
    return Source(key, next((path for path in places if path.is_file()), Path(value)))


def _segment(key: str, value: str, recordings: Mapping[str, Source], origin: Path) -> Source:
    try:
        name, start, end = value.split()
        times = float(start), float(end)
        if times[0] < 0 or (times[1] <= times[0] and times[1] != -1):
            raise ValueError
    except ValueError:
        return Source(key, problem=f"{origin}: {key} {value}: must be a recording, a start and an end after it")
    if name not in recordings:
        return Source(key, problem=f"{origin}: {key}: recording {name} is not in wav.scp")
    return replace(recordings[name], id=key, start=times[0], end=None if times[1] == -1 else times[1])


def manifest_rows(path: Path) -> list[Any]:
    """Of a manifest of lhotse (.jsonl, .jsonl.gz), read as plain JSON.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.strip()]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; mend the path") from None
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{path}: not readable as JSON lines ({error}); replace it by an intact copy") from None


def _cuts(path: Path, allow_pipes: bool) -> Iterator[Source]:
    for number, row in enumerate(manifest_rows(path), 1):
        if not isinstance(row, dict) or not {"id", "start", "duration"} <= row.keys():
            raise InputError(f"{path}:{number}: no cut; give a cut manifest (`lhotse cut simple` makes one)")
        try:
            yield _cut(row, f"{path}:{number}", allow_pipes)
        except (LookupError, TypeError, AttributeError) as error:
            yield Source(str(row["id"]), problem=f"{path}:{number}: {row['id']}: not a cut of a recording ({error!r})")


def _cut(row: dict[str, Any], origin: str, allow_pipes: bool) -> Source:
    recording = row["recording"]
    others = {t["name"] for t in recording.get("transforms") or ()} - {"Resample"}
    if others:
        changes = ", ".join(sorted(others))
        return Source(row["id"], problem=f"{origin}: {row['id']}: changed by lhotse ({changes}); save its audio")
    source = recording["sources"][0]
    whole = row["start"] == 0 and row["duration"] == recording["duration"]
    mixed = len(source["channels"]) == 1 or isinstance(row["channel"], list)
    supervisions = row.get("supervisions") or [{}]
    found = Source(
        row["id"],
        start=row["start"],
        end=None if whole else row["start"] + row["duration"],
        channel=None if mixed else row["channel"],
        speaker=supervisions[0].get("speaker") or "",
    )
    if source["type"] == "file":
        return replace(found, path=Path(source["source"]))
    if source["type"] == "command" and allow_pipes:
        return replace(found, command=source["source"])
    what = PIPES if source["type"] == "command" else "save its audio in files"
    return replace(found, problem=f"{origin}: {row['id']}: a source of type {source['type']}; {what}")
