"""Read Kaldi data dirs that other tools wrote, for stage 1 and for `ser predict`.

A byte order mark, blank lines, Windows line ends and white space around a line are ignored. A faulty line is an issue
that names file and line (`ser.corpora.issues`).
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from ser.corpora.issues import RAISE_ALL, Issue, Issues
from ser.corpora.table import find_file, parse_seconds, read_lines


class Line(NamedTuple):
    """The value of a line, and its "<file>:<line>"."""

    value: str
    origin: str


KeyedLines = dict[str, Line]


class KaldiSegment(NamedTuple):
    """The part of a recording that an utterance is.

    Attributes:
        recording: key of wav.scp.
        start, end: seconds; None: the end of the recording.
        channel: from 0, where a table gives a number.
        side: line of reco2file_and_channel, where no table gives a number; `channel_of` reads it.
        origin: "<file>:<line>" of the utterance.
    """

    recording: str
    start: float
    end: float | None
    channel: int | None
    side: Line | None
    origin: str


def read_keyed(path: Path, issues: Issues = RAISE_ALL) -> KeyedLines:
    """Read `key value` lines; the value is the rest of the line.

    Args:
        path: path of the table.
        issues: gets lines without a value, and lines whose key appears twice.

    Raises:
        InputError: the file is absent or not UTF-8.
    """
    table: KeyedLines = {}
    for line, origin in read_lines(path):
        key, *rest = line.split(maxsplit=1)
        if not rest:
            issues.add(Issue("table", f"expected `key value`, found {line!r}", origin, "fix or remove the line"))
        elif key in table:
            what = f"{key} is in {table[key].origin} too"
            issues.add(Issue("table", what, origin, "remove one of the lines"))
        else:
            table[key] = Line(rest[0], origin)
    return table


def read_values(path: Path) -> dict[str, str]:
    """Read `key value` lines without their origins: key -> value."""
    return {key: line.value for key, line in read_keyed(path).items()}


def read_tables(wav_scp: Path, names: Iterable[str] = (), issues: Issues = RAISE_ALL) -> dict[str, KeyedLines]:
    """Read wav.scp, segments, the tables of channels, and further tables of a data dir; absent tables are empty.

    Args:
        wav_scp: path of wav.scp.
        names: names of further tables in the same folder.
        issues: gets the issues of `read_keyed`, and an empty wav.scp or segments.

    Raises:
        InputError: as in `read_keyed`.
    """
    tables = {"wav.scp": read_keyed(wav_scp, issues)}
    for name in ("segments", "reco2file_and_channel", "reco2channel", *names):
        path = wav_scp.parent / name
        tables[name] = read_keyed(path, issues) if os.path.lexists(path) else {}
    for name, path in (("wav.scp", wav_scp), ("segments", wav_scp.parent / "segments")):
        if path.is_file() and not tables[name]:
            fix = f"complete it{' or remove it' if name == 'segments' else ''}"
            issues.add(Issue("table", "holds no lines", path, fix))
    return tables


def read_segment(key: str, tables: Mapping[str, KeyedLines]) -> KaldiSegment:
    """Parse an utterance's line of `segments`; without that table, the segment is the whole recording.

    Raises:
        Issue: the line cannot be parsed.
    """
    if not tables["segments"]:
        return KaldiSegment(key, 0.0, None, *_channel(key, tables), tables["wav.scp"][key].origin)
    value, origin = tables["segments"][key]
    fields = value.split()
    if len(fields) not in (3, 4) or not re.fullmatch("[0-9]+", "".join(fields[3:]) or "0"):
        what = f"expected `utterance recording start end` (and a channel from 0), found {value!r}"
        raise Issue("table", what, origin)
    start, end = (parse_seconds(text, "time", origin) for text in fields[1:3])
    if start < 0 or (end != -1 and end <= start):
        what = f"{key} starts at {start:g} s and ends at {end:g} s"
        raise Issue("segments", what, origin, "give an end after the start, or -1 for the end of the recording")
    channel = (int(fields[3]), None) if len(fields) == 4 else _channel(fields[0], tables)
    return KaldiSegment(fields[0], start, None if end == -1 else end, *channel, origin)


def recording_line(segment: KaldiSegment, tables: Mapping[str, KeyedLines]) -> Line:
    """Look up the line of wav.scp for a segment.

    Raises:
        Issue: the recording is not in wav.scp.
    """
    line = tables["wav.scp"].get(segment.recording)
    if line is None:
        raise Issue("table", f"recording {segment.recording} is not in wav.scp", segment.origin, "add it")
    return line


def _channel(recording: str, tables: Mapping[str, KeyedLines]) -> tuple[int | None, Line | None]:
    """Look up the number in reco2channel, or else the line of reco2file_and_channel."""
    if line := tables["reco2channel"].get(recording):
        if not re.fullmatch("[0-9]+", line.value):
            raise Issue("table", f"channel {line.value!r}: a number from 0", line.origin)
        return int(line.value), None
    return None, tables["reco2file_and_channel"].get(recording)


def channel_of(side: Line, num_channels: int) -> int | None:
    """Convert the letter of reco2file_and_channel to a channel: A is 0, B is 1, and so on.

    Returns:
        The channel; None for a file of one channel, which holds that side of the call alone.

    Raises:
        Issue: the line does not end in a letter.
    """
    letter = side.value.split()[-1]
    if num_channels == 1:
        return None
    if not re.fullmatch("[A-Z]", letter):
        raise Issue("table", f"channel {letter!r}: A for the first, B for the second", side.origin)
    return ord(letter) - ord("A")


def read_speaker(key: str, line: Line) -> str:
    """Read the speaker from a line of utt2spk.

    Raises:
        Issue: the value is more than one word.
    """
    if len(line.value.split()) != 1:
        raise Issue("table", f"expected `utterance speaker`, found {key} {line.value!r}", line.origin)
    return line.value


def command_of(line: Line) -> str:
    """Return the command of a line of wav.scp; "" if the line names a file."""
    return line.value.removesuffix("|").strip() if line.value.endswith("|") else ""


def recording_file(line: Line, folder: Path) -> Path:
    """Find the file that a line of wav.scp names, relative to the data dir, its two parents or the working directory.

    Raises:
        Issue: there is no such file, it may not be read, or the line names no file.
    """
    if line.value.startswith("|"):
        raise Issue("table", f"{line.value}: a command that takes audio, none that gives it", line.origin)
    bases = (folder, *folder.resolve().parents[:2], Path())
    try:
        return find_file([base / line.value for base in bases], line.value, line.origin)
    except Issue:
        if not re.search(r":\d+(\[.*\])?$", line.value):
            raise
    what = f"{line.value}: a place in an archive of Kaldi, not a file"
    raise Issue("table", what, line.origin, "write the audio to files with wav-copy, and name these")


def run_command(command: str, output: Path, folder: Path | None = None) -> str:
    """Run a shell command and write its standard output to a file.

    Args:
        command: for bash.
        output: file to write.
        folder: where bash runs it; None: the working directory.

    Returns:
        "" on success, else a description of the failure.
    """
    with output.open("wb") as file:
        run = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.PIPE,
        )
    if not run.returncode:
        return ""
    last = run.stderr.decode(errors="replace").strip().splitlines()[-1:]
    return f"the command ended with status {run.returncode} ({last[0].strip() if last else 'and printed nothing'})"
